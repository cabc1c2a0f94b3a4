"""The interfaces of the use cases to Neo4j, PostgreSQL and Kafka, in terms of the domain."""

from collections.abc import Sequence
from typing import Protocol

from phonograph_graph_sync.domain.batches import Partition, ProjectedEvent, WriteResult


class GraphWriter(Protocol):
    """The graph as the mirror writes it. Every method waits for Neo4j."""

    async def prepare(self) -> dict[Partition, int]:
        """Create missing constraints and indexes. Called by `MirrorService` before the first batch.

        Returns:
            The last offset that the graph contains, for each partition.

        Raises:
            UnavailableError: If Neo4j cannot be reached.
        """

    async def write(self, batch: Sequence[ProjectedEvent]) -> WriteResult:
        """Write the events that the graph does not contain yet, all in one transaction.

        Called by `MirrorService`; waits for other writers of the same nodes.

        Raises:
            UnavailableError: If Neo4j cannot be reached, or the graph is being rebuilt.
            RefusedByGraphError: If trying again would fail as well.
            TooLargeForGraphError: If the transaction needs more memory than Neo4j allows it.
        """


class GraphEraser(Protocol):
    """The graph as a rebuild uses it. Every method waits for Neo4j.

    All of them are called by `RebuildService` and raise `UnavailableError` if Neo4j cannot be reached.
    """

    async def begin_rebuild(self, partitions: Sequence[Partition]) -> None:
        """Exclude every other writer, wait for those at work, and reset the offsets of all partitions."""

    async def wipe(self) -> None:
        """Delete every node and edge; takes minutes for a large graph."""

    async def end_rebuild(self) -> None:
        """Admit other writers again."""

    async def size(self) -> tuple[int, int]:
        """Return the numbers of nodes and edges."""


class OffsetStore(Protocol):
    """The offsets that the graph contains, as PostgreSQL remembers them.

    Called by `MirrorService`; every method waits for PostgreSQL and raises its driver's exceptions, which
    the transaction converts.
    """

    async def load(self) -> dict[Partition, int]:
        """Return the last offset of each partition."""

    async def advance(self, offsets: dict[Partition, int]) -> None:
        """Store new offsets; an offset never decreases."""

    async def clear(self) -> None:
        """Delete all offsets."""


class EventReplay(Protocol):
    """All events on Kafka. Called by `RebuildService`; every method waits for Kafka."""

    async def partitions(self) -> list[Partition]:
        """Return the partitions that hold the events, sorted."""

    async def replay(self) -> int:
        """Process every event, from the first to the last that exists when the replay starts.

        Returns:
            The number of records.

        Raises:
            RebuildError: If Kafka or the graph does not respond for minutes.
        """
