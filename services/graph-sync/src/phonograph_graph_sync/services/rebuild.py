"""Empties the graph and fills it again from the first event."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from phonograph_graph_sync.domain.ports import EventReplay, GraphEraser

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RebuildResult:
    """Figures of a finished rebuild."""

    events: int
    nodes: int
    edges: int
    seconds: float


class RebuildService:
    """Rebuilds the graph. If that fails, the graph stays closed to other writers until a later one ends."""

    def __init__(
        self, *, graph: GraphEraser, replay: EventReplay, clear_offsets: Callable[[], Awaitable[None]]
    ) -> None:
        self._graph = graph
        self._replay = replay
        self._clear_offsets = clear_offsets

    async def rebuild(self) -> RebuildResult:
        """Empty the graph and replay every event."""
        started = time.monotonic()
        # No other writer is at work after this step, so that none can write to the graph that is wiped.
        await self._graph.begin_rebuild(await self._replay.partitions())
        # Before the wipe: a graph with lower offsets than PostgreSQL remembers is taken for a lost one.
        await self._clear_offsets()
        await self._graph.wipe()
        # The end of each topic is determined here, after the last writer has stopped: what it has written and
        # committed to Kafka is not delivered again, so the replay must reach at least that far.
        events = await self._replay.replay()
        await self._graph.end_rebuild()
        nodes, edges = await self._graph.size()
        result = RebuildResult(events, nodes, edges, round(time.monotonic() - started, 1))
        logger.info("graph rebuilt", events=events, nodes=nodes, edges=edges, seconds=result.seconds)
        return result
