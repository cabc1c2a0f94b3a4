"""The graph compared with what the services report to hold."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias
from uuid import UUID

from phonograph_cli import offsets
from phonograph_cli.kafka import KafkaClient
from phonograph_events import TOPICS, InventoryReported, InventoryRequested, Service, uuid7
from phonograph_events.topics import WORKERS
from phonograph_runtime.objects import ObjectStore

ANSWER_TIMEOUT_S = 30.0
ROUNDS = 3
"""Number of rounds in which a difference must appear unchanged to count."""

Versions: TypeAlias = dict[str, dict[str, int]]
"""Versions by the kind and the ID of what has them."""


@dataclass(frozen=True, slots=True)
class GraphComparison:
    """Outcome of comparing the graph with the services."""

    counts: dict[str, int]
    """Number of entries of each kind that the services hold."""
    differences: list[dict[str, Any]]
    silent: list[str]
    """Services that did not answer; nothing of theirs was compared."""
    behind: int
    """Events that graph-sync has not read, although it was waited for."""

    @property
    def is_equal(self) -> bool:
        """True if everything was compared and nothing differs."""
        return not (self.differences or self.silent or self.behind)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison for `--json`."""
        return asdict(self)


async def compare(
    client: KafkaClient, objects: ObjectStore, read_versions: Callable[[], Awaitable[Versions]]
) -> GraphComparison:
    """Compare what the services hold with the graph once it has read everything that they published.

    While services work, either side may be a moment ahead: only what differs in every round counts.

    Args:
        client: Connection to Kafka.
        objects: Object store, in which the services put their inventories.
        read_versions: Reads what the graph holds.
    """
    topics = [topic.name for topic in TOPICS.values() if Service.GRAPH_SYNC in topic.consumers]
    lasting: list[dict[str, Any]] | None = None
    for _ in range(ROUNDS):
        # Inventories first: the graph may then only be ahead of them, once it has read up to the end.
        held, silent = await read_inventories(client, objects)
        ends = await offsets.end_offsets(client, topics)
        behind = await offsets.wait_for_lag(client, Service.GRAPH_SYNC, ends)
        found = find_differences(held, await read_versions())
        lasting = found if lasting is None else [each for each in found if each in lasting]
        if not lasting or behind or silent:
            break
    counts = {kind: len(versions) for kind, versions in held.items()}
    return GraphComparison(counts, lasting or [], silent, behind)


async def read_inventories(client: KafkaClient, objects: ObjectStore) -> tuple[Versions, list[str]]:
    """Request an inventory from every service.

    Returns:
        What the services hold, and the services that did not answer in time.
    """
    check_id = uuid7()
    held: Versions = {}
    silent = set(WORKERS)
    # The tail is opened before publishing, so that no report is missed.
    tail = await client.tail([InventoryReported.TOPIC])
    await client.publish([InventoryRequested(media_id=UUID(int=0), check_id=check_id)])
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            async for received in tail.events():
                report = received.envelope.data
                if isinstance(report, InventoryReported) and report.check_id == check_id:
                    held |= json.loads(await objects.get_async(report.document_uri))
                    silent.discard(str(report.service))
                if not silent:
                    break
    except TimeoutError:
        pass
    return held, sorted(silent)


def find_differences(services: Versions, graph: Versions) -> list[dict[str, Any]]:
    """Return what the graph lacks, what only it has, and what it has at another version."""
    return [
        {"kind": kind, "id": key, "service": held.get(key), "graph": graph.get(kind, {}).get(key)}
        for kind, held in sorted(services.items())
        for key in sorted(held.keys() | graph.get(kind, {}).keys())
        if held.get(key) != graph.get(kind, {}).get(key)
    ]
