"""What the use cases need from outside, in the words of the domain."""

from collections.abc import Sequence
from typing import Protocol

from phonograph_graph_sync.domain.position import Partition, Projected, Written


class GraphWriter(Protocol):
    """The graph, as the service writes it."""

    async def prepare(self) -> dict[Partition, int]:
        """Create the constraints and indexes that are missing; give the last offset of each partition."""

    async def write(self, batch: Sequence[Projected]) -> Written:
        """Take the events that the graph does not hold yet, all in one transaction."""


class GraphEraser(Protocol):
    """The graph, as a rebuild treats it."""

    async def begin(self, partitions: Sequence[Partition]) -> None:
        """Keep every other writer out, wait for those at work, and forget all offsets."""

    async def wipe(self) -> None:
        """Remove everything."""

    async def end(self) -> None:
        """Let the others in again."""

    async def size(self) -> tuple[int, int]:
        """How many nodes and edges there are."""


class Positions(Protocol):
    """Remembers in PostgreSQL how far the graph has come."""

    async def all(self) -> dict[Partition, int]:
        """The last offset of each partition."""

    async def advance(self, ends: dict[Partition, int]) -> None:
        """Note new offsets."""

    async def clear(self) -> None:
        """Forget them."""


class EventLog(Protocol):
    """All events that there are."""

    async def partitions(self) -> list[Partition]:
        """Where they lie."""

    async def replay(self) -> int:
        """Hand over every event, from the first to the last that there is now; give their number."""
