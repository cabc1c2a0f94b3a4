"""Requests to ingest files, and the wait for their outcome."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from phonograph_cli.kafka import SOURCE, KafkaClient
from phonograph_cli.progress import FileProgress
from phonograph_events import TOPICS, IngestRequested

if TYPE_CHECKING:
    from neo4j import AsyncDriver

GRAPH_TIMEOUT_S = 60.0
GRAPH_POLL_S = 0.1
OFFSETS_QUERY = "MATCH (o:KafkaOffset) RETURN o.topic AS topic, o.partition AS partition, o.offset AS offset"

ProgressListener: TypeAlias = Callable[[list[FileProgress]], None]
"""Called with all files after each change."""


async def request(client: KafkaClient, requests: dict[str, IngestRequested]) -> list[FileProgress]:
    """Publish requests, one by each path, and return the initial progress of each file."""
    envelopes = await client.publish(requests.values())
    return [
        FileProgress(path, wrapped.correlationid) for path, wrapped in zip(requests, envelopes, strict=True)
    ]


async def follow(
    client: KafkaClient,
    driver: "AsyncDriver",
    publish: Callable[[], Awaitable[list[FileProgress]]],
    on_change: ProgressListener,
) -> list[FileProgress]:
    """Publish requests and wait until every file has ended and the graph holds the results.

    Args:
        client: Connection to Kafka.
        driver: Connection to the graph.
        publish: Publishes the requests, and returns the initial progress of each file.
        on_change: Called at the start and after each event of one of the files.
    """
    # The tail is opened before publishing, so that no event is missed.
    tail = await client.tail([topic for topic in TOPICS if SOURCE not in TOPICS[topic].producers])
    files = await publish()
    by_correlation = {file.correlation_id: file for file in files}
    on_change(files)
    async for received in tail.events():
        file = by_correlation.get(received.envelope.correlationid)
        if file is None:
            continue
        file.apply(received)
        on_change(files)
        if all(each.is_ended for each in files):
            break
    await _wait_for_graph(driver, files)
    return files


async def _wait_for_graph(driver: "AsyncDriver", files: list[FileProgress]) -> None:
    """Wait until the graph has read the last events, so that `show` finds what was just reported."""
    wanted: dict[tuple[str, int], int] = {}
    for file in files:
        for place, offset in file.offsets.items():
            wanted[place] = max(offset, wanted.get(place, -1))
    deadline = time.monotonic() + GRAPH_TIMEOUT_S
    while time.monotonic() < deadline:
        result = await driver.execute_query(OFFSETS_QUERY)
        held = {(row["topic"], row["partition"]): row["offset"] for row in result.records}
        if all(held.get(place, -1) >= offset for place, offset in wanted.items()):
            return
        await asyncio.sleep(GRAPH_POLL_S)
