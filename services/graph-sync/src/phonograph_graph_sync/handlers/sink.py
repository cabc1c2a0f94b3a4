"""Where events take effect: in the graph."""

from collections.abc import Sequence
from datetime import UTC, datetime

from phonograph_events import Envelope
from phonograph_graph_sync.domain.position import Partition, Projected
from phonograph_graph_sync.domain.projection import project
from phonograph_graph_sync.exceptions import LostGraphError
from phonograph_graph_sync.factory import ProcessContext
from phonograph_runtime import metrics
from phonograph_runtime.consumer import Received
from phonograph_runtime.database import UnavailableError


class GraphSink:
    """See `phonograph_runtime.consumer.Sink`: a batch is one transaction in Neo4j."""

    def __init__(self, context: ProcessContext, *, prepared: bool = False) -> None:
        """Write into the graph of a context; `prepared` skips the look at what it holds."""
        self._context = context
        self._prepared = prepared

    async def apply(self, batch: Sequence[Received]) -> None:
        """See `Sink.apply`."""
        async with self._context.database.transaction() as transaction:
            mirror = self._context.mirror_service(transaction)
            if not self._prepared:
                try:
                    await mirror.prepare()
                except LostGraphError as error:
                    raise UnavailableError(str(error)) from error
                self._prepared = True
            written = await mirror.mirror([_projected(received) for received in batch])
        now = datetime.now(UTC)
        for received, fresh in zip(batch, written.fresh, strict=True):
            topic = received.record.topic
            metrics.EVENTS_CONSUMED.labels(topic, "ok" if fresh else "duplicate").inc()
            if fresh and isinstance(received.content, Envelope):
                age_s = (now - received.content.time.astimezone(UTC)).total_seconds()
                metrics.EVENT_LATENCY_SECONDS.labels(topic).observe(max(age_s, 0.0))


def _projected(received: Received) -> Projected:
    record = received.record
    if not isinstance(received.content, Envelope):
        raise received.content
    return Projected(
        Partition(record.topic, record.partition), record.offset, project(_timed(received, received.content))
    )


def _timed(received: Received, envelope: Envelope) -> Envelope:
    """An event without a time of its own has the record's, which is the same at every replay."""
    if any(name.lower() == "ce_time" for name, _ in received.record.headers):
        return envelope
    return envelope.model_copy(
        update={"time": datetime.fromtimestamp(received.record.timestamp / 1000, tz=UTC)}
    )
