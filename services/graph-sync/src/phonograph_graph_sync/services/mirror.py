"""Mirrors events into the graph."""

from collections.abc import Sequence

from phonograph_graph_sync.domain.batches import ProjectedEvent, WriteResult
from phonograph_graph_sync.domain.ports import GraphWriter, OffsetStore
from phonograph_graph_sync.exceptions import LostGraphError


class MirrorService:
    """Writes events to the graph; lives as long as one transaction in PostgreSQL."""

    def __init__(self, *, graph: GraphWriter, offsets: OffsetStore) -> None:
        self._graph = graph
        self._offsets = offsets

    async def prepare(self) -> None:
        """Prepare the graph for writing, and compare its offsets with those in PostgreSQL.

        Raises:
            LostGraphError: If the graph contains less than it did before.
        """
        remembered = await self._offsets.load()
        contained = await self._graph.prepare()
        for partition, offset in remembered.items():
            if contained.get(partition, -1) < offset:
                raise LostGraphError(
                    f"The graph contains {partition.topic}/{partition.number} up to offset "
                    f"{contained.get(partition, -1)}, but it contained {offset} before: "
                    "run `phonograph graph rebuild`."
                )

    async def mirror(self, batch: Sequence[ProjectedEvent]) -> WriteResult:
        """Write a batch to the graph and its offsets to PostgreSQL."""
        result = await self._graph.write(batch)
        # PostgreSQL comes second: an offset that it has and the graph has not would look like a lost graph.
        await self._offsets.advance(result.offsets)
        return result
