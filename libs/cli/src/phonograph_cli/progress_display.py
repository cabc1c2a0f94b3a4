"""Progress of requested files on a terminal and on a pipe."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from phonograph_cli import rendering
from phonograph_cli.ingestion import ProgressListener
from phonograph_cli.progress import FileProgress, State
from phonograph_events import Service

REFRESH_S = 0.2


@contextmanager
def display_progress(console: Console, *, quiet: bool) -> Iterator[ProgressListener]:
    """Yield a listener that draws a live table on a terminal, prints lines on a pipe, or ignores progress."""
    if quiet:
        yield lambda _files: None
    elif console.is_terminal:
        with LiveTable(console) as live_table:
            yield live_table
    else:
        yield LinePrinter()


class LiveTable:
    """A table on a terminal with one row per file, redrawn while the block lasts."""

    def __init__(self, console: Console) -> None:
        self._files: list[FileProgress] = []
        self._started = time.monotonic()
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=1 / REFRESH_S)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, files: list[FileProgress]) -> None:
        """Set the files to draw."""
        self._files = files

    def _table(self) -> Table:
        return rendering.progress_table(self._files, time.monotonic() - self._started)


class LinePrinter:
    """Prints one line per change, for pipes and logs."""

    def __init__(self) -> None:
        self._printed: dict[tuple[str, Service], tuple[State, str | None]] = {}

    def __call__(self, files: list[FileProgress]) -> None:
        """Print the changes since the last call."""
        for file in files:
            for service, progress in file.services.items():
                key, change = (file.correlation_id, service), (progress.state, progress.reason)
                if progress.state is not State.WAITING and self._printed.get(key) != change:
                    self._printed[key] = change
                    sys.stdout.write(rendering.change_line(file, service) + "\n")
                    sys.stdout.flush()
