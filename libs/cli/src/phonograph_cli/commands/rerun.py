"""`phonograph rerun`: process known recordings again."""

import getpass
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from phonograph_cli.choices import PresetName
from phonograph_cli.commands.ingest import explain_interrupt, require_services
from phonograph_cli.commands.recordings import describe_unknown
from phonograph_cli.console import (
    MAX_NAME_CHARS,
    MAX_REASON_CHARS,
    REJECTED,
    USAGE,
    JsonOption,
    check_length,
    err,
    fail,
    out,
    print_json,
    print_line,
    require_known,
)
from phonograph_cli.session import connect_graph, connect_kafka, project, run

if TYPE_CHECKING:
    from phonograph_cli.progress import FileProgress
    from phonograph_cli.reruns import Estimate, Recording, Term
    from phonograph_events import RerunRequested

MAX_NAMES = 20
"""Recordings that `--dry-run` lists."""


def rerun(
    wanted: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID|PATH...]", help="Media IDs, their first characters, or paths."),
    ] = None,
    *,
    service: Annotated[
        str, typer.Option(help="analysis, transcription, diarization, tracklist or highlights.")
    ],
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Every recording whose result has this, for example engine=pocketsphinx, model!=base, "
            "warning=engine_fallback, kind=audio or before=2026-11-25; repeat it for several conditions."
        ),
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Engine of the service.", callback=check_length(MAX_NAME_CHARS))
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model of the engine, for example small.", callback=check_length(MAX_NAME_CHARS)),
    ] = None,
    preset: Annotated[PresetName | None, typer.Option(help="How much time for how much accuracy.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of the speech, for example en.")] = None,
    speakers: Annotated[int | None, typer.Option(min=1, help="Exact number of speakers.")] = None,
    min_speakers: Annotated[int | None, typer.Option(min=1, help="Fewest speakers.")] = None,
    max_speakers: Annotated[int | None, typer.Option(min=1, help="Most speakers.")] = None,
    reason: Annotated[
        str | None,
        typer.Option(help="Why, for the history of the recordings.", callback=check_length(MAX_REASON_CHARS)),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would take.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Show progress until all services end.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all services end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Process known recordings again: each result is a new version, and the older ones stay readable.

    What follows from the result is done again as well: speakers are merged into another transcript, and
    highlights are made from it. With --follow or --wait the exit code is 0 only when all of it succeeded.
    """
    from phonograph_events import RESULT_SERVICES, Profile, RerunRequested

    require_known("service with results", service, sorted(RESULT_SERVICES[Profile.AUTO]))
    request = RerunRequested(
        media_id=UUID(int=0),
        service=service,
        engine=engine,
        model=model,
        preset=preset,
        language=language,
        speakers=speakers,
        min_speakers=min_speakers,
        max_speakers=max_speakers,
        reason=reason,
        requested_by=f"cli:{_user_name()}",
    )
    terms = _parse_terms(where)
    if bool(wanted) == bool(terms):
        fail(USAGE, "Name the recordings, or select them with --where.")
    if dry_run:
        recordings, missing, cost = run(_measure(request, wanted or [], terms))
        _print_estimate(request, recordings, cost, as_json=as_json)
        raise typer.Exit(REJECTED if missing else 0)
    if follow or wait:
        require_services()
    with explain_interrupt():
        files, missing = run(
            _request(request, wanted or [], terms, follow=follow or wait, quiet=as_json or not follow)
        )
    _print_files(files, as_json=as_json, ended=follow or wait)
    has_failed = missing or ((follow or wait) and not all(file.has_succeeded for file in files))
    raise typer.Exit(REJECTED if has_failed else 0)


def _parse_terms(texts: list[str] | None) -> "list[Term]":
    from phonograph_cli.errors import BadFilterError
    from phonograph_cli.reruns import Term

    try:
        return [Term.parse(text) for text in texts or []]
    except BadFilterError as error:
        fail(USAGE, error.message)


async def _measure(
    request: "RerunRequested", wanted: list[str], terms: "list[Term]"
) -> "tuple[list[Recording], bool, Estimate]":
    from phonograph_cli import reruns

    async with connect_graph() as driver:
        recordings, missing = await _find(driver, request, wanted, terms)
        return recordings, missing, await reruns.estimate(driver, request, recordings)


async def _request(
    request: "RerunRequested", wanted: list[str], terms: "list[Term]", *, follow: bool, quiet: bool
) -> "tuple[list[FileProgress], bool]":
    """Request the recordings that were found; return their progress, and whether one was not found."""
    from phonograph_cli import ingestion, reruns
    from phonograph_cli.progress_display import display_progress

    async with connect_graph() as driver, connect_kafka() as client:
        recordings, missing = await _find(driver, request, wanted, terms)
        if not recordings:
            return [], missing

        async def publish() -> "list[FileProgress]":
            return await reruns.request(client, request, recordings)

        if not follow:
            return await publish(), missing
        with display_progress(out, quiet=quiet) as on_change:
            return await ingestion.follow(client, driver, publish, on_change), missing


async def _find(
    driver: Any, request: "RerunRequested", wanted: list[str], terms: "list[Term]"
) -> "tuple[list[Recording], bool]":
    """Return the recordings that are named or selected, and whether one that is named was not found."""
    from phonograph_cli import reruns
    from phonograph_cli.locations import printable
    from phonograph_cli.recordings import RecordingReader
    from phonograph_events import Service

    service = Service(request.service)
    if terms:
        return reruns.select(await reruns.read_recordings(driver, service), terms), False
    reader = RecordingReader(driver, project().objects)
    media_ids = {name: await reader.find(name) for name in dict.fromkeys(wanted)}
    found = await reruns.read_recordings(
        driver, service, [media_id for media_id in media_ids.values() if media_id is not None]
    )
    ready = {recording.media_id for recording in found}
    missing = [name for name, media_id in media_ids.items() if media_id not in ready]
    for name in missing:
        if media_ids[name] is None:
            sentence = await describe_unknown(name)
        else:
            sentence = f"{printable(name)} was rejected or deleted. See: phonograph show {media_ids[name]}"
        err.print(sentence, highlight=False, markup=False, soft_wrap=True)
    return found, bool(missing)


def _print_estimate(
    request: "RerunRequested", recordings: "list[Recording]", cost: "Estimate", *, as_json: bool
) -> None:
    from phonograph_cli.export_formats import clock
    from phonograph_cli.locations import printable

    duration_s = sum(recording.duration_s for recording in recordings)
    if as_json:
        print_json(
            {
                "service": request.service,
                "recordings": [
                    {"media_id": each.media_id, "file_name": each.file_name, "duration_s": each.duration_s}
                    for each in recordings
                ],
                "hours": round(duration_s / 3600, 4),
                "estimated_s": None if cost.seconds is None else round(cost.seconds, 1),
                "measured_jobs": cost.jobs,
                "engine": cost.engine,
                "model": cost.model,
            }
        )
        return
    for recording in recordings[:MAX_NAMES]:
        print_line(f"{recording.media_id}  {clock(recording.duration_s)}  {printable(recording.file_name)}")
    if len(recordings) > MAX_NAMES:
        print_line(f"… and {len(recordings) - MAX_NAMES} more")
    count, hours = _count(len(recordings), "recording"), f"{duration_s / 3600:.2f} hours"
    print_line(f"{count}, {hours}, {request.service}. Nothing was requested.")
    if cost.seconds is None:
        print_line("Estimated time: unknown, because no comparable job was measured.")
    else:
        used = " ".join(name for name in (cost.engine, cost.model) if name)
        print_line(
            f"Estimated time: {clock(cost.seconds)} of one worker, from {_count(cost.jobs, 'earlier job')}"
            f"{f' with {used}' if used else ''}."
        )


def _print_files(files: "list[FileProgress]", *, as_json: bool, ended: bool) -> None:
    from phonograph_cli.locations import as_text, printable
    from phonograph_cli.rendering import rerun_lines

    if as_json:
        requested = [
            {
                "media_id": file.media_id,
                "file_name": as_text(file.path),
                "correlation_id": file.correlation_id,
            }
            for file in files
        ]
        print_json([file.to_json() | {"path": as_text(file.path)} for file in files] if ended else requested)
        return
    if not files:
        print_line("No recording was selected.")
    for file in files:
        if ended:
            for line in rerun_lines(file):
                print_line(printable(line))
        else:
            print_line(f"{printable(file.path)}: requested. See: phonograph history {file.media_id}")


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may have no name for its user
        return "unknown"
