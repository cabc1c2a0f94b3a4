"""`phonograph ingest`: take files in, and follow them through the services."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from phonograph_cli.choices import ProfileName
from phonograph_cli.console import (
    INTERRUPTED,
    NOT_UP,
    REJECTED,
    JsonOption,
    err,
    fail,
    out,
    print_json,
    print_line,
)
from phonograph_cli.session import connect_graph, connect_kafka, project, run

if TYPE_CHECKING:
    from phonograph_cli.progress import FileProgress
    from phonograph_events import IngestRequested


def ingest(
    paths: Annotated[list[str], typer.Argument(help="Files, or file:// URIs.", metavar="PATH...")],
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
    follow: Annotated[bool, typer.Option("--follow", help="Show progress until all services end.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all services end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ingest files. With --follow or --wait the exit code is 0 only when every file succeeded."""
    from phonograph_cli.locations import to_uri
    from phonograph_events import IngestRequested, Options, Profile

    requests = {
        path: IngestRequested(
            uri=to_uri(path),
            profile=Profile(profile),
            owner=owner,
            priority=priority,
            options=Options(language=language, speakers=speakers),
        )
        for path in paths
    }
    if follow or wait:
        _require_services()
        with explain_interrupt():
            files = run(_follow(requests, quiet=as_json or not follow))
        _print_outcomes(files, as_json=as_json)
        raise typer.Exit(0 if all(file.has_succeeded for file in files) else REJECTED)
    _print_requests(run(_request(requests)), as_json=as_json)


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
            return await ingestion.follow(client, driver, requests, on_change)


def _require_services() -> None:
    """End the command if a service whose results would be awaited is not running."""
    from phonograph_cli.project import MONITORING

    needed = [process for process in project().status() if process.name not in MONITORING]
    stopped = [process.name for process in needed if process.state != "running"]
    if stopped:
        fail(NOT_UP, f"Not running: {', '.join(stopped)}. Start what is missing with: phonograph up")


def _print_requests(files: "list[FileProgress]", *, as_json: bool) -> None:
    from phonograph_cli.locations import printable

    if as_json:
        print_json({"files": [{"path": file.path, "correlation_id": file.correlation_id} for file in files]})
        return
    for file in files:
        path = printable(file.path)
        print_line(f"{path}: requested. See: phonograph show {path}")


def _print_outcomes(files: "list[FileProgress]", *, as_json: bool) -> None:
    from phonograph_cli.locations import printable
    from phonograph_cli.rendering import outcome_line

    if as_json:
        print_json({"files": [file.to_json() | {"path": printable(file.path)} for file in files]})
        return
    for file in files:
        print_line(outcome_line(file))
