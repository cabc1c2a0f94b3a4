"""Events of a batch by their offsets on Kafka, and the result of writing it."""

from dataclasses import dataclass

from phonograph_graph_sync.domain.graph import Changes


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of a topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class ProjectedEvent:
    """An event by its partition and offset, with the changes that it makes."""

    partition: Partition
    offset: int
    changes: Changes


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of writing a batch."""

    is_new: tuple[bool, ...]
    """For each event of the batch, in its order: False if the graph contained it before."""
    offsets: dict[Partition, int]
    """The last offset that the graph now contains, for each partition of the batch."""
