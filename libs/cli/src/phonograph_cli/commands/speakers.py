"""`phonograph speakers`: who the speakers of recordings are."""

from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from uuid import UUID

import typer

from phonograph_cli.console import (
    REJECTED,
    USAGE,
    JsonOption,
    NoWaitOption,
    fail,
    out,
    print_json,
    print_line,
)
from phonograph_cli.session import connect_graph, connect_kafka, project, run

if TYPE_CHECKING:
    from phonograph_cli.people import Speaker
    from phonograph_events import PersonRequestAnswered

MAX_NAME, MAX_USER = 255, 200
COLUMNS = ["media_id", "file_name", "label", "seconds", "state", "score", "name"]

app = typer.Typer(no_args_is_help=True, help="Name the speakers of recordings, and answer suggestions.")

RecordingArgument = Annotated[str, typer.Argument(metavar="ID|PATH", help="A recording, as for `show`.")]
LabelArgument = Annotated[str, typer.Argument(metavar="LABEL", help="Label of a speaker, for example S1.")]
OwnerOption = Annotated[str | None, typer.Option(help="Owner of the recordings and people.")]
ByOption = Annotated[
    str | None, typer.Option("--by", help="Who decides, for the record; your login when left out.")
]


@app.command("list")
def list_(
    wanted: Annotated[
        str | None, typer.Argument(metavar="[ID|PATH]", help="A recording; open suggestions when left out.")
    ] = None,
    owner: OwnerOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List the speakers of a recording, or the suggestions of all recordings that wait for an answer."""
    from phonograph_cli import rendering
    from phonograph_cli.locations import printable

    found = run(_read_speakers(wanted, owner))
    if as_json:
        print_json({"speakers": found})
        return
    rows = [
        ["" if each[name] is None else printable(_text(each[name])) for name in COLUMNS] for each in found
    ]
    out.print(rendering.listing(COLUMNS, rows))


@app.command()
def name(
    wanted: RecordingArgument,
    label: LabelArgument,
    person: Annotated[str, typer.Argument(metavar="NAME", help="Name of the person; a known one is meant.")],
    *,
    consent: Annotated[
        bool | None,
        typer.Option(
            "--consent/--no-consent",
            help="Whether a voiceprint of the person may be kept. Without one the person is not suggested "
            "elsewhere. Given for a new person when left out.",
        ),
    ] = None,
    by: ByOption = None,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Name a speaker. The voice is suggested under this name in other recordings of the same owner."""
    require_name(person)
    speaker, answer = run(
        _decide(wanted, label, "name", by=by, wait=not no_wait, name=person, consent=consent)
    )
    finish(answer, f"{speaker['label']} is {person}.", as_json=as_json, no_wait=no_wait)


@app.command()
def confirm(
    wanted: RecordingArgument,
    label: LabelArgument,
    *,
    by: ByOption = None,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Confirm that a speaker is the person who is suggested; the voice is learned."""
    speaker, answer = run(_decide(wanted, label, "confirm", by=by, wait=not no_wait))
    finish(answer, f"{speaker['label']} is {speaker['name']}.", as_json=as_json, no_wait=no_wait)


@app.command()
def refuse(
    wanted: RecordingArgument,
    label: LabelArgument,
    *,
    by: ByOption = None,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """State that a speaker is not the person who is suggested or was named; it is never suggested again."""
    speaker, answer = run(_decide(wanted, label, "refuse", by=by, wait=not no_wait))
    finish(answer, f"{speaker['label']} is not {speaker['name']}.", as_json=as_json, no_wait=no_wait)


def require_name(name: str) -> None:
    """End the command if a text cannot be the name of a person."""
    try:
        is_text = bool(name.encode())
    except UnicodeEncodeError:  # bytes that are not UTF-8
        is_text = False
    if not is_text or len(name) > MAX_NAME:
        fail(USAGE, f"A name has 1 to {MAX_NAME} characters.")


def finish(
    answer: "PersonRequestAnswered | None", sentence: str, *, as_json: bool, no_wait: bool
) -> NoReturn:
    """Print the answer to a request, and end the command.

    Args:
        answer: The answer; None if there is none.
        sentence: What is true if the request was fulfilled.
        as_json: Whether to print JSON.
        no_wait: Whether no answer was waited for.
    """
    if as_json:
        print_json({"ok": no_wait or (answer is not None and answer.ok)} | _answer_to_json(answer))
    elif no_wait:
        print_line("Requested.")
    elif answer is None:
        print_line("Requested, but diarization did not answer. Is it running? phonograph status", style="red")
    elif not answer.ok:
        print_line(answer.message, style="red")
    else:
        count = answer.recording_count
        changed = f" Changed in {count} recording{'' if count == 1 else 's'}." if count else ""
        print_line((answer.message or sentence) + changed)
    raise typer.Exit(0 if no_wait or (answer is not None and answer.ok) else REJECTED)


async def find_recording(wanted: str) -> str:
    """Return the media ID of a recording; end the command if it is unknown."""
    from phonograph_cli.locations import printable
    from phonograph_cli.recordings import RecordingReader

    async with connect_graph() as driver:
        media_id = await RecordingReader(driver, project().objects).find(wanted)
    if media_id is None:
        fail(REJECTED, f"{printable(wanted)} is unknown. Ingest it with: phonograph ingest PATH --follow")
    return media_id


async def _read_speakers(wanted: str | None, owner: str | None) -> "list[Speaker]":
    from phonograph_cli.people import PeopleReader

    media_id = None if wanted is None else await find_recording(wanted)
    async with connect_graph() as driver:
        reader = PeopleReader(driver)
        return await reader.suggestions(owner) if media_id is None else await reader.speakers(media_id)


async def _decide(
    wanted: str, label: str, decision: str, *, by: str | None, wait: bool, **fields: Any
) -> "tuple[Speaker, PersonRequestAnswered | None]":
    from phonograph_cli.people import current_user, request
    from phonograph_events import SpeakerNamingRequested

    found = await _read_speakers(wanted, None)
    speaker = next((each for each in found if each["label"].lower() == label.lower()), None)
    if speaker is None:
        labels = ", ".join(each["label"] for each in found) or "none, since no speech was found"
        fail(USAGE, f"The recording has no speaker {label!r}; there are: {labels}.")
    if decision != "name":
        if speaker["person_id"] is None:
            fail(REJECTED, f"No person is suggested for {speaker['label']}. See: phonograph speakers list ID")
        fields["person_id"] = UUID(speaker["person_id"])
    event = SpeakerNamingRequested.model_validate(
        {
            "media_id": speaker["media_id"],
            "speaker_id": speaker["speaker_id"],
            "decision": decision,
            "requested_by": (by or current_user())[:MAX_USER],
        }
        | fields
    )
    async with connect_kafka() as client:
        return speaker, await request(client, event, wait=wait)


def _answer_to_json(answer: "PersonRequestAnswered | None") -> dict[str, Any]:
    if answer is None:
        return {"reason": None, "message": None, "person_id": None, "recording_count": None}
    return {
        "reason": answer.reason,
        "message": answer.message,
        "person_id": answer.person_id and str(answer.person_id),
        "recording_count": answer.recording_count,
    }


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)
