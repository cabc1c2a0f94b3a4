"""From events to the graph."""

from collections.abc import Sequence

from phonograph_graph_sync.domain.ports import GraphWriter, Positions
from phonograph_graph_sync.domain.position import Projected, Written
from phonograph_graph_sync.exceptions import LostGraphError


class MirrorService:
    """Mirrors events into the graph; lives as long as one transaction in PostgreSQL."""

    def __init__(self, *, graph: GraphWriter, positions: Positions) -> None:
        self._graph = graph
        self._positions = positions

    async def prepare(self) -> None:
        """Make the graph ready to be written.

        Raises:
            LostGraphError: it holds less than was seen in it before.
        """
        seen = await self._positions.all()
        held = await self._graph.prepare()
        for partition, offset in seen.items():
            if held.get(partition, -1) < offset:
                raise LostGraphError(
                    f"The graph holds {partition.topic}/{partition.number} up to offset "
                    f"{held.get(partition, -1)}, but it held {offset} before: "
                    "run `phonograph graph rebuild`."
                )

    async def mirror(self, batch: Sequence[Projected]) -> Written:
        """Write a batch, then note how far the graph has come."""
        written = await self._graph.write(batch)
        await self._positions.advance(written.ends)
        return written
