"""`phonograph dlq`: events that a service could not process."""

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from phonograph_cli.console import (
    REJECTED,
    USAGE,
    JsonOption,
    NoWaitOption,
    YesOption,
    confirm,
    fail,
    out,
    print_json,
    print_line,
    require_known,
    require_match,
)
from phonograph_cli.session import connect_kafka, run

if TYPE_CHECKING:
    from phonograph_cli.dead_letters import DeadLetter, Resolution
    from phonograph_cli.kafka import KafkaClient

MAX_BODY_CHARACTERS = 4000
"""Characters of a body that are printed."""

app = typer.Typer(no_args_is_help=True, help="Events that a service could not process.")

ServiceOption = Annotated[str | None, typer.Option("--service", help="Parked by this service.")]
TopicOption = Annotated[str | None, typer.Option("--topic", help="From this topic.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="For this reason, for example not_json.")]
IdArgument = Annotated[str | None, typer.Argument(metavar="[ID]", help="ID or unique prefix.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every unresolved dead letter.")]


@dataclass(frozen=True, slots=True)
class Selection:
    """Dead letters that the options of a command select."""

    prefix: str | None
    """ID or unique prefix; None selects by the other fields."""
    service: str | None
    topic: str | None
    reason: str | None

    def __post_init__(self) -> None:
        from phonograph_events import TOPICS, Service

        require_known("service", self.service, Service)
        require_known("topic", self.topic, TOPICS)

    def matches(self, dead_letter: "DeadLetter") -> bool:
        """Return whether service, topic and reason are those selected."""
        return (
            self.service in {None, dead_letter.service}
            and self.topic in {None, dead_letter.topic}
            and self.reason in {None, dead_letter.reason}
        )


@app.command("list")
def list_(
    service: ServiceOption = None,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    *,
    resolved: Annotated[bool, typer.Option("--all", help="Include resolved ones.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List unresolved dead letters, oldest first."""
    selection = Selection(None, service, topic, reason)
    found = [
        each
        for each in run(_read_dead_letters())
        if selection.matches(each) and (resolved or each.resolution is None)
    ]
    if as_json:
        print_json({"dead_letters": [each.to_json() for each in found]})
    elif not found:
        print_line("There are no dead letters." if resolved else "Nothing is parked.", style="green")
    else:
        _print_list(found, with_state=resolved)


@app.command()
def show(
    dead_letter_id: Annotated[str, typer.Argument(metavar="ID", help="ID or unique prefix.")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Write the bytes of the body and nothing else.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a dead letter completely: what is wrong with it, and what to do."""
    dead_letter = run(_read_dead_letter(dead_letter_id))
    if raw:
        if dead_letter.is_bodiless:
            fail(REJECTED, f"{dead_letter.id}: {_missing_body(dead_letter)}")
        sys.stdout.buffer.write(dead_letter.value or b"")
    elif as_json:
        print_json(dead_letter.to_json())
    else:
        _print_details(dead_letter)


@app.command()
def replay(
    dead_letter_id: IdArgument = None,
    service: ServiceOption = None,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    *,
    everything: AllOption = False,
    no_wait: NoWaitOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send events again to the service that could not process them, once the cause is fixed.

    Exit code 1 when one was parked again, or the service did not answer.
    """
    selection = _select(dead_letter_id, service, topic, reason, everything=everything)
    # A replay can be repeated, so that a script needs no --yes, and one event needs no confirmation.
    is_confirmed = yes or dead_letter_id is not None or not sys.stdin.isatty()
    resolutions = run(_resolve(selection, drop=False, yes=is_confirmed, wait=not no_wait))
    _finish(resolutions, as_json=as_json)


@app.command()
def drop(
    dead_letter_id: IdArgument = None,
    service: ServiceOption = None,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    *,
    everything: AllOption = False,
    no_wait: NoWaitOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Drop events: they are no longer listed, and cannot be replayed. Their records stay on their topics."""
    selection = _select(dead_letter_id, service, topic, reason, everything=everything)
    resolutions = run(_resolve(selection, drop=True, yes=yes, wait=not no_wait))
    _finish(resolutions, as_json=as_json)


def _select(
    dead_letter_id: str | None,
    service: str | None,
    topic: str | None,
    reason: str | None,
    *,
    everything: bool,
) -> Selection:
    has_filter = any((service, topic, reason)) or everything
    if (dead_letter_id is not None) == has_filter:
        fail(USAGE, "Name an ID, or --all, or some of --service, --topic and --reason.")
    return Selection(dead_letter_id, service, topic, reason)


async def _read_dead_letters() -> "list[DeadLetter]":
    from phonograph_cli.dead_letters import read_dead_letters

    async with connect_kafka() as client:
        return await read_dead_letters(client)


async def _read_dead_letter(prefix: str) -> "DeadLetter":
    from phonograph_cli.dead_letters import read_dead_letters, with_body

    async with connect_kafka() as client:
        return await with_body(client, _match(prefix, await read_dead_letters(client)))


async def _resolve(selection: Selection, *, drop: bool, yes: bool, wait: bool) -> "list[Resolution]":
    from phonograph_cli.dead_letters import ANSWER_TIMEOUT_S, resolve

    async with connect_kafka() as client:
        selected = await _read_selected(client, selection)
        if not selected:
            return []
        count = f"{len(selected)} parked event{'' if len(selected) == 1 else 's'}"
        confirm(f"Drop {count} for good?" if drop else f"Send {count} again?", yes=yes)
        return await resolve(client, selected, drop=drop, timeout_s=ANSWER_TIMEOUT_S if wait else 0.0)


async def _read_selected(client: "KafkaClient", selection: Selection) -> "list[DeadLetter]":
    from phonograph_cli.dead_letters import read_dead_letters

    found = await read_dead_letters(client)
    if selection.prefix is None:
        return [
            each for each in found if each.service and each.resolution is None and selection.matches(each)
        ]
    dead_letter = _match(selection.prefix, found)
    if not dead_letter.service:
        fail(REJECTED, f"{dead_letter.id}: {' '.join(dead_letter.explanation)}")
    if dead_letter.resolution is not None:
        when = f"{dead_letter.resolved_at:%Y-%m-%d %H:%M:%S} UTC"
        fail(REJECTED, f"{dead_letter.id} was {dead_letter.resolution} on {when}.")
    return [dead_letter]


def _match(prefix: str, dead_letters: "list[DeadLetter]") -> "DeadLetter":
    by_id = {each.id: each for each in dead_letters}
    return require_match("parked event", prefix, by_id, listed_by="phonograph dlq list --all")


def _print_list(dead_letters: "list[DeadLetter]", *, with_state: bool) -> None:
    from phonograph_cli import rendering

    columns = ["id", "service", "topic/partition/offset", "reason", "parked"]
    rows = [
        [each.id, each.service, each.place, each.reason, f"{each.parked_at:%Y-%m-%d %H:%M:%S}"]
        for each in dead_letters
    ]
    if with_state:
        columns.append("state")
        rows = [[*row, each.state] for row, each in zip(rows, dead_letters, strict=True)]
    out.print(rendering.listing(columns, rows))
    print_line("For an explanation: phonograph dlq show ID", style="dim")


def _finish(resolutions: "list[Resolution]", *, as_json: bool) -> None:
    if as_json:
        print_json({"dead_letters": [each.to_json() for each in resolutions]})
    else:
        _print_resolutions(resolutions)
    raise typer.Exit(0 if all(each.is_complete for each in resolutions) else REJECTED)


def _print_resolutions(resolutions: "list[Resolution]") -> None:
    if not resolutions:
        print_line("No parked event matches.")
        return
    for each in resolutions:
        if len(resolutions) == 1 or not each.is_complete:
            print_line(f"{each.dead_letter.id}: {_describe(each)}")
    if len(resolutions) > 1:
        counts = Counter(each.outcome for each in resolutions)
        print_line(", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()) + ".")


def _describe(resolution: "Resolution") -> str:
    from phonograph_cli.dead_letters import BODY_GONE, DROPPED, NO_ANSWER, NO_EVENT, REPLAYED, SENT

    service, successor = resolution.dead_letter.service, resolution.successor
    if successor is not None:
        return (
            f"{service} could not process it this time either: {successor.reason}. {successor.error} "
            f"It is parked again as {successor.id}."
        )
    return {
        REPLAYED: f"{service} has processed it.",
        DROPPED: "dropped.",
        SENT: f"sent to {service}.",
        NO_ANSWER: f"sent, but {service} did not answer. Is it running? phonograph status",
        NO_EVENT: f"not sent: it is a batch that {service} could not read. See: phonograph dlq show "
        f"{resolution.dead_letter.id}",
        BODY_GONE: f"not sent. {_missing_body(resolution.dead_letter)}",
    }[resolution.outcome]


def _missing_body(dead_letter: "DeadLetter") -> str:
    return (
        "Its body was too large for the dead-letter topic, and Kafka no longer has the record at "
        f"{dead_letter.origin}; the table dead_letters of {dead_letter.service} has it."
    )


def _print_details(dead_letter: "DeadLetter") -> None:
    meaning, advice = dead_letter.explanation
    parked = f"{dead_letter.parked_at:%Y-%m-%d %H:%M:%S} UTC"
    resolved_at = dead_letter.resolved_at
    print_line(f"id        {dead_letter.id}", style="bold")
    print_line(
        f"state     {dead_letter.state}{f' {resolved_at:%Y-%m-%d %H:%M:%S} UTC' if resolved_at else ''}"
    )
    print_line(f"parked    {parked}{f' by {dead_letter.service}' if dead_letter.service else ''}")
    if dead_letter.service:
        label = "record" if dead_letter.last_offset is None else "batch"
        print_line(f"{label:9} {dead_letter.place}  (topic/partition/offset)")
        print_line(f"reason    {dead_letter.reason}: {dead_letter.error}")
    print_line(f"meaning   {meaning}")
    print_line(f"to do     {advice}", style="yellow")
    _print_record(dead_letter)


def _print_record(dead_letter: "DeadLetter") -> None:
    from phonograph_cli.dead_letters import decode

    print_line(f"key       {_text_or_null(decode(dead_letter.key)[0])}")
    for number, (name, value) in enumerate(dead_letter.headers):
        text, encoding = decode(value)
        label = "headers" if number == 0 else ""
        print_line(f"{label:9} {name}: {_text_or_null(text)}{' (hex)' if encoding == 'hex' else ''}")
    body, encoding = decode(dead_letter.value)
    if body is None:
        print_line(f"body      {_missing_body(dead_letter) if dead_letter.is_bodiless else 'null'}")
        return
    form = "JSON" if dead_letter.is_json else "not text; in hexadecimal" if encoding == "hex" else "text"
    print_line(f"body      {len(dead_letter.value or b'')} bytes, {form}")
    print_line(body[:MAX_BODY_CHARACTERS])
    if len(body) > MAX_BODY_CHARACTERS:
        print_line(f"… truncated. For all of it: phonograph dlq show {dead_letter.id} --raw", style="dim")


def _text_or_null(text: str | None) -> str:
    return "null" if text is None else text
