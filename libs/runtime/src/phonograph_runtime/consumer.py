"""Takes events from Kafka in batches: one transaction, one commit; a bad record harms no other.

See docs/decisions/0001-delivery.md for the guarantees and the measurements behind them.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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
from phonograph_runtime.database import Database, Transaction, UnavailableError, encode_headers, is_refused
from phonograph_runtime.errors import PermanentError
from phonograph_runtime.tables import SqlDeadLetter, SqlInbox

MAX_PAUSE_S = 30.0

E = TypeVar("E", bound=Event)
Handler = Callable[[E, Transaction], Awaitable[None]]

_log = structlog.get_logger()


class FusedError(Exception):
    """Parking became the rule: somebody has to look before consumption goes on."""


@dataclass(frozen=True, slots=True)
class Received:
    """A record with the event in it, or with what is wrong with it."""

    record: "ConsumerRecord[bytes | None, bytes | None]"
    content: Envelope | EventError

    def header(self, name: str) -> str | None:
        """One of our own headers."""
        for key, value in self.record.headers:
            if key == name and value is not None:
                return bytes(value).decode(errors="replace")
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


class Sink(Protocol):
    """Where a batch of events takes effect: all of them, or none."""

    async def apply(self, batch: Sequence[Received]) -> None:
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

    async def apply(self, batch: Sequence[Received]) -> None:
        """See `Sink.apply`."""
        async with self.database.transaction() as transaction:
            new = await self._enter(transaction, batch)
            for received in batch:
                envelope = received.content
                if not isinstance(envelope, Envelope):
                    continue
                key = (envelope.source, envelope.id)
                topic = received.record.topic
                if key not in new:
                    metrics.EVENTS_CONSUMED.labels(topic, "duplicate").inc()
                    continue
                new.discard(key)
                handler = self.handlers.get(type(envelope.data))
                if handler is not None:
                    await handler(envelope.data, transaction.caused_by(envelope.as_cause()))
                metrics.EVENTS_CONSUMED.labels(topic, "ok").inc()
                age_s = (datetime.now(UTC) - envelope.time.astimezone(UTC)).total_seconds()
                metrics.EVENT_LATENCY_SECONDS.labels(topic).observe(max(age_s, 0.0))

    async def _enter(self, transaction: Transaction, batch: Sequence[Received]) -> set[tuple[str, str]]:
        """Write inbox rows, sorted so that two processes cannot deadlock; give the keys that are new."""
        keys = sorted({(r.content.source, r.content.id) for r in batch if isinstance(r.content, Envelope)})
        if not keys:
            return set()
        statement = (
            upsert(SqlInbox)
            .values([{"source": source, "event_id": event_id} for source, event_id in keys])
            .on_conflict_do_nothing()
            .returning(SqlInbox.source, SqlInbox.event_id)
        )
        return {(source, event_id) for source, event_id in await transaction.session.execute(statement)}


class EventConsumer:
    """Parses, applies, retries and parks. One per service."""

    def __init__(
        self,
        database: Database,
        sink: Sink,
        *,
        retry_budget: timedelta = timedelta(seconds=20),
        fuse_consecutive: int = 100,
    ) -> None:
        self._database = database
        self._sink = sink
        self._retry_budget_s = retry_budget.total_seconds()
        self._fuse_consecutive = fuse_consecutive
        self._parked_in_a_row = 0
        self._pause_s = 0.5

    @property
    def fused(self) -> bool:
        """Whether consumption has stopped because nearly every record was parked."""
        return self._parked_in_a_row >= self._fuse_consecutive

    async def consume(self, records: Sequence["ConsumerRecord[bytes | None, bytes | None]"]) -> None:
        """Take one batch. When it returns the offsets may be committed; when it raises they must not be."""
        if self.fused:
            await asyncio.sleep(MAX_PAUSE_S)
            raise FusedError
        started = time.perf_counter()
        mine = [received for received in map(_receive, records) if self._is_for_us(received)]
        try:
            await self._take(mine)
        except UnavailableError as error:
            pause_s = self._pause_s * random.uniform(0.8, 1.2)  # noqa: S311  # jitter, not a secret
            self._pause_s = min(self._pause_s * 2, MAX_PAUSE_S)
            _log.warning("database away", error=str(error), pause_s=round(pause_s, 1))
            await asyncio.sleep(pause_s)
            raise
        self._pause_s = 0.5
        metrics.CONSUMER_LAST_PROGRESS.set_to_current_time()
        metrics.EVENT_PROCESSING_SECONDS.observe(time.perf_counter() - started)

    def _is_for_us(self, received: Received) -> bool:
        target = received.header(TARGET_HEADER)
        return target is None or target == self._database.source

    async def _take(self, batch: Sequence[Received]) -> None:
        good = [received for received in batch if isinstance(received.content, Envelope)]
        bad = [received for received in batch if isinstance(received.content, EventError)]
        taken = await self._take_together(good)
        if not taken:
            for received in good:
                await self._take_alone(received)
        elif good:
            await self._succeeded(good)
        for received in bad:
            if isinstance(received.content, EventError):
                await self._park(received, received.content.reason, received.content.message, attempts=1)

    async def _take_together(self, batch: Sequence[Received]) -> bool:
        """Whether the whole batch took effect."""
        if not batch:
            return True
        try:
            await self._sink.apply(batch)
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  # any failure: find the culprit one by one
            _log.info("batch failed, taking its records one by one", size=len(batch), error=repr(error))
            return False
        return True

    async def _take_alone(self, received: Received) -> None:
        deadline = time.monotonic() + self._retry_budget_s
        delay_s, attempt = 0.2, 1
        while True:
            try:
                await self._sink.apply([received])
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
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
                delay_s, attempt = delay_s * 2, attempt + 1
            else:
                await self._succeeded([received])
                return

    async def _park(self, received: Received, reason: str, error: str, *, attempts: int) -> None:
        """Keep the record and tell the dead-letter topic, in one transaction."""
        record = received.record
        letter_id = uuid7()
        row = {
            "id": letter_id,
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "key": record.key,
            "value": record.value,
            "headers": encode_headers(record.headers),
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
        ours = {*about, TARGET_HEADER}
        headers = [(name, bytes(value or b"")) for name, value in record.headers if name not in ours]
        headers += [(name, value.encode(errors="replace")) for name, value in about.items()]
        async with self._database.transaction() as transaction:
            statement = upsert(SqlDeadLetter).values(row).on_conflict_do_nothing().returning(SqlDeadLetter.id)
            if (await transaction.session.execute(statement)).scalar_one_or_none() is not None:
                letter = Record(
                    dead_letter_topic(record.topic), record.key or b"", record.value or b"", headers
                )
                await transaction.send([letter])
        self._parked_in_a_row += 1
        metrics.EVENTS_CONSUMED.labels(record.topic, "parked").inc()
        _log.error("event parked", reason=reason, error=error, **received.to_logging_context())
        if self.fused:
            _log.critical(
                "consumption stopped: too many events parked in a row", parked=self._parked_in_a_row
            )

    async def _succeeded(self, batch: Sequence[Received]) -> None:
        self._parked_in_a_row = 0
        letters = [UUID(letter) for received in batch if (letter := received.header(DEAD_LETTER_HEADER))]
        if not letters:
            return
        async with self._database.transaction() as transaction:
            await transaction.session.execute(
                update(SqlDeadLetter).where(SqlDeadLetter.id.in_(letters)).values(replayed_at=func.now())
            )


def _receive(record: "ConsumerRecord[bytes | None, bytes | None]") -> Received:
    try:
        return Received(record, parse(record.value, record.headers))
    except EventError as error:
        return Received(record, error)
