"""Handles the events that the service consumes, a batch at a time."""

from collections.abc import Sequence

import structlog

from phonograph_events import Envelope, PersonChanged
from phonograph_graph_sync.domain.batches import Partition, ProjectedEvent
from phonograph_graph_sync.domain.lag import LagClock
from phonograph_graph_sync.domain.projection import project
from phonograph_graph_sync.factory import ProcessContext
from phonograph_runtime.consumer import count_applied
from phonograph_runtime.dead_letters import erase_records
from phonograph_runtime.logs import log_subject
from phonograph_runtime.records import ConsumedRecord

logger = structlog.get_logger()


class GraphSink:
    """Mirrors events into the graph: a batch is one transaction in Neo4j. Implements `Sink`."""

    def __init__(self, context: ProcessContext, clock: LagClock | None = None) -> None:
        """Mirror into the graph of a context.

        Args:
            context: Connections of the process.
            clock: Measures for how long events wait; a new one if None.
        """
        self._context = context
        self._clock = clock or LagClock()
        # A rebuild has prepared the graph itself, and its empty graph must not be taken for a lost one.
        self._is_prepared = context.is_rebuild

    async def apply(self, batch: Sequence[ConsumedRecord]) -> None:
        """See `Sink.apply`."""
        oldest_s = min((record.record.timestamp / 1000 for record in batch), default=None)
        with self._clock.waiting(oldest_s):
            async with self._context.database.transaction() as transaction:
                service = self._context.mirror_service(transaction)
                if not self._is_prepared:
                    await service.prepare()
                    self._is_prepared = True
                result = await service.mirror([_project(record) for record in batch])
                # Even if the batch is not new: the graph may have it from a try that failed after it.
                for key in _keys_of_the_gone(batch):
                    await erase_records(transaction.session, PersonChanged.TOPIC, key=key)
        new = [record for record, is_new in zip(batch, result.is_new, strict=True) if is_new]
        count_applied(batch, new)
        if not self._context.is_rebuild:
            for record in new:
                with log_subject(record):
                    logger.info("event mirrored")


def _keys_of_the_gone(batch: Sequence[ConsumedRecord]) -> list[str]:
    """Return the keys of people who no longer exist, and whose names must not be kept in dead letters."""
    events = [record.content.data for record in batch if isinstance(record.content, Envelope)]
    return [event.subject for event in events if isinstance(event, PersonChanged) and event.name is None]


def _project(record: ConsumedRecord) -> ProjectedEvent:
    envelope = record.content
    if not isinstance(envelope, Envelope):
        raise envelope
    partition = Partition(record.record.topic, record.record.partition)
    return ProjectedEvent(partition, record.record.offset, project(envelope))
