"""Consumes events in batches: one transaction and one commit per batch, and a bad record affects no other.

See docs/decisions/0001-delivery.md for the guarantees and the measurements behind them.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import structlog
from aiokafka import ConsumerRecord

from phonograph_events import ACTION_HEADER, DROP_ACTION, TARGET_HEADER, Envelope, Event
from phonograph_runtime import metrics
from phonograph_runtime.database import Database, Transaction, is_refused
from phonograph_runtime.dead_letters import DROPPED, REPLAYED, DeadLetters, FailedRecord
from phonograph_runtime.errors import (
    BatchInterruptedError,
    CircuitOpenError,
    PermanentError,
    UnavailableError,
    reason_of,
)
from phonograph_runtime.jitter import jitter
from phonograph_runtime.logs import log_subject
from phonograph_runtime.record_batches import UnreadableBatch
from phonograph_runtime.records import ConsumedRecord, read_record
from phonograph_runtime.tracing import OFF, Tracing

MIN_PAUSE_S = 0.5
MAX_PAUSE_S = 5.0
CIRCUIT_OPEN_PAUSE_S = 30.0
MAX_BATCH_S = 100.0
"""A batch that takes longer is interrupted: Kafka removes a consumer that does not poll for 300 s."""
CIRCUIT_WINDOW = 1000
FLUSH_EVERY = 100
"""Events after which pending rows are flushed, to be written while the next events are handled."""

E = TypeVar("E", bound=Event)
Handler = Callable[[E, Transaction], Awaitable[None]]

logger = structlog.get_logger()


class CircuitBreaker:
    """Stops consumption when parking becomes the rule.

    It opens after a number of parked records in a row, or when their share of the last thousand is too high;
    it stays open until the process is restarted.
    """

    def __init__(self, consecutive: int, ratio: float) -> None:
        self._consecutive = consecutive
        self._max_failures = int(ratio * CIRCUIT_WINDOW)
        self._failures_in_a_row = 0
        self._window: deque[bool] = deque(maxlen=CIRCUIT_WINDOW)
        self.open_reason: str | None = None
        """Why the circuit is open; None while it is closed."""

    def record_successes(self, records: int) -> None:
        """Count records that were processed."""
        self._failures_in_a_row = 0
        self._window.extend([False] * min(records, CIRCUIT_WINDOW))

    def record_failure(self) -> None:
        """Count a record that was parked.

        Raises:
            CircuitOpenError: If this was one too many.
        """
        self._failures_in_a_row += 1
        self._window.append(True)
        failures = sum(self._window)
        if self._failures_in_a_row >= self._consecutive:
            self.open_reason = f"consumption stopped: the last {self._failures_in_a_row} events were parked"
        elif len(self._window) == CIRCUIT_WINDOW and failures > self._max_failures:
            self.open_reason = (
                f"consumption stopped: {failures} of the last {CIRCUIT_WINDOW} events were parked"
            )
        if self.open_reason:
            metrics.CONSUMER_FUSED.set(1)
            logger.critical(self.open_reason)
            raise CircuitOpenError(self.open_reason)


class Sink(Protocol):
    """The store in which the events of a batch take effect: all of them, or none."""

    async def apply(self, batch: Sequence[ConsumedRecord]) -> None:
        """Process every event of the batch. Called by the consumer, with one batch at a time.

        It may wait for its server, but not for long work: Kafka expects the next poll within minutes.

        Args:
            batch: Records in the order of their partitions; the content of each is an envelope.

        Raises:
            PermanentError: If trying again would fail as well.
            UnavailableError: If the server behind it cannot be reached.
            Exception: Anything else is tried again.
        """


@dataclass
class HandlerSink:
    """A sink for services with tables: inbox rows, effects and outbox rows in one PostgreSQL transaction."""

    database: Database
    handlers: dict[type[Event], Handler[Any]] = field(default_factory=dict)

    async def apply(self, batch: Sequence[ConsumedRecord]) -> None:
        """See `Sink.apply`."""
        async with self.database.transaction() as transaction:
            # The inbox comes first: its rows tell which events are new, and they make a second process that
            # has the same events wait until this transaction has ended.
            pending = await self._add_to_inbox(transaction, batch)
            new: list[ConsumedRecord] = []
            for record in batch:
                envelope = record.content
                if isinstance(envelope, Envelope) and (envelope.source, envelope.id) in pending:
                    pending.discard((envelope.source, envelope.id))  # the batch may hold an event twice
                    new.append(record)
                    handler = self.handlers.get(type(envelope.data))
                    if handler is not None:
                        with log_subject(record):
                            await handler(envelope.data, transaction.with_cause(envelope.as_cause()))
                    if len(new) % FLUSH_EVERY == 0:
                        await transaction.start_flush()
        # Counted after the commit: until then nothing has taken effect.
        count_applied(batch, new)

    async def _add_to_inbox(
        self, transaction: Transaction, batch: Sequence[ConsumedRecord]
    ) -> set[tuple[str, str]]:
        """Insert inbox rows, sorted so that two processes cannot deadlock; return the keys that are new."""
        keys = sorted({(r.content.source, r.content.id) for r in batch if isinstance(r.content, Envelope)})
        rows = await transaction.fetch(_ADD_TO_INBOX, *map(list, zip(*keys, strict=True)))
        return {(source, event_id) for source, event_id in rows}


_ADD_TO_INBOX = """
    INSERT INTO inbox (source, event_id)
    SELECT * FROM unnest($1::varchar[], $2::varchar[])
    ON CONFLICT DO NOTHING
    RETURNING source, event_id
"""


def count_applied(batch: Sequence[ConsumedRecord], new: Sequence[ConsumedRecord]) -> None:
    """Count the events of a committed batch in the metrics.

    Args:
        batch: All records of the batch.
        new: Those that took effect now; the others had taken effect before.
    """
    consumed = Counter(record.record.topic for record in batch)
    applied = Counter(record.record.topic for record in new)
    for topic, records in consumed.items():
        metrics.EVENTS_CONSUMED.labels(topic, "ok").inc(applied[topic])
        metrics.EVENTS_CONSUMED.labels(topic, "duplicate").inc(records - applied[topic])
    metrics.INBOX_DUPLICATES.inc(len(batch) - len(new))
    latency = {topic: metrics.EVENT_LATENCY_SECONDS.labels(topic) for topic in applied}
    now_s = time.time()
    for record in new:
        if isinstance(record.content, Envelope) and TARGET_HEADER not in record.headers:
            age_s = now_s - record.content.time.timestamp()
            latency[record.record.topic].observe(max(age_s, 0.0))


class EventConsumer:
    """Parses, applies, retries and parks the events of one service."""

    def __init__(
        self,
        database: Database,
        sink: Sink,
        *,
        retry_budget: timedelta = timedelta(seconds=20),
        fuse_consecutive: int = 100,
        fuse_ratio: float = 0.1,
        tracing: Tracing = OFF,
    ) -> None:
        """Create the consumer.

        Args:
            database: Connections of the service; its dead letters are stored there.
            sink: Where events take effect.
            retry_budget: Time for which one event is retried before it is parked.
            fuse_consecutive: Parked events in a row that open the circuit breaker.
            fuse_ratio: Share of parked events among the last thousand above which it opens.
            tracing: Where spans are sent.
        """
        self._source = database.source
        self._sink = sink
        self._dead_letters = DeadLetters(database)
        self._tracing = tracing
        self._retry_budget_s = retry_budget.total_seconds()
        self._circuit = CircuitBreaker(fuse_consecutive, fuse_ratio)
        self._pause_s = MIN_PAUSE_S
        self._stopping = asyncio.Event()
        self._busy_since: float | None = None
        self.unavailable_reason: str | None = None
        """Which server cannot be reached; None while the last batch was processed."""

    @property
    def circuit_open_reason(self) -> str | None:
        """The reason for which consumption has stopped; None if it has not."""
        return self._circuit.open_reason

    @property
    def is_busy(self) -> bool:
        """Whether a batch is being processed, and not for longer than any batch may take."""
        return self._busy_since is not None and time.monotonic() - self._busy_since < 2 * MAX_BATCH_S

    def stop(self) -> None:
        """End every pause; unfinished records will be redelivered."""
        self._stopping.set()

    async def consume(self, records: Sequence["ConsumerRecord[bytes | None, bytes | None]"]) -> None:
        """Process one batch.

        When it returns, the offsets of the batch may be committed; when it raises, they must not be.

        Args:
            records: Records as Kafka delivered them.

        Raises:
            CircuitOpenError: If too many events were parked.
            BatchInterruptedError: If the service stops, or the batch takes too long.
            UnavailableError: If a server cannot be reached; raised after a growing pause.
        """
        if self.circuit_open_reason:
            await self._pause(CIRCUIT_OPEN_PAUSE_S)
            raise CircuitOpenError(self.circuit_open_reason)
        started = self._busy_since = time.monotonic()
        try:
            await self._process([record for record in map(read_record, records) if self._is_for_us(record)])
        except UnavailableError as error:
            # Nothing is parked for a server's failure. The pause comes before the error leaves: Kafka
            # redelivers at once, so that a pause anywhere else would not slow the loop down.
            self.unavailable_reason = f"{error.server} is unavailable: {error.message}"
            pause_s = jitter(self._pause_s)
            self._pause_s = min(self._pause_s * 2, MAX_PAUSE_S)
            logger.warning("server unavailable", pause_s=round(pause_s, 1), **error.to_logging_context())
            await self._pause(pause_s)
            raise
        finally:
            self._busy_since = None
        self._pause_s, self.unavailable_reason = MIN_PAUSE_S, None
        metrics.CONSUMER_LAST_PROGRESS.set_to_current_time()
        metrics.EVENT_PROCESSING_SECONDS.observe(time.monotonic() - started)

    def _is_for_us(self, record: ConsumedRecord) -> bool:
        target = record.headers.get(TARGET_HEADER)
        if target is None or target == self._source:
            return True
        metrics.EVENTS_CONSUMED.labels(record.record.topic, "foreign").inc()
        return False

    async def _process(self, batch: Sequence[ConsumedRecord]) -> None:
        valid: list[ConsumedRecord] = []
        invalid: list[ConsumedRecord] = []
        dropped: list[ConsumedRecord] = []
        for record in batch:
            if record.headers.get(ACTION_HEADER) == DROP_ACTION:
                dropped.append(record)
            else:
                (valid if isinstance(record.content, Envelope) else invalid).append(record)
        deadline = time.monotonic() + MAX_BATCH_S
        if valid and await self._apply_together(valid):
            await self._succeed(valid)
        else:
            for record in valid:
                # Only between records: what is applied or parked so far is committed and stays so, and the
                # inbox recognizes it when the batch is redelivered.
                if time.monotonic() > deadline:
                    raise BatchInterruptedError("The batch takes too long; the rest is redelivered.")
                await self._process_alone(record)
        for record in invalid:
            await self._process_alone(record)
        await self._dead_letters.resolve(dropped, DROPPED)

    async def _apply_together(self, batch: Sequence[ConsumedRecord]) -> bool:
        """Return whether the whole batch took effect."""
        try:
            await self._apply(batch)
        except UnavailableError:
            raise
        except Exception as error:  # any failure: the record that causes it is found one by one
            logger.info("batch failed, processing its records one by one", size=len(batch), error=repr(error))
            return False
        return True

    async def _process_alone(self, record: ConsumedRecord) -> None:
        """Apply one record, or park it. Parking at once keeps a failure from being repeated by redelivery."""
        with log_subject(record):
            failure = await self._apply_alone(record)
            if failure is None:
                await self._succeed([record])
            elif await self._dead_letters.park(failure):
                self._circuit.record_failure()

    async def _apply_alone(self, record: ConsumedRecord) -> FailedRecord | None:
        """Apply one record, retrying within the budget; return why it failed, or None if it took effect."""
        if not isinstance(record.content, Envelope):
            attempts = record.record.attempts if isinstance(record.record, UnreadableBatch) else 1
            return FailedRecord(record, record.content.reason, record.content.message, attempts)
        deadline = time.monotonic() + self._retry_budget_s
        delay_s, attempt = 0.2, 1
        while True:
            try:
                await self._apply([record])
            except UnavailableError:
                raise
            except PermanentError as error:
                return FailedRecord(record, error.reason, error.message, attempt)
            except Exception as error:  # whatever it was may pass
                if is_refused(error, attempt):
                    return FailedRecord(record, "refused_by_database", str(error), attempt)
                if time.monotonic() + delay_s > deadline:
                    return FailedRecord(record, reason_of(error), str(error), attempt)
                metrics.EVENTS_CONSUMED.labels(record.record.topic, "retry").inc()
                await self._pause(jitter(delay_s, 0.5))
                delay_s, attempt = delay_s * 2, attempt + 1
            else:
                return None

    async def _apply(self, batch: Sequence[ConsumedRecord]) -> None:
        if not self._tracing.on:
            await self._sink.apply(batch)
            return
        with ExitStack() as spans:
            await self._sink.apply([spans.enter_context(self._traced(record)) for record in batch])

    @contextmanager
    def _traced(self, consumed: ConsumedRecord) -> Iterator[ConsumedRecord]:
        """Yield a record under a span of its own; what follows from its event belongs to the span."""
        record, envelope = consumed.record, consumed.content
        if not isinstance(envelope, Envelope):
            yield consumed
            return
        attributes = {
            "messaging.system": "kafka",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
            "messaging.message.id": envelope.id,
            "phonograph.subject": envelope.subject,
        }
        name = f"process {record.topic}"
        with self._tracing.step(name, "consumer", envelope.traceparent, attributes) as step:
            traced = envelope.model_copy(update={"traceparent": step.traceparent})
            yield replace(consumed, content=traced)

    async def _succeed(self, batch: Sequence[ConsumedRecord]) -> None:
        self._circuit.record_successes(len(batch))
        # After the effects are committed: a dead letter resolved before would be lost if they were not.
        await self._dead_letters.resolve(batch, REPLAYED)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise BatchInterruptedError("The service stops; the batch is redelivered.")
