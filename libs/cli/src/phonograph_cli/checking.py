"""Compares the graph with what the services say they hold."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from phonograph_cli import kafka, positions
from phonograph_events import TOPICS, InventoryReported, InventoryRequested, Service, uuid7
from phonograph_events.topics import WORKERS
from phonograph_runtime.objects import ObjectStore

PATIENCE_S = 30.0

Versions = dict[str, dict[str, int]]
"""Kind of thing to its ids with their versions."""


ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Comparison:
    """How the graph and the services stand to each other."""

    counts: dict[str, int]
    """What the services hold, by kind."""
    differences: list[dict[str, Any]]
    silent: list[str]
    """Services that did not answer; nothing of theirs was compared."""
    behind: int
    """Events that graph-sync has not taken, although it was waited for."""

    @property
    def ok(self) -> bool:
        """Whether everything was compared and is the same."""
        return not (self.differences or self.silent or self.behind)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


async def compare(
    servers: str, objects: ObjectStore, versions: Callable[[], Awaitable[Versions]]
) -> Comparison:
    """Compare what the services say with what the graph holds once it has taken all that they published.

    While work goes on, either may be a moment ahead: only what differs in the same way again counts.
    """
    topics = [topic.name for topic in TOPICS.values() if Service.GRAPH_SYNC in topic.consumers]
    lasting: list[dict[str, Any]] | None = None
    for _ in range(ROUNDS):
        held, silent = await inventories(servers, objects)
        published = await positions.ends(servers, topics)
        behind = await positions.behind(servers, Service.GRAPH_SYNC.value, published)
        found = differences(held, await versions())
        lasting = found if lasting is None else [each for each in found if each in lasting]
        if not lasting or behind or silent:
            break
    counts = {kind: len(things) for kind, things in held.items()}
    return Comparison(counts, lasting or [], silent, behind)


async def inventories(servers: str, objects: ObjectStore) -> tuple[Versions, list[str]]:
    """What the services hold, by events; and the services that did not answer."""
    check_id = uuid7()
    held: Versions = {}
    silent = set(WORKERS)
    async with kafka.tail(servers, [InventoryReported.TOPIC]) as tail:
        await kafka.publish(servers, [InventoryRequested(media_id=UUID(int=0), check_id=check_id)])
        try:
            async with asyncio.timeout(PATIENCE_S):
                async for seen in tail.events():
                    report = seen.envelope.data
                    if isinstance(report, InventoryReported) and report.check_id == check_id:
                        held |= json.loads(await objects.get_async(report.document_uri))
                        silent.discard(str(report.service))
                    if not silent:
                        break
        except TimeoutError:
            pass
    return held, sorted(silent)


def differences(services: Versions, graph: Versions) -> list[dict[str, Any]]:
    """What is missing, too much or at another version in the graph."""
    found: list[dict[str, Any]] = []
    for kind in sorted(services):
        ours, theirs = services[kind], graph.get(kind, {})
        found += [
            {"kind": kind, "id": key, "service": ours.get(key), "graph": theirs.get(key)}
            for key in sorted(ours.keys() | theirs.keys())
            if ours.get(key) != theirs.get(key)
        ]
    return found
