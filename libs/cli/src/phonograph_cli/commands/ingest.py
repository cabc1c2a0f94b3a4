"""`phonograph ingest`: take files in, and follow them through the services."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phonograph_cli.choices import PresetName, ProfileName
from phonograph_cli.console import (
    INTERRUPTED,
    MAX_NAME_CHARS,
    NOT_UP,
    REJECTED,
    JsonOption,
    check_length,
    err,
    fail,
    out,
    print_json,
    print_line,
    print_step,
)
from phonograph_cli.session import connect_graph, connect_kafka, project, run

if TYPE_CHECKING:
    from phonograph_cli.progress import FileProgress
    from phonograph_events import IngestRequested


def ingest(
    paths: Annotated[
        list[str],
        typer.Argument(
            help="Files, file:// URIs, or folders, whose recordings at any depth are ingested.",
            metavar="PATH...",
        ),
    ],
    *,
    profile: Annotated[
        ProfileName, typer.Option(help="Kind of the files; auto starts every service.")
    ] = ProfileName.AUTO,
    owner: Annotated[str | None, typer.Option(help="Owner of the files.")] = None,
    priority: Annotated[
        int, typer.Option(min=-100, max=100, help="Files with a higher one are processed first.")
    ] = 0,
    language: Annotated[str | None, typer.Option(help="Language of the speech, for example en.")] = None,
    speakers: Annotated[int | None, typer.Option(min=1, help="Exact number of speakers.")] = None,
    track: Annotated[
        str | None, typer.Option(help="Number of the audio track, or all; else the one with speech.")
    ] = None,
    preset: Annotated[
        PresetName | None, typer.Option(help="How much time the transcription takes for its accuracy.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Engine of the transcription.", callback=check_length(MAX_NAME_CHARS))
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model of the transcription, for example small.", callback=check_length(MAX_NAME_CHARS)
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Show progress until all services end.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all services end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ingest files and folders. With --follow or --wait the exit code is 0 only when every file succeeded.

    What a folder contains besides recordings is left out and counted. A file that several symbolic links
    reach is ingested once.
    """
    from phonograph_cli.locations import to_uri
    from phonograph_events import IngestRequested, Options, Profile

    files, left_out = _expand_folders(paths)
    requests = {
        path: IngestRequested(
            uri=to_uri(path),
            profile=Profile(profile),
            owner=owner,
            priority=priority,
            options=Options(
                language=language,
                speakers=speakers,
                track=_parse_track(track),
                preset=preset,
                engine=engine,
                model=model,
            ),
        )
        for path in files
    }
    if follow or wait:
        require_services()
        with explain_interrupt():
            outcomes = run(_follow(requests, quiet=as_json or not follow))
        _print_outcomes(outcomes, left_out, as_json=as_json)
        raise typer.Exit(0 if all(file.has_succeeded for file in outcomes) else REJECTED)
    _print_requests(run(_request(requests)), left_out, as_json=as_json)


def _expand_folders(paths: list[str]) -> tuple[list[str], dict[str, int] | None]:
    """Return the paths of the files to ingest, and what the folders contain besides.

    Args:
        paths: Files, URIs and folders as the user typed them.

    Returns:
        The paths, and the number of other entries by kind; None if nothing could be left out.
    """
    from phonograph_cli import folders
    from phonograph_cli.locations import is_folder, printable

    wanted = [path for path in paths if is_folder(path)]
    content = folders.find_recordings(paths)
    if content.left_out:
        print_step(content.describe_left_out())
    if not content.paths:
        listed = ", ".join(map(printable, wanted))
        fail(REJECTED, f"No recording was found in {listed}. Name a folder with audio or video files.")
    return content.paths, dict(content.left_out) if wanted or content.left_out else None


def _parse_track(text: str | None) -> int | str | None:
    if text is None or text == "all":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter("Give the number of a track, from 1, or all.", param_hint="--track")
    return int(text)


@contextmanager
def explain_interrupt() -> Iterator[None]:
    """End the command on Ctrl-C with a sentence, because the services continue to work on the files."""
    try:
        yield
    except KeyboardInterrupt:
        err.print(
            "The services continue. See: phonograph jobs list, phonograph show PATH",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED) from None


async def _request(requests: "dict[str, IngestRequested]") -> "list[FileProgress]":
    from phonograph_cli import ingestion

    async with connect_kafka() as client:
        return await ingestion.request(client, requests)


async def _follow(requests: "dict[str, IngestRequested]", *, quiet: bool) -> "list[FileProgress]":
    from phonograph_cli import ingestion
    from phonograph_cli.progress_display import display_progress

    async with connect_graph() as driver, connect_kafka() as client:
        with display_progress(out, quiet=quiet) as on_change:
            return await ingestion.follow(
                client, driver, lambda: ingestion.request(client, requests), on_change
            )


def require_services() -> None:
    """End the command if a service whose results would be awaited is not running."""
    from phonograph_cli.project import MONITORING

    needed = [process for process in project().status() if process.name not in MONITORING]
    stopped = [process.name for process in needed if process.state != "running"]
    if stopped:
        fail(NOT_UP, f"Not running: {', '.join(stopped)}. Start what is missing with: phonograph up")


def _print_requests(files: "list[FileProgress]", left_out: dict[str, int] | None, *, as_json: bool) -> None:
    from phonograph_cli.locations import printable

    if as_json:
        listed = [{"path": file.path, "correlation_id": file.correlation_id} for file in files]
        _print_json(listed, left_out)
        return
    for file in files:
        path = printable(file.path)
        print_line(f"{path}: requested. See: phonograph show {path}")


def _print_outcomes(files: "list[FileProgress]", left_out: dict[str, int] | None, *, as_json: bool) -> None:
    from phonograph_cli.locations import as_text, printable
    from phonograph_cli.rendering import outcome_line

    if as_json:
        _print_json([file.to_json() | {"path": as_text(file.path)} for file in files], left_out)
        return
    for file in files:
        print_line(printable(outcome_line(file)))  # the message may contain the name


def _print_json(files: list[dict[str, Any]], left_out: dict[str, int] | None) -> None:
    print_json({"files": files} | ({} if left_out is None else {"left_out": left_out}))
