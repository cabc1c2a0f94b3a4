"""`phonograph show` and `phonograph export`: what is known about a recording."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phonograph_cli.choices import ExportFormat
from phonograph_cli.console import REJECTED, USAGE, JsonOption, fail, out, print_json, report_errors
from phonograph_cli.session import open_recordings, run

if TYPE_CHECKING:
    from phonograph_cli.export_formats import Recording


def show(
    wanted: Annotated[
        str, typer.Argument(metavar="ID|PATH", help="A media ID, its first 8 or more characters, or a path.")
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show everything known about a recording."""
    from phonograph_cli import rendering

    recording = run(read_recording(wanted))
    if as_json:
        print_json(recording)
    else:
        out.print(rendering.recording_panel(recording))


def export(
    wanted: Annotated[str, typer.Argument(metavar="ID|PATH")],
    export_format: Annotated[ExportFormat, typer.Option("--format", help="Format of the file.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write; standard output when left out.")
    ] = None,
) -> None:
    """Write the transcript, speakers or tracklist of a recording for other programs."""
    from phonograph_cli import export_formats

    with report_errors():
        content = export_formats.export(run(read_recording(wanted)), export_format)
    if output is None:
        sys.stdout.write(content)
        return
    try:
        output.write_text(content, encoding="utf-8")
    except OSError as error:
        fail(USAGE, f"{output} cannot be written: {error.strerror}.")


async def read_recording(wanted: str) -> "Recording":
    """Return a recording; end the command if it is unknown.

    Args:
        wanted: Media ID, unique prefix of one, path or URI.
    """
    from phonograph_cli.locations import printable

    async with open_recordings() as recordings:
        media_id = await recordings.find(wanted)
        recording = await recordings.show(media_id) if media_id else None
    if recording is None:
        fail(REJECTED, f"{printable(wanted)} is unknown. Ingest it with: phonograph ingest PATH --follow")
    return recording
