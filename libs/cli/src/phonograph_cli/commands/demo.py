"""`phonograph demo`: the sample recordings on a stack that is started for them."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from phonograph_cli.commands.ingest import explain_interrupt
from phonograph_cli.console import REJECTED, out, print_line, print_step, report_errors
from phonograph_cli.session import connect_graph, connect_kafka, project, run

if TYPE_CHECKING:
    from phonograph_cli.export_formats import Recording
    from phonograph_cli.progress import FileProgress

MEDIA_SUFFIXES = {".mp3", ".ogg", ".flac", ".m4a", ".wav", ".mp4"}


def demo() -> None:
    """Start everything, ingest the sample recordings, show the results, and stop what was started."""
    from phonograph_cli import rendering

    here = project(report=print_step)
    samples = here.root / "tests" / "samples"
    good = [str(path) for path in _files(samples) if path.suffix in MEDIA_SUFFIXES]
    broken = [str(path) for path in _files(samples / "rotten")]
    was_up = any(process.state == "running" for process in here.stack.status())
    try:
        with report_errors():
            here.up()
        with explain_interrupt():
            files, recordings = run(_ingest(good, broken))
        for recording in recordings:
            out.print(rendering.recording_panel(recording))
        for file in files:
            print_line(rendering.outcome_line(file))
    finally:
        if not was_up:
            here.report("stopping")
            here.stack.down()
    out.print(
        "Next: `phonograph up`, `phonograph ingest YOUR_FILE --follow`, `phonograph show YOUR_FILE`.",
        markup=False,
    )
    unexpected = [file for file in files if file.has_succeeded == (file.path in broken)]
    raise typer.Exit(REJECTED if unexpected else 0)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def _ingest(good: list[str], broken: list[str]) -> "tuple[list[FileProgress], list[Recording]]":
    """Ingest files, and return their progress and the recordings of the good ones."""
    from phonograph_cli import ingestion
    from phonograph_cli.locations import to_uri
    from phonograph_cli.progress_display import display_progress
    from phonograph_cli.recordings import RecordingReader
    from phonograph_events import IngestRequested

    requests = {path: IngestRequested(uri=to_uri(path)) for path in [*good, *broken]}
    async with connect_graph() as driver, connect_kafka() as client:
        with display_progress(out, quiet=False) as on_change:
            files = await ingestion.follow(
                client, driver, lambda: ingestion.request(client, requests), on_change
            )
        reader = RecordingReader(driver, project().objects)
        found = [await reader.show(file.media_id) for file in files if file.media_id and file.path in good]
    return files, [recording for recording in found if recording is not None]
