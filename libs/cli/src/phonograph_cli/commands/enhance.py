"""`phonograph enhance`: a transcript that is easier to read."""

from typing import TYPE_CHECKING, Annotated

import typer

from phonograph_cli.choices import FillersName
from phonograph_cli.commands.recordings import read_recording
from phonograph_cli.console import REJECTED, JsonOption, NoWaitOption, fail, print_json, print_line
from phonograph_cli.session import connect_kafka, run

if TYPE_CHECKING:
    from phonograph_events import TranscriptionCompleted


def enhance(
    wanted: Annotated[str, typer.Argument(metavar="ID|PATH")],
    *,
    fillers: Annotated[
        FillersName, typer.Option(help="Remove no fillers, hesitations such as um, or `you know` as well.")
    ] = FillersName.SOME,
    repetitions: Annotated[bool, typer.Option(help="Remove words that a speaker stutters.")] = True,
    numbers: Annotated[bool, typer.Option(help="Write numbers in digits.")] = True,
    casing: Annotated[
        bool, typer.Option(help="Add capital letters and punctuation where the engine writes neither.")
    ] = True,
    no_wait: NoWaitOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make the newest transcript of a recording easier to read: a new version, by rules.

    Every change is stored with the version; the transcript as it was recognized stays. Fillers, repetitions
    and numbers are known in English only.
    """
    rules = {"fillers": fillers.value, "repetitions": repetitions, "numbers": numbers, "casing": casing}
    answer = run(_enhance(wanted, rules, wait=not no_wait))
    if as_json:
        print_json(
            None
            if answer is None
            else answer.model_dump(mode="json", include={"media_id", "result_id", "version", "document_uri"})
        )
    elif answer is None:
        print_line("Requested.")
    else:
        print_line(f"Version {answer.version}: {answer.preview}")


async def _enhance(
    wanted: str, rules: dict[str, str | bool], *, wait: bool
) -> "TranscriptionCompleted | None":
    from phonograph_cli.transcript_requests import request_enhancement
    from phonograph_events import EnhancementRequested

    recording = await read_recording(wanted)
    if recording["transcript"] is None:
        fail(REJECTED, f"{recording['media']['file_name']} has no transcript.")
    request = EnhancementRequested.model_validate({"media_id": recording["media"]["media_id"], **rules})
    async with connect_kafka() as client:
        return await request_enhancement(client, request, wait=wait)
