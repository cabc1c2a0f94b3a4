"""Places on Kafka, and what one event there changes."""

from dataclasses import dataclass

from phonograph_graph_sync.domain.graph import Changes


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of a topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class Projected:
    """An event by its place, with its changes."""

    partition: Partition
    offset: int
    changes: Changes


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch."""

    fresh: tuple[bool, ...]
    """For each event of the batch, in its order: false where the graph held it already."""
    ends: dict[Partition, int]
    """The last offset that the graph now holds, for each partition of the batch."""
