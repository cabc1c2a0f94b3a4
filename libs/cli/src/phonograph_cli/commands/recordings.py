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
    require_known,
)
from phonograph_cli.session import connect_kafka, open_recordings, run

if TYPE_CHECKING:
    from phonograph_cli.export_formats import Recording
    from phonograph_cli.recordings import WantedVersion

VersionOption = Annotated[
    int | None,
    typer.Option("--version", min=1, help="A version of `phonograph history` instead of the newest."),
]
ServiceOption = Annotated[
    str | None, typer.Option(help="Service whose version is meant; transcription when left out.")
]
EXPORTED = {ExportFormat.RTTM: "diarization", ExportFormat.CUE: "tracklist"}
"""Service whose result a format holds, if it is not the transcription."""
REQUESTED_WITHIN = timedelta(hours=1)
"""Age up to which a request is searched for on Kafka."""


def show(
    wanted: Annotated[
        str, typer.Argument(metavar="ID|PATH", help="A media ID, its first 8 or more characters, or a path.")
    ],
    *,
    version: VersionOption = None,
    service: ServiceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show everything known about a recording."""
    from phonograph_cli import rendering

    shown = _wanted_version(version, service)
    recording = run(read_recording(wanted, shown))
    if as_json:
        print_json(recording)
    else:
        if shown is not None:
            print_line(f"With version {shown.number} of the {shown.service}.")
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
    *,
    version: VersionOption = None,
    store: Annotated[
        bool,
        typer.Option("--store", help="Let the service write it into the object store, and print its URI."),
    ] = False,
) -> None:
    """Write the transcript, speakers or tracklist of a recording for other programs."""
    from phonograph_cli import export_formats

    if store:
        if output is not None:
            fail(USAGE, "--store writes into the object store: it takes no --output.")
        if version is not None:
            fail(USAGE, "--store stores the current version: it takes no --version.")
        print_line(run(_store_export(wanted, export_format)))
        return
    shown = None if version is None else _wanted_version(version, EXPORTED.get(export_format))
    with report_errors():
        content = export_formats.export(run(read_recording(wanted, shown)), export_format)
    if output is None:
        sys.stdout.write(content)
        return
    try:
        output.write_text(content, encoding="utf-8")
    except OSError as error:
        fail(USAGE, f"{output} cannot be written: {error.strerror}.")


def _wanted_version(number: int | None, service: str | None) -> "WantedVersion | None":
    """Return the version that the options name; end the command if the service makes no results."""
    from phonograph_cli.recordings import WantedVersion
    from phonograph_events import RESULT_SERVICES, Profile, Service

    require_known("service with results", service, sorted(RESULT_SERVICES[Profile.AUTO]))
    if number is None:
        if service is not None:
            fail(USAGE, "--service names the result whose --version is shown: give both.")
        return None
    return WantedVersion(Service(service or Service.TRANSCRIPTION), number)


async def _store_export(wanted: str, export_format: ExportFormat) -> str:
    from phonograph_cli.transcript_requests import request_export

    recording = await read_recording(wanted)
    async with connect_kafka() as client:
        answer = await request_export(client, recording["media"]["media_id"], export_format)
    return answer.uri or ""


async def read_recording(wanted: str, version: "WantedVersion | None" = None) -> "Recording":
    """Return a recording; end the command if it is unknown.

    Args:
        wanted: Media ID, unique prefix of one, path or URI.
        version: A version to read in place of the current one of its service.
    """
    async with open_recordings() as recordings:
        media_id = await recordings.find(wanted)
        recording = await recordings.show(media_id, version) if media_id else None
    if recording is None:
        fail(REJECTED, await describe_unknown(wanted))
    return recording


async def describe_unknown(wanted: str) -> str:
    """Return a sentence about a recording that is unknown, or not ingested yet."""
    from phonograph_cli.locations import printable

    requested = await _find_request(wanted)
    if requested is not None:
        return (
            f"{printable(wanted)} was requested at {requested:%H:%M:%S} UTC and is not ingested yet. "
            "See: phonograph jobs list"
        )
    return f"{printable(wanted)} is unknown. Ingest it with: phonograph ingest PATH --follow"


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
