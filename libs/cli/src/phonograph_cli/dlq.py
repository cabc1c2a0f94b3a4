"""`phonograph dlq`: events that a service could not take."""

import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from phonograph_cli.console import (
    REJECTED,
    USAGE,
    JsonOption,
    NoWaitOption,
    YesOption,
    addresses,
    confirm,
    fail,
    out,
    print_json,
    require_known,
    run,
    say,
)

if TYPE_CHECKING:
    from phonograph_cli.dead_letters import Answer, DeadLetter

SHOWN_BODY = 4000
"""Characters of a body that a terminal is given."""

app = typer.Typer(no_args_is_help=True, help="Events that a service could not take.")

ServiceOption = Annotated[str | None, typer.Option("--service", help="Parked by this service.")]
TopicOption = Annotated[str | None, typer.Option("--topic", help="Of this topic.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="For this reason, for example not_json.")]
IdArgument = Annotated[str | None, typer.Argument(metavar="[ID]", help="An id, or how it begins.")]
AllOption = Annotated[bool, typer.Option("--all", help="Everything that still lies there.")]


@app.command("list")
def list_(
    service: ServiceOption = None,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    *,
    resolved: Annotated[bool, typer.Option("--all", help="Those replayed and dropped as well.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List what still lies there, oldest first."""
    from phonograph_cli import rendering

    _require_known(service, topic)
    letters = _chosen(_letters(), service, topic, reason, resolved=resolved)
    if as_json:
        print_json({"dead_letters": [letter.to_json() for letter in letters]})
        return
    if not letters:
        say("Nothing is parked." if not resolved else "Nothing was ever parked.", style="green")
        return
    columns = [
        "id",
        "service",
        "topic/partition/offset",
        "reason",
        "parked",
        *(["state"] if resolved else []),
    ]
    rows = [
        [
            letter.id,
            letter.service,
            letter.origin,
            letter.reason,
            f"{letter.parked_at:%Y-%m-%d %H:%M:%S}",
            *([letter.state] if resolved else []),
        ]
        for letter in letters
    ]
    out.print(rendering.listing(columns, rows))
    say("What they mean: phonograph dlq show ID", style="dim")


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="An id, or how it begins.")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Write the body's bytes and nothing else.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one whole: what is wrong with it, and what to do."""
    from phonograph_cli.dead_letters import whole

    servers, found = addresses().kafka_bootstrap_servers, _one(letter_id)
    letter = run(lambda: whole(servers, found))
    if raw:
        if letter.bodiless:
            fail(REJECTED, f"{letter.id}: {_where_the_body_is(letter)}")
        sys.stdout.buffer.write(letter.value or b"")
    elif as_json:
        print_json(letter.to_json())
    else:
        _explain(letter)


@app.command()
def replay(
    letter_id: IdArgument = None,
    service: ServiceOption = None,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    *,
    everything: AllOption = False,
    no_wait: NoWaitOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Send events once more to the service that could not take them, after the cause was mended.

    Exit code 1 when one was parked again, or the service did not answer.
    """
    letters = _wanted(letter_id, service, topic, reason, everything=everything)
    if letter_id is None and letters and sys.stdin.isatty():
        confirm(f"Send {_events(letters)} again?", yes=yes)
    _settle(letters, drop=False, wait=not no_wait, as_json=as_json)


@app.command()
def drop(
    letter_id: IdArgument = None,
    service: ServiceOption = None,
    topic: TopicOption = None,
    reason: ReasonOption = None,
    *,
    everything: AllOption = False,
    no_wait: NoWaitOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give events up: they are listed no more, and never replayed. Their records stay on their topics."""
    letters = _wanted(letter_id, service, topic, reason, everything=everything)
    if letters:
        confirm(f"Give {_events(letters)} up for good?", yes=yes)
    _settle(letters, drop=True, wait=not no_wait, as_json=as_json)


def _letters() -> "list[DeadLetter]":
    from phonograph_cli.dead_letters import dead_letters

    servers = addresses().kafka_bootstrap_servers
    return run(lambda: dead_letters(servers))


def _chosen(
    letters: "list[DeadLetter]",
    service: str | None,
    topic: str | None,
    reason: str | None,
    *,
    resolved: bool = False,
) -> "list[DeadLetter]":
    return [
        letter
        for letter in letters
        if (resolved or letter.resolution is None)
        and service in {None, letter.service}
        and topic in {None, letter.topic}
        and reason in {None, letter.reason}
    ]


def _require_known(service: str | None, topic: str | None) -> None:
    from phonograph_events import TOPICS, Service

    require_known("service", service, Service)
    require_known("topic", topic, TOPICS)


def _one(letter_id: str) -> "DeadLetter":
    found = [letter for letter in _letters() if letter.id.startswith(letter_id)]
    exact = [letter for letter in found if letter.id == letter_id]
    if len(exact or found) > 1:
        fail(USAGE, f"{len(found)} parked events begin with {letter_id}: give more of the id.")
    if not found:
        fail(USAGE, f"There is no parked event {letter_id}. See: phonograph dlq list --all")
    return (exact or found)[0]


def _wanted(
    letter_id: str | None, service: str | None, topic: str | None, reason: str | None, *, everything: bool
) -> "list[DeadLetter]":
    filtered = any((service, topic, reason))
    if (letter_id is not None) + (filtered or everything) != 1:
        fail(USAGE, "Give an ID, or --all, or some of --service, --topic and --reason.")
    _require_known(service, topic)
    if letter_id is None:
        letters = _chosen(_letters(), service, topic, reason)
        return [letter for letter in letters if letter.service]
    letter = _one(letter_id)
    if not letter.service:
        fail(REJECTED, f"{letter.id}: {' '.join(letter.explanation)}")
    if letter.resolution is not None:
        fail(REJECTED, f"{letter.id} was {letter.resolution} on {letter.resolved_at:%Y-%m-%d %H:%M:%S} UTC.")
    return [letter]


def _events(letters: "list[DeadLetter]") -> str:
    return f"{len(letters)} parked event{'' if len(letters) == 1 else 's'}"


def _settle(letters: "list[DeadLetter]", *, drop: bool, wait: bool, as_json: bool) -> None:
    from phonograph_cli import dead_letters

    answers: list[Answer] = []
    if letters:
        servers = addresses().kafka_bootstrap_servers
        patience_s = dead_letters.PATIENCE_S if wait else 0.0
        answers = run(lambda: dead_letters.settle(servers, letters, drop=drop, patience_s=patience_s))
    if as_json:
        print_json({"dead_letters": [answer.to_json() for answer in answers]})
    else:
        _tell(answers)
    raise typer.Exit(0 if all(answer.ok for answer in answers) else REJECTED)


def _tell(answers: "list[Answer]") -> None:
    if not answers:
        say("Nothing like this is parked.")
    for answer in answers:
        letter, successor = answer.letter, answer.successor
        if successor is not None:
            again = f"{letter.service} could not take it this time either: {successor.reason}."
            say(f"{letter.id}: {again} {successor.error} It is parked now as {successor.id}.")
        elif answer.outcome == "body gone":
            say(f"{letter.id}: not sent. {_where_the_body_is(letter)}")
        elif answer.outcome == "no answer":
            say(f"{letter.id}: sent, but {letter.service} did not answer. Is it running? phonograph status")
        elif len(answers) == 1:
            taken = {"replayed": f"{letter.service} has taken it", "sent": f"sent to {letter.service}"}
            say(f"{letter.id}: {taken.get(answer.outcome, answer.outcome)}.")
    if len(answers) > 1:
        counts = Counter(answer.outcome for answer in answers)
        say(", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()) + ".")


def _where_the_body_is(letter: "DeadLetter") -> str:
    return (
        f"Its body was too large for the dead-letter topic, and Kafka has no record at {letter.origin} any "
        f"more; the table dead_letters of {letter.service} has it."
    )


def _explain(letter: "DeadLetter") -> None:
    from phonograph_cli.dead_letters import decoded

    meaning, advice = letter.explanation
    about = letter.to_json()
    when = f"{letter.parked_at:%Y-%m-%d %H:%M:%S} UTC"
    state = (
        "parked"
        if letter.resolved_at is None
        else f"{letter.resolution} {letter.resolved_at:%Y-%m-%d %H:%M:%S} UTC"
    )
    say(f"id        {letter.id}", style="bold")
    say(f"state     {state}")
    say(f"parked    {when}{f' by {letter.service}' if letter.service else ''}")
    if letter.service:
        say(f"record    {letter.origin}  (topic/partition/offset)")
        say(f"reason    {letter.reason}: {letter.error}")
    say(f"meaning   {meaning}")
    say(f"to do     {advice}", style="yellow")
    say(f"key       {'null' if letter.key is None else about['key']}")
    for number, (name, value) in enumerate(letter.headers):
        text, encoding = decoded(value)
        marked = "null" if text is None else f"{text} (hex)" if encoding == "hex" else text
        say(f"{'headers' if number == 0 else '':9} {name}: {marked}")
    if letter.value is None:
        say(f"body      {_where_the_body_is(letter) if letter.bodiless else 'null'}")
        return
    form = (
        "JSON"
        if letter.data is not None
        else {"hex": "no text; in hexadecimal"}.get(about["body_encoding"], "text")
    )
    say(f"body      {len(letter.value)} bytes, {form}")
    body = about["body"]
    say(body[:SHOWN_BODY])
    if len(body) > SHOWN_BODY:
        say(f"… and more. All of it: phonograph dlq show {letter.id} --raw", style="dim")
