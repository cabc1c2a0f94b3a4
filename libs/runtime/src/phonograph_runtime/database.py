"""Connections to PostgreSQL and the transaction in which everything happens or nothing."""

import asyncio
import json
import socket
from binascii import a2b_base64, b2a_base64
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from pydantic import BaseModel
from sqlalchemy import and_, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from phonograph_events import Cause, Event, Record, envelope, uuid7
from phonograph_runtime.errors import PermanentError
from phonograph_runtime.settings import ServiceSettings
from phonograph_runtime.tables import OPEN, JobColumns

MAX_EVENT_BYTES = 1_000_000
OUTBOX_CHANNEL = "outbox"
JOBS_CHANNEL = "jobs"

_log = structlog.get_logger()


class UnavailableError(Exception):
    """PostgreSQL cannot be reached: wait, park nothing."""


@dataclass(frozen=True)
class Transaction:
    """A database transaction together with the events and the jobs that belong to it."""

    session: AsyncSession
    source: str
    cause: Cause | None = None
    job_table: type[JobColumns] | None = None
    max_retries: int = 3
    _outgoing: list[Record] = field(default_factory=list)
    """Not written yet; shared by the copies that `caused_by` makes."""

    def caused_by(self, cause: Cause | None) -> "Transaction":
        """The same transaction on behalf of another event."""
        return replace(self, cause=cause)

    async def publish(self, event: Event, *, version: int = 1) -> None:
        """Add an event to the outbox.

        Raises:
            PermanentError: `too_large`; large things travel by their address in the object store.
        """
        record = envelope(event, source=self.source, cause=self.cause, version=version).to_record()
        size = len(record.value or b"")
        if size > MAX_EVENT_BYTES:
            raise PermanentError(
                f"{event.event_type()} has {size} bytes; {MAX_EVENT_BYTES} are allowed.",
                reason="too_large",
            )
        self._outgoing.append(record)

    async def send(self, records: Sequence[Record]) -> None:
        """Add records to the outbox as they are."""
        self._outgoing.extend(records)

    async def flush(self) -> None:
        """Write what was added so far, all events at once, as the end of the transaction does."""
        await self.session.flush()
        if not self._outgoing:
            return
        records = {
            "topics": [record.topic for record in self._outgoing],
            "keys": [record.key for record in self._outgoing],
            "values": [record.value for record in self._outgoing],
            "headers": [json.dumps(encode_headers(record.headers)) for record in self._outgoing],
        }
        channel = {"channel": f"{self.source}.{OUTBOX_CHANNEL}"}
        await self.session.execute(_WRITE_OUTBOX, records | channel)
        self._outgoing.clear()

    async def enqueue(
        self,
        kind: str,
        task: BaseModel,
        *,
        media_id: UUID,
        owner: str | None = None,
        priority: int = 0,
        dedupe_key: str | None = None,
    ) -> UUID | None:
        """Add a job to the service's table; null when one with the same `dedupe_key` exists.

        Its turn is one after the last job of its owner, or that of the job served now if this is later:
        an owner with a thousand files does not keep the others waiting. Source: start-time fair queueing
        (Goyal, Vin, Cheng, 1996), each job of the same length.
        """
        table = self.job_table
        if table is None:
            raise TypeError(f"{self.source} has no job table.")
        queue = and_(OPEN, table.priority == priority)
        own = select(func.max(table.turn) + 1).where(queue, table.owner == (owner or ""))
        served = select(func.min(table.turn)).where(queue)
        added = (
            upsert(table)
            .values(
                id=uuid7(),
                media_file_id=media_id,
                kind=kind,
                dedupe_key=dedupe_key,
                priority=priority,
                owner=owner or "",
                turn=func.coalesce(
                    func.greatest(own.scalar_subquery(), served.scalar_subquery()), literal_column("0")
                ),
                task=task.model_dump(mode="json"),
                cause=None if self.cause is None else cause_to_json(self.cause),
                max_retries=self.max_retries,
            )
            .on_conflict_do_nothing(index_elements=["dedupe_key"])
            .returning(table.id)
            .cte("added")
        )
        wake = func.pg_notify(f"{self.source}.{JOBS_CHANNEL}", literal_column("''"))
        job_id: UUID | None = await self.session.scalar(select(added.c.id, wake))
        return job_id


_WRITE_OUTBOX = text("""
    WITH written AS (
        INSERT INTO outbox (topic, key, value, headers)
        SELECT topic, key, value, headers
        FROM unnest(CAST(:topics AS varchar[]), CAST(:keys AS bytea[]), CAST(:values AS bytea[]),
                    CAST(:headers AS jsonb[]))
             WITH ORDINALITY AS record (topic, key, value, headers, place)
        ORDER BY place)
    SELECT pg_notify(:channel, '')
""")


class Database:
    """The service's connections."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        source: str,
        job_table: type[JobColumns] | None = None,
    ) -> None:
        self._url = settings.database_url.get_secret_value()
        self.source = source
        self.job_table = job_table
        self._max_retries = settings.max_retries
        self.engine: AsyncEngine = create_async_engine(
            self._url,
            pool_size=settings.pool_size,
            max_overflow=settings.pool_overflow,
            pool_timeout=settings.pool_timeout.total_seconds(),
            pool_recycle=int(settings.pool_recycle.total_seconds()),
            connect_args={"server_settings": {"application_name": f"phonograph-{source}"}, "timeout": 10},
        )

    @asynccontextmanager
    async def transaction(self, cause: Cause | None = None) -> AsyncIterator[Transaction]:
        """Open a transaction; it commits when the block ends well. The only place that commits.

        Raises:
            UnavailableError: PostgreSQL cannot be reached, or the connection was lost.
        """
        try:
            async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
                transaction = Transaction(session, self.source, cause, self.job_table, self._max_retries)
                yield transaction
                await transaction.flush()
        except Exception as error:
            if is_unavailable(error):
                raise UnavailableError(str(error)) from error
            raise

    async def ping(self) -> None:
        """Ask the server for an answer."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    def listen(self, *channels: str) -> "Listener":
        """Hear notifications on channels of this service."""
        dsn = self._url.replace("postgresql+asyncpg://", "postgresql://", 1)
        return Listener(dsn, {channel: f"{self.source}.{channel}" for channel in channels})

    async def aclose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


class Listener:
    """Wakes tasks when PostgreSQL notifies; only a hint, every waiter polls as well."""

    def __init__(self, dsn: str, channels: dict[str, str]) -> None:
        self._dsn = dsn
        self._channels = channels
        self._events = {channel: asyncio.Event() for channel in channels}

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            try:
                await self._listen()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                _log.warning("listener lost", error=str(error))
            await asyncio.sleep(1)

    async def _listen(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=10)
        try:
            for channel, name in self._channels.items():
                event = self._events[channel]
                await connection.add_listener(name, lambda *_, event=event: event.set())
                event.set()
            closed = asyncio.Event()
            connection.add_termination_listener(lambda *_: closed.set())
            await closed.wait()
        finally:
            connection.terminate()

    async def wait(self, channel: str, timeout_s: float) -> None:
        """Until a notification comes or the time is over."""
        event = self._events[channel]
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return
        event.clear()


def is_unavailable(error: BaseException) -> bool:
    """Whether the error says that the server is away, rather than that a statement was wrong."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return error.connection_invalidated or state[:2] in {"08", "57", "53"}
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate)[:2] in {"08", "57", "53"}
    away = ConnectionError | TimeoutError | socket.gaierror | PoolTimeoutError | asyncpg.InterfaceError
    return isinstance(error, away)


def is_refused(error: BaseException, attempt: int) -> bool:
    """Whether PostgreSQL will never store it: a bad value (class 22), or a rule (23) broken again."""
    state = str(getattr(error.orig, "sqlstate", None) or "") if isinstance(error, DBAPIError) else ""
    return state.startswith("22") or (state.startswith("23") and attempt > 1)


def encode_headers(headers: Iterable[tuple[str, bytes | None]]) -> list[list[str | None]]:
    """Header pairs as JSON: any byte may stand in a header, so values are base64."""
    return [
        [name, None if value is None else b2a_base64(value, newline=False).decode()]
        for name, value in headers
    ]


def decode_headers(headers: Iterable[tuple[str, str | None]]) -> list[tuple[str, bytes | None]]:
    """Back from `encode_headers`."""
    return [(name, None if value is None else a2b_base64(value)) for name, value in headers]


def cause_to_json(cause: Cause) -> dict[str, Any]:
    """A cause as a JSONB value."""
    return {
        "event_id": cause.event_id,
        "correlation_id": cause.correlation_id,
        "traceparent": cause.traceparent,
    }


def cause_from_json(value: dict[str, Any] | None) -> Cause | None:
    """Back from `cause_to_json`."""
    return None if value is None else Cause(**value)
