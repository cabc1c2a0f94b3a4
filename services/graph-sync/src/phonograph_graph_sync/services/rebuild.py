"""Empties the graph and fills it again from the first event."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from phonograph_graph_sync.domain.ports import EventLog, GraphEraser


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did."""

    events: int
    nodes: int
    edges: int
    seconds: float


class RebuildService:
    """One rebuild. When it breaks off, the graph stays closed to other writers until another one ends."""

    def __init__(
        self, *, graph: GraphEraser, log: EventLog, forget_positions: Callable[[], Awaitable[None]]
    ) -> None:
        self._graph = graph
        self.logger = log
        self._forget_positions = forget_positions

    async def rebuild(self) -> Rebuilt:
        """Do it; the end of the log is read after the last writer has stopped."""
        started = time.monotonic()
        await self._graph.begin(await self.logger.partitions())
        await self._forget_positions()
        await self._graph.wipe()
        events = await self.logger.replay()
        await self._graph.end()
        nodes, edges = await self._graph.size()
        return Rebuilt(events, nodes, edges, round(time.monotonic() - started, 1))
