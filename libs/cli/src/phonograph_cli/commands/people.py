"""`phonograph people`: the people who speak in recordings."""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonograph_cli.choices import Consent
from phonograph_cli.commands.speakers import (
    MAX_USER,
    ByOption,
    OwnerOption,
    find_recording,
    finish,
    require_name,
)
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
    require_match,
)
from phonograph_cli.locations import printable
from phonograph_cli.session import connect_graph, connect_kafka, project, run

if TYPE_CHECKING:
    from phonograph_cli.people import Person, Speaker
    from phonograph_events import PersonRequestAnswered

COLUMNS = ["id", "name", "consent", "voiceprints", "recordings", "suggestions"]
SPEAKER_COLUMNS = ["media_id", "file_name", "label", "state", "score", "decided_by", "decided_at"]

app = typer.Typer(no_args_is_help=True, help="The people who speak in recordings, and their voices.")

PersonArgument = Annotated[
    str, typer.Argument(metavar="PERSON", help="Name of a person, or ID or unique prefix of one.")
]


@app.command("list")
def list_(owner: OwnerOption = None, *, as_json: JsonOption = False) -> None:
    """List the people of an owner."""
    from phonograph_cli import rendering

    found = run(_read_people(owner))
    if as_json:
        print_json({"people": found})
        return
    out.print(rendering.listing(COLUMNS, [[_text(person[each]) for each in COLUMNS] for person in found]))


@app.command()
def show(wanted: PersonArgument, owner: OwnerOption = None, *, as_json: JsonOption = False) -> None:
    """Show a person and every recording in which the person speaks, or may speak."""
    from phonograph_cli import rendering

    person, speakers = run(_read_person_and_speakers(wanted, owner))
    if as_json:
        print_json(person | {"speakers": speakers})
        return
    for field, value in person.items():
        print_line(f"{field:12} {_text(value)}")
    rows = [[_text(speaker[each]) for each in SPEAKER_COLUMNS] for speaker in speakers]
    out.print(rendering.listing(SPEAKER_COLUMNS, rows))


@app.command()
def name(
    wanted: PersonArgument,
    new_name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    owner: OwnerOption = None,
    *,
    by: ByOption = None,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Rename a person."""
    require_name(new_name)
    person, answer = run(_change(wanted, owner, "rename", by=by, wait=not no_wait, name=new_name))
    finish(answer, f"{person['name']} is {new_name} now.", as_json=as_json, no_wait=no_wait)


@app.command()
def consent(
    wanted: PersonArgument,
    given: Annotated[Consent, typer.Argument(metavar="yes|no", help="Whether voiceprints may be kept.")],
    owner: OwnerOption = None,
    *,
    by: ByOption = None,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """State whether voiceprints of a person may be kept; without consent they are deleted, the name stays."""
    is_given = given is Consent.YES
    person, answer = run(_change(wanted, owner, "consent", by=by, wait=not no_wait, consent=is_given))
    sentence = f"Voiceprints of {person['name']} are {'kept' if is_given else 'deleted'}."
    finish(answer, sentence, as_json=as_json, no_wait=no_wait)


@app.command()
def merge(
    wanted: PersonArgument,
    into: Annotated[str, typer.Argument(metavar="INTO", help="The person who remains.")],
    owner: OwnerOption = None,
    *,
    by: ByOption = None,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Merge a person into another one, who is the same and whose name remains."""
    person, remaining, answer = run(_merge(wanted, into, owner, by=by, wait=not no_wait))
    finish(answer, f"{person['name']} is {remaining['name']}.", as_json=as_json, no_wait=no_wait)


@app.command()
def split(
    wanted: PersonArgument,
    recordings: Annotated[
        list[str], typer.Argument(metavar="ID|PATH...", help="Recordings in which another person speaks.")
    ],
    other: Annotated[str, typer.Option("--as", help="Name of that other person.", metavar="NAME")],
    owner: OwnerOption = None,
    *,
    by: ByOption = None,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give some recordings of a person to another person, because two people were taken for one."""
    require_name(other)
    answer = run(_split(wanted, recordings, other, owner, by=by, wait=not no_wait))
    finish(answer, f"These voices are {other}.", as_json=as_json, no_wait=no_wait)


@app.command()
def forget(
    wanted: PersonArgument,
    owner: OwnerOption = None,
    *,
    yes: YesOption = False,
    by: ByOption = None,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a person: the name, all voiceprints, and every link from recordings. It cannot be undone."""
    question = "Forget {name}, with all voiceprints and names in recordings?"
    person, answer = run(
        _change(wanted, owner, "forget", by=by, wait=not no_wait, question=None if yes else question)
    )
    finish(answer, f"{person['id']} is forgotten.", as_json=as_json, no_wait=no_wait)


@app.command()
def export(
    wanted: PersonArgument,
    owner: OwnerOption = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; standard output when left out.")
    ] = None,
    *,
    by: ByOption = None,
) -> None:
    """Write everything that is kept about a person as JSON, for that person."""
    document, answer = run(_export(wanted, owner, by=by))
    if document is None:
        finish(answer, "", as_json=False, no_wait=False)
    if output is None:
        sys.stdout.write(document)
        return
    try:
        output.write_text(document, encoding="utf-8")
    except OSError as error:
        fail(USAGE, f"{output} cannot be written: {error.strerror}.")


async def _read_people(owner: str | None) -> "list[Person]":
    from phonograph_cli.people import PeopleReader

    async with connect_graph() as driver:
        return await PeopleReader(driver).people(owner)


async def _read_person_and_speakers(wanted: str, owner: str | None) -> "tuple[Person, list[Speaker]]":
    from phonograph_cli.people import PeopleReader

    async with connect_graph() as driver:
        reader = PeopleReader(driver)
        person = _find(await reader.people(owner), wanted)
        return person, await reader.speakers_of(person["id"])


async def _merge(
    wanted: str, into: str, owner: str | None, *, by: str | None, wait: bool
) -> "tuple[Person, Person, PersonRequestAnswered | None]":
    people = await _read_people(owner)
    person, remaining = _find(people, wanted), _find(people, into)
    return person, remaining, await _send(person, "merge", by, wait=wait, into_person_id=remaining["id"])


async def _split(
    wanted: str, recordings: list[str], other: str, owner: str | None, *, by: str | None, wait: bool
) -> "PersonRequestAnswered | None":
    person, speakers = await _read_person_and_speakers(wanted, owner)
    chosen: list[str] = []
    for recording in recordings:
        media_id = await find_recording(recording)
        found = [each["speaker_id"] for each in speakers if each["media_id"] == media_id]
        if not found:
            fail(REJECTED, f"The person does not speak in {media_id}. See: phonograph people show PERSON")
        chosen += found
    return await _send(person, "split", by, wait=wait, name=other, speaker_ids=chosen)


async def _change(
    wanted: str,
    owner: str | None,
    change: str,
    *,
    by: str | None,
    wait: bool,
    question: str | None = None,
    **fields: Any,
) -> "tuple[Person, PersonRequestAnswered | None]":
    person = _find(await _read_people(owner), wanted)
    if question is not None:
        confirm(question.format(name=person["name"]), yes=False)
    return person, await _send(person, change, by, wait=wait, **fields)


async def _send(
    person: "Person", change: str, by: str | None, *, wait: bool, **fields: Any
) -> "PersonRequestAnswered | None":
    from phonograph_cli.people import current_user, request
    from phonograph_events import PersonChangeRequested

    event = PersonChangeRequested.model_validate(
        {
            "person_id": person["id"],
            "owner": person["owner"],
            "change": change,
            "requested_by": (by or current_user())[:MAX_USER],
        }
        | fields
    )
    async with connect_kafka() as client:
        return await request(client, event, wait=wait)


async def _export(
    wanted: str, owner: str | None, *, by: str | None
) -> "tuple[str | None, PersonRequestAnswered | None]":
    from phonograph_runtime.objects import person_prefix

    person, answer = await _change(wanted, owner, "export", by=by, wait=True)
    if answer is None or answer.document_uri is None:
        return None, answer
    objects = project().objects
    content = await objects.get_async(answer.document_uri)
    # It contains voiceprints: it is kept no longer than it takes to read it.
    await objects.delete_below_async(person_prefix(person["id"]))
    return json.dumps(json.loads(content), indent=2, ensure_ascii=False) + "\n", answer


def _find(people: "list[Person]", wanted: str) -> "Person":
    found = next((person for person in people if person["name"] == wanted), None)
    if found is not None:
        return found
    by_id = {person["id"]: person for person in people}
    if not re.fullmatch(r"[0-9a-f-]+", wanted.lower()):
        fail(USAGE, f"There is no person {printable(wanted)}. See: phonograph people list")
    return require_match("person", wanted.lower(), by_id, listed_by="phonograph people list")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value))
