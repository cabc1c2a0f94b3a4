"""Takes events from Kafka in batches: one transaction, one commit; a bad record harms no other.

See docs/decisions/0001-delivery.md for the guarantees and the measurements behind them.
"""

import asyncio
import json
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

import structlog
from aiokafka import ConsumerRecord
from sqlalchemy import func, update
from sqlalchemy.dialects.postgresql import insert as upsert

from phonograph_events import (
    DEAD_LETTER_HEADER,
    TARGET_HEADER,
    Envelope,
    Event,
    EventError,
    Record,
    dead_letter_topic,
    parse,
    uuid7,
)
from phonograph_runtime import metrics
from phonograph_runtime.database import Database, Transaction, encode_headers, is_refused
from phonograph_runtime.errors import (
    BatchInterruptedError,
    CircuitOpenError,
    PermanentError,
    UnavailableError,
)
from phonograph_runtime.tables import SqlDeadLetter
from phonograph_runtime.tracing import OFF, Tracing

MAX_PAUSE_S = 5.0
FUSED_PAUSE_S = 30.0
MAX_BATCH_S = 100.0
"""A batch that takes longer is given back: Kafka drops a consumer that does not poll for 300 s."""
FUSE_WINDOW = 1000
FLUSH_EVERY = 100
"""Events after which PostgreSQL is given their rows, to be written while the next ones are handled."""
ACTION_HEADER = "phonograph-action"
"""`drop` on a replayed record: mark the letter, do not take the event."""
RESOLUTION_HEADER = "phonograph-resolution"
REPLAYED, DROPPED = "replayed", "dropped"
OUR_HEADERS = {
    DEAD_LETTER_HEADER,
    TARGET_HEADER,
    ACTION_HEADER,
    RESOLUTION_HEADER,
    "phonograph-service",
    "phonograph-origin",
    "phonograph-reason",
    "phonograph-error",
    "phonograph-body",
}

E = TypeVar("E", bound=Event)
Handler = Callable[[E, Transaction], Awaitable[None]]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ConsumedRecord:
    """A record with the event in it, or with what is wrong with it."""

    record: "ConsumerRecord[bytes | None, bytes | None]"
    content: Envelope | EventError
    headers: dict[str, str] = field(default_factory=dict)
    """Our own ones, `phonograph-…`; most records have none."""

    @property
    def letter_id(self) -> UUID | None:
        """The dead letter that this record resolves."""
        if not self.headers:
            return None
        try:
            return UUID(self.headers.get(DEAD_LETTER_HEADER, ""))
        except ValueError:
            return None

    def to_logging_context(self) -> dict[str, Any]:
        """Fields for the log."""
        context: dict[str, Any] = {
            "topic": self.record.topic,
            "partition": self.record.partition,
            "offset": self.record.offset,
        }
        if isinstance(self.content, Envelope):
            context |= {"event_id": self.content.id, "subject": self.content.subject}
        return context


class Fuse:
    """Blows when parking becomes the rule: so many records in a row, or a share of the last thousand."""

    def __init__(self, consecutive: int, ratio: float) -> None:
        self._consecutive = consecutive
        self._most = int(ratio * FUSE_WINDOW)
        self._in_a_row = 0
        self._last: deque[bool] = deque(maxlen=FUSE_WINDOW)
        self.blown: str | None = None
        """Why, once it is."""

    def passed(self, records: int) -> None:
        """Records that were taken."""
        self._in_a_row = 0
        self._last.extend([False] * min(records, FUSE_WINDOW))

    def parked(self) -> None:
        """A record that was not.

        Raises:
            CircuitOpenError: it was one too many.
        """
        self._in_a_row += 1
        self._last.append(True)
        parked = sum(self._last)
        if self._in_a_row >= self._consecutive:
            self.blown = f"consumption stopped: the last {self._in_a_row} events were parked"
        elif len(self._last) == FUSE_WINDOW and parked > self._most:
            self.blown = f"consumption stopped: {parked} of the last {FUSE_WINDOW} events were parked"
        if self.blown:
            metrics.CONSUMER_FUSED.set(1)
            _log.critical(self.blown)
            raise CircuitOpenError(self.blown)


class Sink(Protocol):
    """Where a batch of events takes effect: all of them, or none."""

    async def apply(self, batch: Sequence[ConsumedRecord]) -> None:
        """Take every event of the batch; all contents are envelopes.

        Raises:
            PermanentError: trying again will not help.
            UnavailableError: the store behind it is away.
            Exception: anything else is tried again.
        """


@dataclass
class HandlerSink:
    """A sink for services with tables: inbox rows, effects and outbox rows in one PostgreSQL transaction."""

    database: Database
    handlers: dict[type[Event], Handler[Any]] = field(default_factory=dict)

    async def apply(self, batch: Sequence[ConsumedRecord]) -> None:
        """See `Sink.apply`."""
        async with self.database.transaction() as transaction:
            new = await self._enter(transaction, batch)
            fresh: list[ConsumedRecord] = []
            for received in batch:
                envelope = received.content
                if isinstance(envelope, Envelope) and (envelope.source, envelope.id) in new:
                    new.discard((envelope.source, envelope.id))
                    fresh.append(received)
                    handler = self.handlers.get(type(envelope.data))
                    if handler is not None:
                        await handler(envelope.data, transaction.with_cause(envelope.as_cause()))
                    if len(fresh) % FLUSH_EVERY == 0:
                        await transaction.start_flush()
        count_applied(batch, fresh)

    async def _enter(self, transaction: Transaction, batch: Sequence[ConsumedRecord]) -> set[tuple[str, str]]:
        """Write inbox rows, sorted so that two processes cannot deadlock; give the keys that are new."""
        keys = sorted({(r.content.source, r.content.id) for r in batch if isinstance(r.content, Envelope)})
        rows = await transaction.fetch(_ENTER, *map(list, zip(*keys, strict=True)))
        return {(source, event_id) for source, event_id in rows}


_ENTER = """
    INSERT INTO inbox (source, event_id)
    SELECT * FROM unnest($1::varchar[], $2::varchar[])
    ON CONFLICT DO NOTHING
    RETURNING source, event_id
"""


def count_applied(batch: Sequence[ConsumedRecord], fresh: Sequence[ConsumedRecord]) -> None:
    """Count what a committed batch held: how many took effect now, how many had before."""
    taken = Counter(received.record.topic for received in batch)
    new = Counter(received.record.topic for received in fresh)
    for topic, records in taken.items():
        metrics.EVENTS_CONSUMED.labels(topic, "ok").inc(new[topic])
        metrics.EVENTS_CONSUMED.labels(topic, "duplicate").inc(records - new[topic])
    metrics.INBOX_DUPLICATES.inc(len(batch) - len(fresh))
    latency = {topic: metrics.EVENT_LATENCY_SECONDS.labels(topic) for topic in new}
    now_s = time.time()
    for received in fresh:
        if isinstance(received.content, Envelope) and TARGET_HEADER not in received.headers:
            age_s = now_s - received.content.time.timestamp()
            latency[received.record.topic].observe(max(age_s, 0.0))


class EventConsumer:
    """Parses, applies, retries and parks. One per service."""

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
        self._database = database
        self._sink = sink
        self._tracing = tracing
        self._retry_budget_s = retry_budget.total_seconds()
        self._fuse = Fuse(fuse_consecutive, fuse_ratio)
        self._pause_s = 0.5
        self._stopping = asyncio.Event()
        self._busy_since: float | None = None
        self.away: str | None = None
        """Why the database cannot be reached, while it cannot."""

    @property
    def fused(self) -> str | None:
        """Why consumption has stopped, if it has, because parking became the rule."""
        return self._fuse.blown

    @property
    def busy(self) -> bool:
        """Whether a batch is in hand and not for longer than any batch may take."""
        return self._busy_since is not None and time.monotonic() - self._busy_since < 2 * MAX_BATCH_S

    def stop(self) -> None:
        """Wait for nothing any more: what is not done is given back."""
        self._stopping.set()

    async def consume(self, records: Sequence["ConsumerRecord[bytes | None, bytes | None]"]) -> None:
        """Take one batch. When it returns the offsets may be committed; when it raises they must not be."""
        if self.fused:
            await self._pause(FUSED_PAUSE_S)
            raise CircuitOpenError(self.fused)
        started = self._busy_since = time.monotonic()
        try:
            await self._take([received for received in map(_receive, records) if self._is_for_us(received)])
        except UnavailableError as error:
            self.away = str(error)
            pause_s = self._pause_s * random.uniform(0.8, 1.2)  # noqa: S311  # jitter, not a secret
            self._pause_s = min(self._pause_s * 2, MAX_PAUSE_S)
            _log.warning("database away", error=str(error), pause_s=round(pause_s, 1))
            await self._pause(pause_s)
            raise
        finally:
            self._busy_since = None
        self._pause_s, self.away = 0.5, None
        metrics.CONSUMER_LAST_PROGRESS.set_to_current_time()
        metrics.EVENT_PROCESSING_SECONDS.observe(time.monotonic() - started)

    def _is_for_us(self, received: ConsumedRecord) -> bool:
        target = received.headers.get(TARGET_HEADER)
        if target is None or target == self._database.source:
            return True
        metrics.EVENTS_CONSUMED.labels(received.record.topic, "foreign").inc()
        return False

    async def _take(self, batch: Sequence[ConsumedRecord]) -> None:
        good: list[ConsumedRecord] = []
        bad: list[ConsumedRecord] = []
        dropped: list[ConsumedRecord] = []
        for received in batch:
            if received.headers.get(ACTION_HEADER) == "drop":
                dropped.append(received)
            else:
                (good if isinstance(received.content, Envelope) else bad).append(received)
        turn_ends = time.monotonic() + MAX_BATCH_S
        if good and await self._take_together(good):
            await self._succeeded(good)
        else:
            for received in good:
                if time.monotonic() > turn_ends:
                    raise BatchInterruptedError("The batch takes long; the rest waits for its next turn.")
                await self._take_alone(received)
        for received in bad:
            if isinstance(received.content, EventError):
                await self._park(received, received.content.reason, received.content.message, attempts=1)
        await self._resolved(dropped, DROPPED)

    async def _apply(self, batch: Sequence[ConsumedRecord]) -> None:
        if not self._tracing.on:
            await self._sink.apply(batch)
            return
        with ExitStack() as spans:
            await self._sink.apply([spans.enter_context(self._traced(received)) for received in batch])

    @contextmanager
    def _traced(self, received: ConsumedRecord) -> Iterator[ConsumedRecord]:
        """A record under a span; what follows from its event belongs to the span."""
        record, envelope = received.record, received.content
        if not isinstance(envelope, Envelope):
            yield received
            return
        about = {
            "messaging.system": "kafka",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
            "messaging.message.id": envelope.id,
            "phonograph.subject": envelope.subject,
        }
        name = f"process {record.topic}"
        with self._tracing.step(name, "consumer", envelope.traceparent, about) as step:
            yield replace(received, content=envelope.model_copy(update={"traceparent": step.traceparent}))

    async def _take_together(self, batch: Sequence[ConsumedRecord]) -> bool:
        """Whether the whole batch took effect."""
        try:
            await self._apply(batch)
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  # any failure: find the culprit one by one
            _log.info("batch failed, taking its records one by one", size=len(batch), error=repr(error))
            return False
        return True

    async def _take_alone(self, received: ConsumedRecord) -> None:
        deadline = time.monotonic() + self._retry_budget_s
        delay_s, attempt = 0.2, 1
        while True:
            try:
                await self._apply([received])
            except UnavailableError:
                raise
            except PermanentError as error:
                await self._park(received, error.reason, error.message, attempts=attempt)
                return
            except Exception as error:  # noqa: BLE001  # whatever it was may pass
                if is_refused(error, attempt):
                    await self._park(received, "refused_by_database", str(error), attempts=attempt)
                    return
                if time.monotonic() + delay_s > deadline:
                    await self._park(received, type(error).__name__, str(error), attempts=attempt)
                    return
                metrics.EVENTS_CONSUMED.labels(received.record.topic, "retry").inc()
                await self._pause(delay_s * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
                delay_s, attempt = delay_s * 2, attempt + 1
            else:
                await self._succeeded([received])
                return

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise BatchInterruptedError("The service stops.")

    async def _park(self, received: ConsumedRecord, reason: str, error: str, *, attempts: int) -> None:
        """Keep the record as it came and tell the dead-letter topic, in one transaction."""
        record = received.record
        letter_id = uuid7()
        row = {
            "id": letter_id,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "key": record.key,
            "value": record.value,
            "headers": json.loads(encode_headers(record.headers)),
            "reason": reason[:100],
            "error": error.replace("\x00", ""),
            "attempts": attempts,
        }
        about = {
            DEAD_LETTER_HEADER: str(letter_id),
            "phonograph-service": self._database.source,
            "phonograph-origin": f"{record.topic}/{record.partition}/{record.offset}",
            "phonograph-reason": reason[:100],
            "phonograph-error": error[:2000],
        }
        headers = [(name, value) for name, value in record.headers if name not in OUR_HEADERS]
        headers += [(name, value.encode(errors="replace")) for name, value in about.items()]
        async with self._database.transaction() as transaction:
            statement = upsert(SqlDeadLetter).values(row).on_conflict_do_nothing().returning(SqlDeadLetter.id)
            if (await transaction.session.execute(statement)).scalar_one_or_none() is None:
                return  # parked before; the offset was not committed then
            await transaction.send(
                [Record(dead_letter_topic(record.topic), record.key, record.value, headers)]
            )
            await resolve(transaction, _letters([received]), REPLAYED)  # its successor lies there now
        metrics.EVENTS_CONSUMED.labels(record.topic, "parked").inc()
        metrics.DLQ_PARKED.labels(record.topic, reason[:100]).inc()
        _log.error("event parked", reason=reason, error=error, **received.to_logging_context())
        self._fuse.parked()

    async def _succeeded(self, batch: Sequence[ConsumedRecord]) -> None:
        self._fuse.passed(len(batch))
        await self._resolved(batch, REPLAYED)

    async def _resolved(self, batch: Sequence[ConsumedRecord], resolution: str) -> None:
        letters = _letters(batch)
        if letters:
            async with self._database.transaction() as transaction:
                await resolve(transaction, letters, resolution)


async def resolve(transaction: Transaction, letters: Sequence[UUID], resolution: str) -> None:
    """Note what became of parked records, and tell the dead-letter topic."""
    if not letters:
        return
    lying = SqlDeadLetter.id.in_(letters) & SqlDeadLetter.resolution.is_(None)
    statement = (
        update(SqlDeadLetter)
        .where(lying)
        .values(resolution=resolution, resolved_at=func.now())
        .returning(SqlDeadLetter.id, SqlDeadLetter.topic, SqlDeadLetter.key)
    )
    resolved = (await transaction.session.execute(statement)).all()
    await transaction.send(
        [
            Record(
                dead_letter_topic(topic),
                key,
                None,
                [
                    (DEAD_LETTER_HEADER, str(letter_id).encode()),
                    ("phonograph-service", transaction.source.encode()),
                    (RESOLUTION_HEADER, resolution.encode()),
                ],
            )
            for letter_id, topic, key in resolved
        ]
    )
    metrics.DLQ_RESOLVED.labels(resolution).inc(len(resolved))


def _letters(batch: Sequence[ConsumedRecord]) -> list[UUID]:
    return [letter_id for received in batch if (letter_id := received.letter_id)]


def _receive(record: "ConsumerRecord[bytes | None, bytes | None]") -> ConsumedRecord:
    ours = {
        name: bytes(value or b"").decode(errors="replace")
        for name, value in record.headers
        if name.startswith("phonograph-")
    }
    try:
        return ConsumedRecord(record, parse(record.value, record.headers), ours)
    except EventError as error:
        return ConsumedRecord(record, error, ours)
