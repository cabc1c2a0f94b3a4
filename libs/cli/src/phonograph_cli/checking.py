"""Compares the graph with what the services say they hold."""

import asyncio
import json
from typing import Any
from uuid import UUID

from phonograph_cli import kafka
from phonograph_events import InventoryReported, InventoryRequested, uuid7
from phonograph_events.catalogue import WORKERS
from phonograph_runtime.objects import ObjectStore

PATIENCE_S = 30.0

Versions = dict[str, dict[str, int]]
"""Kind of thing to its ids with their versions."""


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
