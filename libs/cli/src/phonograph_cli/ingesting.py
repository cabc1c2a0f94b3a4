"""Asks for files and watches what becomes of them."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from phonograph_cli import kafka, rendering
from phonograph_cli.following import FileProgress
from phonograph_events import TOPICS, IngestRequested, Service

if TYPE_CHECKING:
    from neo4j import AsyncDriver

GRAPH_PATIENCE_S = 60.0
REFRESH_S = 0.2

Watcher = Callable[[list[FileProgress]], None]


def address(path: str) -> str:
    """The address of a path as typed: absolute, percent-encoded; an address with a scheme stays as it is."""
    if "://" in path:
        return path
    return Path(os.path.abspath(os.path.expanduser(path))).as_uri()  # noqa: PTH100, PTH111  # keeps links


async def request(servers: str, requests: dict[str, IngestRequested]) -> list[FileProgress]:
    """Publish one request per path and look no further."""
    envelopes = await kafka.publish(servers, requests.values())
    return [
        FileProgress(path, wrapped.correlationid) for path, wrapped in zip(requests, envelopes, strict=True)
    ]


async def follow(
    servers: str, requests: dict[str, IngestRequested], watch: Watcher, *, driver: "AsyncDriver"
) -> list[FileProgress]:
    """Publish one request per path, and watch until all is over and the graph holds it."""
    outcomes = [topic for topic in TOPICS if "cli" not in TOPICS[topic].producers]
    async with kafka.tail(servers, outcomes) as tail:
        files = await request(servers, requests)
        by_correlation = {file.correlation_id: file for file in files}
        watch(files)
        async for seen in tail.events():
            file = by_correlation.get(seen.envelope.correlationid)
            if file is None:
                continue
            file.apply(seen)
            watch(files)
            if all(each.ended for each in files):
                break
    await _graph_holds(driver, files)
    return files


async def _graph_holds(driver: "AsyncDriver", files: list[FileProgress]) -> None:
    """Wait until the graph has taken the last events, so that `show` answers what was just seen."""
    wanted: dict[tuple[str, int], int] = {}
    for file in files:
        for place, offset in file.offsets.items():
            wanted[place] = max(offset, wanted.get(place, -1))
    deadline = time.monotonic() + GRAPH_PATIENCE_S
    while time.monotonic() < deadline:
        result = await driver.execute_query(
            "MATCH (o:KafkaOffset) RETURN o.topic AS topic, o.partition AS partition, o.offset AS offset"
        )
        held = {(row["topic"], row["partition"]): row["offset"] for row in result.records}
        if all(held.get(place, -1) >= offset for place, offset in wanted.items()):
            return
        await asyncio.sleep(0.1)


class LivePainter:
    """One live line per file on a terminal."""

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
        """Remember what to draw."""
        self._files = files

    def _table(self) -> Table:
        return rendering.live_table(self._files, time.monotonic() - self._started)


class PlainPrinter:
    """One line per change, for pipes and logs."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, Service], tuple[str, str | None]] = {}

    def __call__(self, files: list[FileProgress]) -> None:
        """Print what is new."""
        for file in files:
            for service, mark in file.marks.items():
                now = (mark.state.value, mark.reason)
                if self._last.get((file.correlation_id, service)) != now and mark.state != "waiting":
                    self._last[file.correlation_id, service] = now
                    sys.stdout.write(rendering.plain_line(file, service) + "\n")
                    sys.stdout.flush()
