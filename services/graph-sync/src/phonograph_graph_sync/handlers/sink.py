"""Where events take effect: in the graph."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from phonograph_events import Envelope
from phonograph_graph_sync.domain.position import Partition, Projected
from phonograph_graph_sync.domain.projection import project
from phonograph_graph_sync.exceptions import LostGraphError
from phonograph_graph_sync.factory import ProcessContext
from phonograph_runtime.consumer import count_applied
from phonograph_runtime.errors import UnavailableError
from phonograph_runtime.records import ConsumedRecord

AGAIN_S = 60.0
"""A batch that failed comes again much sooner, unless another process has been given its partitions."""


class GraphSink:
    """See `phonograph_runtime.consumer.Sink`: a batch is one transaction in Neo4j."""

    def __init__(self, context: ProcessContext, *, prepared: bool = False) -> None:
        """Write into the graph of a context; `prepared` skips the look at what it holds."""
        self._context = context
        self._prepared = prepared
        self._oldest_s: float | None = None
        self._given_up_at = math.inf

    async def apply(self, batch: Sequence[ConsumedRecord]) -> None:
        """See `Sink.apply`."""
        with self._waiting(batch):
            await self._apply(batch)

    @contextmanager
    def _waiting(self, batch: Sequence[ConsumedRecord]) -> Iterator[None]:
        """Events count as waiting until they are in the graph; a batch that failed will come again."""
        self._oldest_s = min((received.record.timestamp / 1000 for received in batch), default=None)
        self._given_up_at = math.inf
        try:
            yield
        except BaseException:
            self._given_up_at = time.monotonic() + AGAIN_S
            raise
        self._oldest_s = None

    def lag_s(self) -> float:
        """Age of the oldest event that was seen and is not in the graph; 0 when there is none."""
        if self._oldest_s is None or time.monotonic() > self._given_up_at:
            return 0.0
        return max(time.time() - self._oldest_s, 0.0)

    async def _apply(self, batch: Sequence[ConsumedRecord]) -> None:
        async with self._context.database.transaction() as transaction:
            mirror = self._context.mirror_service(transaction)
            if not self._prepared:
                try:
                    await mirror.prepare()
                except LostGraphError as error:
                    raise UnavailableError(str(error), server="Neo4j") from error
                self._prepared = True
            written = await mirror.mirror([_projected(received) for received in batch])
        count_applied(batch, [received for received, new in zip(batch, written.fresh, strict=True) if new])


def _projected(received: ConsumedRecord) -> Projected:
    record = received.record
    if not isinstance(received.content, Envelope):
        raise received.content
    return Projected(
        Partition(record.topic, record.partition), record.offset, project(_timed(received, received.content))
    )


def _timed(received: ConsumedRecord, envelope: Envelope) -> Envelope:
    """An event without a time of its own has the record's, which is the same at every replay."""
    if any(name.lower() == "ce_time" for name, _ in received.record.headers):
        return envelope
    return envelope.model_copy(
        update={"time": datetime.fromtimestamp(received.record.timestamp / 1000, tz=UTC)}
    )
