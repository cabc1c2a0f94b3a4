"""`phonograph score`: the accuracy of a transcript against a text that a person has checked."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phonograph_cli.commands.recordings import read_recording
from phonograph_cli.console import USAGE, JsonOption, fail, print_json, print_line
from phonograph_cli.session import connect_kafka, run

if TYPE_CHECKING:
    from phonograph_events import ScoreCompleted

MAX_BYTES = 900_000
"""Size of a reference text; ten hours of speech are smaller."""


def score(
    wanted: Annotated[str, typer.Argument(metavar="ID|PATH")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Text file with what is said.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Compare the current transcript of a recording with a text, and store its accuracy.

    Case and punctuation do not count. `show` shows the accuracy; without a reference text it shows the
    estimate of the engine.
    """
    text = _read_reference(reference)
    answer = run(_score(wanted, text, reference.name))
    if as_json:
        print_json(answer.model_dump(mode="json", exclude={"request_id", "reason", "message"}))
    else:
        print_line(
            f"{answer.accuracy:.1%} of {answer.reference_words} words are right: word error rate "
            f"{answer.word_error_rate:.1%}, character error rate {answer.character_error_rate:.1%}."
        )


def _read_reference(path: Path) -> str:
    from phonograph_cli.locations import printable

    try:
        data = path.read_bytes()
    except OSError as error:
        fail(USAGE, f"{printable(str(path))} cannot be read: {error.strerror}.")
    if len(data) > MAX_BYTES:
        fail(USAGE, f"{printable(str(path))} is larger than {MAX_BYTES} bytes: it is no text of a recording.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        fail(USAGE, f"{printable(str(path))} is no text in UTF-8.")


async def _score(wanted: str, reference: str, source: str) -> "ScoreCompleted":
    from phonograph_cli.locations import printable
    from phonograph_cli.transcript_requests import request_score

    recording = await read_recording(wanted)
    async with connect_kafka() as client:
        return await request_score(
            client, recording["media"]["media_id"], reference, source=printable(source)[:300]
        )
