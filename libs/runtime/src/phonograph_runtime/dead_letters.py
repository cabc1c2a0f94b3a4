"""Dead letters: records that a service could not process, kept in its table and on `<topic>-dlq`.

A record is parked in one place, `DeadLetters.park`, and a dead letter is resolved in one place, `resolve`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import delete, func, literal, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_events import (
    ACTION_HEADER,
    DEAD_LETTER_HEADER,
    DEAD_LETTER_HEADERS,
    ERROR_HEADER,
    LAST_OFFSET_HEADER,
    ORIGIN_HEADER,
    REASON_HEADER,
    RESOLUTION_HEADER,
    SERVICE_HEADER,
    TARGET_HEADER,
    Record,
    dead_letter_topic,
    uuid7,
)
from phonograph_runtime import metrics
from phonograph_runtime.database import Database, Transaction, encode_headers
from phonograph_runtime.record_batches import UnreadableBatch
from phonograph_runtime.records import UNREADABLE_BATCH, ConsumedRecord
from phonograph_runtime.tables import SqlDeadLetter, SqlOutbox

REPLAYED, DROPPED = "replayed", "dropped"
"""Resolutions of a dead letter."""
MAX_REASON = 100
MAX_ERROR_HEADER = 2000

_OWN_HEADERS = {TARGET_HEADER, ACTION_HEADER, *DEAD_LETTER_HEADERS}
"""Removed from a parked record: they belong to its earlier replay, not to its producer."""

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FailedRecord:
    """A record that could not be processed, and why."""

    record: ConsumedRecord
    reason: str
    """Reason code."""
    error: str
    attempts: int = 1

    @property
    def first_offset(self) -> int:
        """Offset of the record, or of the first record of a batch that cannot be read."""
        record = self.record.record
        return record.first_offset if isinstance(record, UnreadableBatch) else record.offset

    def to_row(self, dead_letter_id: UUID) -> dict[str, Any]:
        """Return the row of the table `dead_letters`."""
        record = self.record.record
        return {
            "id": dead_letter_id,
            "topic": record.topic,
            "partition": record.partition,
            "offset": self.first_offset,
            "key": record.key,
            "value": record.value,
            "headers": json.loads(encode_headers(record.headers)),
            "reason": self.reason[:MAX_REASON],
            "error": self.error.replace("\x00", ""),
            "attempts": self.attempts,
        }

    def to_record(self, dead_letter_id: UUID, service: str) -> Record:
        """Return the record for the dead-letter topic: original bytes and headers, and what went wrong."""
        record = self.record.record
        context = {
            DEAD_LETTER_HEADER: str(dead_letter_id),
            SERVICE_HEADER: service,
            ORIGIN_HEADER: f"{record.topic}/{record.partition}/{self.first_offset}",
            REASON_HEADER: self.reason[:MAX_REASON],
            ERROR_HEADER: self.error[:MAX_ERROR_HEADER],
        }
        if isinstance(record, UnreadableBatch):
            context[LAST_OFFSET_HEADER] = str(record.offset)
        headers = [(name, value) for name, value in record.headers if name not in _OWN_HEADERS]
        headers += [(name, value.encode(errors="replace")) for name, value in context.items()]
        return Record(dead_letter_topic(record.topic), record.key, record.value, headers)


class DeadLetters:
    """The dead letters of one service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def park(self, failure: FailedRecord) -> bool:
        """Store a record with its failure and publish it to the dead-letter topic, in one transaction.

        Returns:
            False if the record was parked before: its offset was not committed then, and it was redelivered.

        Raises:
            UnavailableError: If PostgreSQL cannot be reached.
        """
        dead_letter_id = uuid7()
        async with self._database.transaction() as transaction:
            statement = (
                insert(SqlDeadLetter)
                .values(failure.to_row(dead_letter_id))
                .on_conflict_do_nothing()
                .returning(SqlDeadLetter.id)
            )
            if (await transaction.session.execute(statement)).scalar_one_or_none() is None:
                return False
            await transaction.send([failure.to_record(dead_letter_id, self._database.source)])
            # A replay that fails again is a new dead letter: the one that it replays is resolved.
            await resolve(transaction, dead_letter_ids([failure.record]), REPLAYED)
        topic, reason = failure.record.record.topic, failure.reason[:MAX_REASON]
        metrics.EVENTS_CONSUMED.labels(topic, "parked").inc()
        metrics.DLQ_PARKED.labels(topic, reason).inc()
        if isinstance(failure.record.record, UnreadableBatch):
            metrics.BATCHES_UNREADABLE.labels(topic).inc()
        logger.error(
            "event parked" if reason != UNREADABLE_BATCH else "unreadable batch parked",
            reason=reason,
            error=failure.error,
            dead_letter_id=str(dead_letter_id),
            **failure.record.to_logging_context(),
        )
        return True

    async def resolve(self, records: Iterable[ConsumedRecord], resolution: str) -> None:
        """Resolve the dead letters that records name, in a transaction of its own. Most name none.

        Args:
            records: Records that were processed, or that drop their dead letter.
            resolution: `REPLAYED` or `DROPPED`.

        Raises:
            UnavailableError: If PostgreSQL cannot be reached.
        """
        ids = dead_letter_ids(records)
        if ids:
            async with self._database.transaction() as transaction:
                await resolve(transaction, ids, resolution)


def dead_letter_ids(records: Iterable[ConsumedRecord]) -> list[UUID]:
    """Return the ids of the dead letters that records replay or drop."""
    return [found for record in records if (found := record.dead_letter_id)]


async def resolve(transaction: Transaction, ids: Sequence[UUID], resolution: str) -> None:
    """Store what became of dead letters, and publish it to their dead-letter topics.

    Args:
        transaction: Transaction that the change belongs to.
        ids: Dead letters; those that are resolved already stay as they are.
        resolution: `REPLAYED` or `DROPPED`.
    """
    if not ids:
        return
    unresolved = SqlDeadLetter.id.in_(ids) & SqlDeadLetter.resolution.is_(None)
    statement = (
        update(SqlDeadLetter)
        .where(unresolved)
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
                    (DEAD_LETTER_HEADER, str(dead_letter_id).encode()),
                    (SERVICE_HEADER, transaction.source.encode()),
                    (RESOLUTION_HEADER, resolution.encode()),
                ],
            )
            for dead_letter_id, topic, key in resolved
        ]
    )
    metrics.DLQ_RESOLVED.labels(resolution).inc(len(resolved))


async def erase_records(
    session: AsyncSession, topic: str, *, key: str | None = None, value: str | None = None
) -> None:
    """Delete the records of a topic that must not be kept any longer from outbox and dead letters.

    Args:
        session: Session of the transaction.
        topic: Topic of the records, or of the records that were parked.
        key: Key of the records; None for any.
        value: A text that is a value in the JSON of the records; None for any.
    """
    for table, names in (
        (SqlOutbox, [topic, dead_letter_topic(topic)]),
        (SqlDeadLetter, [topic]),
    ):
        statement = delete(table).where(table.topic.in_(names))
        if key is not None:
            statement = statement.where(table.key == key.encode())
        if value is not None:
            forms = {json.dumps(value), json.dumps(value, ensure_ascii=False)}
            statement = statement.where(
                or_(*(func.position(literal(form.encode()).op("IN")(table.value)) > 0 for form in forms))
            )
        await session.execute(statement)
