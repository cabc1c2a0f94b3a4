"""`phonograph show` and `phonograph export`: what is known about a recording."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonograph_cli.choices import ExportFormat
from phonograph_cli.console import (
    REJECTED,
    USAGE,
    JsonOption,
    fail,
    out,
    print_json,
    print_line,
    report_errors,
)
from phonograph_cli.session import connect_kafka, open_recordings, run

if TYPE_CHECKING:
    from phonograph_cli.export_formats import Recording

REQUESTED_WITHIN = timedelta(hours=1)
"""Age up to which a request is searched for on Kafka."""


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
        if len(recording["places"]) > 1:
            print_line(
                f"One recording in {len(recording['places'])} places: {', '.join(recording['places'])}"
            )
        if recording["in_progress"]:
            print_line(f"Still in progress: {', '.join(map(_progress, recording['in_progress']))}.")


def _progress(unfinished: dict[str, Any]) -> str:
    share = f" {unfinished['progress']:.0%}" if unfinished["progress"] else ""
    return f"{unfinished['service']} ({unfinished['status']}{share})"


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
        requested = await _find_request(wanted)
        if requested is not None:
            fail(
                REJECTED,
                f"{printable(wanted)} was requested at {requested:%H:%M:%S} UTC and is not ingested yet. "
                "See: phonograph jobs list",
            )
        fail(REJECTED, f"{printable(wanted)} is unknown. Ingest it with: phonograph ingest PATH --follow")
    return recording


async def _find_request(wanted: str) -> datetime | None:
    """Return when a file was last requested within the last hour.

    None if it was not, or if Kafka does not answer.
    """
    from phonograph_cli.errors import MissingTopicError
    from phonograph_cli.locations import to_uri
    from phonograph_events import IngestRequested
    from phonograph_runtime.errors import UnavailableError

    now = datetime.now(UTC)
    try:
        async with connect_kafka() as client:
            events = await client.read_between([IngestRequested.TOPIC], now - REQUESTED_WITHIN, now)
    except (UnavailableError, MissingTopicError):
        return None
    times = [
        received.envelope.time
        for received in events
        if isinstance(request := received.envelope.data, IngestRequested)
        and to_uri(request.uri) == to_uri(wanted)
    ]
    return max(times).astimezone(UTC) if times else None
