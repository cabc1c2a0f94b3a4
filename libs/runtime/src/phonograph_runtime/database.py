"""Connections to PostgreSQL and the transaction in which everything happens or nothing."""

import asyncio
import json
import socket
from binascii import a2b_base64, b2a_base64
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json
from sqlalchemy import Connection, text
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.event import listen
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from phonograph_events import Cause, Event, Record, make_record, uuid7
from phonograph_runtime.errors import PermanentError, UnavailableError
from phonograph_runtime.settings import ServiceSettings
from phonograph_runtime.tables import JobColumns, job_sql

MAX_EVENT_BYTES = 1_000_000
OUTBOX_CHANNEL = "outbox"
JOBS_CHANNEL = "jobs"

_BROKEN = asyncpg.InternalClientError, AsyncAdapt_asyncpg_dbapi.InternalClientError
"""What asyncpg 0.32 says of a connection that was ended in the moment in which it began an operation."""

_log = structlog.get_logger()


@dataclass
class _UnitOfWork:
    """What a transaction and the copies that `with_cause` makes of it share."""

    connect: Callable[[], AsyncConnection]
    """SQLAlchemy's view of the connection, which costs as much as a statement: made for a session only."""
    driver: "asyncpg.Connection[asyncpg.Record]"
    turn: asyncio.Lock
    """Held by whoever uses the driver: the one that SQLAlchemy takes too."""
    session: AsyncSession | None = None
    outgoing: list[Record] = field(default_factory=list)
    requested: list[tuple[Any, ...]] = field(default_factory=list)
    """Events and jobs not written yet."""
    writing: asyncio.Task[None] | None = None


@dataclass(slots=True)
class Transaction:
    """A database transaction together with the events and the jobs that belong to it."""

    source: str
    cause: Cause | None
    job_table: type[JobColumns] | None
    max_retries: int
    _work: _UnitOfWork

    @property
    def session(self) -> AsyncSession:
        """For the tables of a service; made when it is first asked for."""
        if self._work.session is None:
            self._work.session = AsyncSession(self._work.connect(), expire_on_commit=False)
        return self._work.session

    async def fetch(self, statement: str, *values: Any) -> "list[asyncpg.Record]":
        """Run a statement of the runtime by the driver: what each event and job costs halves.

        Args:
            statement: SQL with `$1`, `$2`, ….
            values: JSON as text; it comes back as objects.
        """
        async with self._work.turn:
            rows: list[asyncpg.Record] = await self._work.driver.fetch(statement, *values)
        return rows

    def with_cause(self, cause: Cause | None) -> "Transaction":
        """The same transaction on behalf of another event."""
        return Transaction(self.source, cause, self.job_table, self.max_retries, self._work)

    async def publish(self, event: Event, *, version: int = 1) -> None:
        """Add an event to the outbox.

        Raises:
            PermanentError: `too_large`; large things travel by their address in the object store.
        """
        added = make_record(event, source=self.source, cause=self.cause, version=version)
        size = len(added.value or b"")
        if size > MAX_EVENT_BYTES:
            raise PermanentError(
                f"{event.event_type()} has {size} bytes; {MAX_EVENT_BYTES} are allowed.",
                reason="too_large",
            )
        self._work.outgoing.append(added)

    async def send(self, records: Sequence[Record]) -> None:
        """Add records to the outbox as they are."""
        self._work.outgoing.extend(records)

    async def enqueue(
        self,
        kind: str,
        task: BaseModel,
        *,
        media_id: UUID,
        owner: str | None = None,
        priority: int = 0,
        dedupe_key: str | None = None,
    ) -> None:
        """Add a job to the service's table, unless one with the same `dedupe_key` exists.

        Its turn is one after the last job of its owner, or that of the job served now if this is later:
        an owner with a thousand files does not keep the others waiting. Source: start-time fair queueing
        (Goyal, Vin, Cheng, 1996), each job of the same length.
        """
        if self.job_table is None:
            raise TypeError(f"{self.source} has no job table.")
        cause = None if self.cause is None else to_json(cause_to_json(self.cause)).decode()
        self._work.requested.append(
            (uuid7(), media_id, kind, dedupe_key, priority, owner or "", task.model_dump_json(), cause)
        )

    async def start_flush(self) -> None:
        """Begin to write what was added so far, and let more be added meanwhile; `flush` waits for it.

        Raises:
            Exception: what was begun before has failed, and the transaction with it.
        """
        work = self._work
        if work.writing is None or work.writing.done():
            await self._flushed()
            work.writing = asyncio.create_task(self._write())
        await asyncio.sleep(0)

    async def flush(self) -> None:
        """Write what was added so far, each table in one statement, as the end of the transaction does."""
        await self._flushed()
        await self._write()

    async def _flushed(self) -> None:
        work = self._work
        if work.session is not None:
            await work.session.flush()
        if work.writing is not None:
            await work.writing

    async def _write(self) -> None:
        requested, self._work.requested = self._work.requested, []
        if requested and self.job_table is not None:
            columns = map(list, zip(*requested, strict=True))
            statement = job_sql(self.job_table, _ADD_JOBS)
            await self.fetch(statement, *columns, self.max_retries, f"{self.source}.{JOBS_CHANNEL}")
        outgoing, self._work.outgoing = self._work.outgoing, []
        if outgoing:
            columns = map(
                list,
                zip(*((r.topic, r.key, r.value, encode_headers(r.headers)) for r in outgoing), strict=True),
            )
            await self.fetch(_ADD_RECORDS, *columns, f"{self.source}.{OUTBOX_CHANNEL}")


_ADD_RECORDS = """
    WITH written AS (
        INSERT INTO outbox (topic, key, value, headers)
        SELECT topic, key, value, headers
        FROM unnest($1::varchar[], $2::bytea[], $3::bytea[], $4::text[]::jsonb[])
             WITH ORDINALITY AS record (topic, key, value, headers, place)
        ORDER BY place)
    SELECT pg_notify($5, '')
"""


_ADD_JOBS = """
    WITH requested AS (
        SELECT *, row_number() OVER (PARTITION BY owner, priority ORDER BY place) - 1 AS nth
        FROM unnest($1::uuid[], $2::uuid[], $3::varchar[], $4::varchar[], $5::int[], $6::varchar[],
                    $7::text[]::jsonb[], $8::text[]::jsonb[])
             WITH ORDINALITY
             AS job (id, media_file_id, kind, dedupe_key, priority, owner, task, cause, place)),
    lines AS MATERIALIZED (
        SELECT owner, priority, coalesce(greatest(
            (SELECT max(turn) + 1 FROM {jobs} AS own
             WHERE {open} AND own.owner = line.owner AND own.priority = line.priority),
            (SELECT min(turn) FROM {jobs} AS served
             WHERE {open} AND served.priority = line.priority)), 0) AS next
        FROM (SELECT DISTINCT owner, priority FROM requested) AS line),
    added AS (
        INSERT INTO {jobs}
            (id, media_file_id, kind, dedupe_key, priority, owner, turn, task, cause, max_retries)
        SELECT id, media_file_id, kind, dedupe_key, priority, owner, next + nth, task, cause, $9::int
        FROM requested JOIN lines USING (owner, priority)
        ORDER BY dedupe_key
        ON CONFLICT (dedupe_key) DO NOTHING)
    SELECT pg_notify($10, '')
"""
"""Each job has its turn; see `Transaction.enqueue`."""


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
            isolation_level="AUTOCOMMIT",  # it begins nothing: see `_work`
            pool_size=settings.pool_size,
            max_overflow=settings.pool_overflow,
            pool_timeout=settings.pool_timeout.total_seconds(),
            pool_recycle=int(settings.pool_recycle.total_seconds()),
            connect_args={
                "server_settings": {
                    "application_name": f"phonograph-{source}",
                    # A frozen process must not keep its locks: handlers take milliseconds.
                    "idle_in_transaction_session_timeout": "60s",
                },
                "timeout": 10,
            },
        )
        listen(self.engine.sync_engine, "checkout", _refuse_closed)

    @asynccontextmanager
    async def transaction(self, cause: Cause | None = None) -> AsyncIterator[Transaction]:
        """Open a transaction; it commits when the block ends well. The only place that commits.

        Raises:
            UnavailableError: PostgreSQL cannot be reached, or the connection was lost.
        """
        try:
            async with self._work() as work:
                transaction = Transaction(self.source, cause, self.job_table, self._max_retries, work)
                yield transaction
                await transaction.flush()
        except Exception as error:
            if is_unavailable(error):
                raise UnavailableError(str(error), server="PostgreSQL") from error
            raise

    @asynccontextmanager
    async def _work(self) -> AsyncIterator[_UnitOfWork]:
        """The driver begins and ends the transaction; SQLAlchemy, to which it is autocommit, joins it."""
        pooled: Any = await self.engine.raw_connection()
        driver, lock = pooled.driver_connection, pooled.dbapi_connection._execute_mutex  # noqa: SLF001  # no other
        work = _UnitOfWork(
            lambda: AsyncConnection(self.engine, Connection(self.engine.sync_engine, pooled)), driver, lock
        )
        try:
            async with driver.transaction():
                try:
                    yield work
                finally:
                    if work.writing is not None:
                        work.writing.cancel()
                        await asyncio.wait([work.writing])
                    if work.session is not None:
                        await work.session.close()
        finally:
            if pooled.is_valid and (driver.is_closed() or driver.is_in_transaction()):
                pooled.invalidate()
            pooled.close()

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


def _refuse_closed(connection: Any, *_: object) -> None:
    """Let the pool give another connection than one that PostgreSQL has ended meanwhile."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


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
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, *_BROKEN) as error:
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

    def wake(self, channel: str) -> None:
        """Let another waiter look too: one notification may tell of several things."""
        self._events[channel].set()

    async def wait(self, channel: str, timeout_s: float) -> None:
        """Until a notification comes or the time is over."""
        event = self._events[channel]
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return
        event.clear()


_AWAY = {"08", "57", "53"}
_FROZEN = "25P03"
"""Idle in a transaction for too long; the server has ended the session."""


def is_unavailable(error: BaseException) -> bool:
    """Whether the error says that the server is away, rather than that a statement was wrong."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        lost = error.connection_invalidated or isinstance(error.orig, _BROKEN)
        return lost or state[:2] in _AWAY or state == _FROZEN
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate)[:2] in _AWAY or error.sqlstate == _FROZEN
    away = ConnectionError | TimeoutError | socket.gaierror | PoolTimeoutError | asyncpg.InterfaceError
    return isinstance(error, (away | UnavailableError, *_BROKEN))


def is_refused(error: BaseException, attempt: int) -> bool:
    """Whether PostgreSQL will never store it: a bad value (class 22), or a rule (23) broken again."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(cause, "sqlstate", None) or "")
    return state.startswith("22") or (state.startswith("23") and attempt > 1)


def encode_headers(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """Header pairs as JSON. What PostgreSQL takes for text stands as text, other bytes as `{"base64": …}`."""
    pairs = list(headers)
    try:
        encoded = to_json(pairs)
        if b"\\u0000" not in encoded:
            return encoded.decode()
    except PydanticSerializationError:
        pass
    return json.dumps(
        [[name, value if value is None else {"base64": b2a_base64(value).decode()}] for name, value in pairs]
    )


def decode_headers(headers: Iterable[tuple[str, Any]]) -> list[tuple[str, bytes | None]]:
    """Back from the JSON value of `encode_headers`."""
    return [(name, value.encode() if isinstance(value, str) else _bytes(value)) for name, value in headers]


def _bytes(value: dict[str, str] | None) -> bytes | None:
    return None if value is None else a2b_base64(value["base64"])


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
