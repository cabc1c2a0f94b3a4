"""Connections to PostgreSQL, and the transaction of effects, events and jobs."""

import asyncio
import json
import socket
import ssl
from binascii import a2b_base64, b2a_base64
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
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

from phonograph_events import Cause, Event, Facts, Record, record, uuid7
from phonograph_runtime.errors import PermanentError, UnavailableError
from phonograph_runtime.ports import JobSubject
from phonograph_runtime.postgres_access import connector, driver_url, pool_url
from phonograph_runtime.settings import ServiceSettings
from phonograph_runtime.tables import JobColumns, job_sql

MAX_EVENT_BYTES = 1_000_000
OUTBOX_CHANNEL = "outbox"
JOBS_CHANNEL = "jobs"

SERVER = "PostgreSQL"
_CLIENT_ERRORS = asyncpg.InternalClientError, AsyncAdapt_asyncpg_dbapi.InternalClientError
"""Raised by asyncpg 0.32 if a connection is ended at the moment when it begins an operation."""

T = TypeVar("T", bound=BaseModel)

logger = structlog.get_logger()


@dataclass
class _UnitOfWork:
    """The state that a transaction shares with the copies that `with_cause` returns."""

    connect: Callable[[], AsyncConnection]
    """Makes SQLAlchemy's view of the connection; it costs as much as a statement: only sessions need one."""
    driver: "asyncpg.Connection[asyncpg.Record]"
    lock: asyncio.Lock
    """Held during each use of the driver; SQLAlchemy takes the same lock."""
    session: AsyncSession | None = None
    outgoing: list[Record] = field(default_factory=list)
    """Events that are not written yet."""
    requested: list[tuple[Any, ...]] = field(default_factory=list)
    """Jobs that are not written yet."""
    remembered: dict[UUID, str] = field(default_factory=dict)
    """Tasks of recordings that are not written yet, as JSON."""
    writing: asyncio.Task[None] | None = None
    """The write that `start_flush` has started."""


@dataclass(slots=True)
class Transaction:
    """A database transaction together with its events and jobs. Implements `Publisher` and `JobRequests`."""

    source: str
    cause: Cause | None
    job_table: type[JobColumns] | None
    max_retries: int
    _work: _UnitOfWork

    @property
    def session(self) -> AsyncSession:
        """The session for the tables of the service, created at the first use."""
        if self._work.session is None:
            self._work.session = AsyncSession(self._work.connect(), expire_on_commit=False)
        return self._work.session

    async def fetch(self, statement: str, *values: Any) -> "list[asyncpg.Record]":
        """Execute SQL directly on asyncpg, at half the cost per event of the ORM session.

        Args:
            statement: SQL with `$1`, `$2`, ….
            values: Its parameters; JSON is passed as text and returned as objects.
        """
        async with self._work.lock:
            rows: list[asyncpg.Record] = await self._work.driver.fetch(statement, *values)
        return rows

    def with_cause(self, cause: Cause | None) -> "Transaction":
        """Return the same transaction on behalf of another event."""
        return Transaction(self.source, cause, self.job_table, self.max_retries, self._work)

    async def publish(self, event: Event, *, version: int = 1) -> None:
        """See `Publisher.publish`."""
        added = record(event, source=self.source, cause=self.cause, version=version)
        size = len(added.value or b"")
        if size > MAX_EVENT_BYTES:
            raise PermanentError(
                f"{event.event_type()} has {size} bytes; {MAX_EVENT_BYTES} are allowed. "
                "Store large content as an object.",
                reason="too_large",
            )
        self._work.outgoing.append(added)

    async def send(self, records: Sequence[Record]) -> None:
        """Add records to the outbox unchanged."""
        self._work.outgoing.extend(records)

    async def enqueue(
        self,
        kind: str,
        task: BaseModel,
        *,
        media: JobSubject,
        dedupe_key: str | None = None,
        extra_priority: int = 0,
        requested: Facts | None = None,
    ) -> None:
        """See `JobRequests.enqueue`.

        The fair rank of a job is one more than that of its owner's last job, or that of the job served now if
        this is higher: an owner with a thousand files does not delay the others. Source: start-time fair
        queueing (Goyal, Vin, Cheng, 1996) with jobs of equal length.
        """
        if self.job_table is None:
            raise TypeError(f"{self.source} has no job table.")
        cause = None if self.cause is None else to_json(cause_to_json(self.cause)).decode()
        self._work.requested.append(
            (
                uuid7(),
                media.media_id,
                kind,
                dedupe_key or f"{kind}|{media.media_id}",
                media.priority + extra_priority,
                media.owner or "",
                task.model_dump_json(),
                cause,
                to_json(requested or {}).decode(),
            )
        )

    async def remember(self, task: BaseModel, media_id: UUID) -> None:
        """See `JobRequests.remember`."""
        if media_id in self._work.remembered:
            await self.flush()  # one statement cannot change a row twice
        self._work.remembered[media_id] = task.model_dump_json(exclude_none=True)

    async def recall(self, task: type[T], media_id: UUID) -> T | None:
        """See `JobRequests.recall`."""
        await self.flush()  # the recording may be of the same batch
        rows = await self.fetch("SELECT task FROM recording_tasks WHERE media_file_id = $1", media_id)
        return task.model_validate(rows[0]["task"]) if rows else None

    async def start_flush(self) -> None:
        """Start to write the pending events and jobs while more are added; `flush` waits for it.

        Raises:
            Exception: If an earlier write failed, and the transaction with it.
        """
        work = self._work
        if work.writing is None or work.writing.done():
            # The session's rows come first: a job may refer to one of them.
            await self._finish_writing()
            work.writing = asyncio.create_task(self._write())
        await asyncio.sleep(0)  # lets the task send its statement before the next event is handled

    async def flush(self) -> None:
        """Write the pending events and jobs, one statement per table, as the end of the transaction does."""
        await self._finish_writing()
        await self._write()

    async def _finish_writing(self) -> None:
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
        remembered, self._work.remembered = self._work.remembered, {}
        if remembered:
            # Sorted, so that two transactions cannot deadlock.
            await self.fetch(_REMEMBER, *map(list, zip(*sorted(remembered.items()), strict=True)))
        outgoing, self._work.outgoing = self._work.outgoing, []
        if outgoing:
            columns = map(
                list,
                zip(*((r.topic, r.key, r.value, encode_headers(r.headers)) for r in outgoing), strict=True),
            )
            await self.fetch(_ADD_RECORDS, *columns, f"{self.source}.{OUTBOX_CHANNEL}")


_REMEMBER = """
    INSERT INTO recording_tasks (media_file_id, task)
    SELECT * FROM unnest($1::uuid[], $2::text[]::jsonb[])
    ON CONFLICT (media_file_id) DO UPDATE SET task = recording_tasks.task || excluded.task
"""
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
                    $7::text[]::jsonb[], $8::text[]::jsonb[], $9::text[]::jsonb[])
             WITH ORDINALITY
             AS job (id, media_file_id, kind, dedupe_key, priority, owner, task, cause, requested, place)),
    lines AS MATERIALIZED (
        SELECT owner, priority, coalesce(greatest(
            (SELECT max(turn) + 1 FROM {jobs} AS own
             WHERE {open} AND own.owner = line.owner AND own.priority = line.priority),
            (SELECT min(turn) FROM {jobs} AS served
             WHERE {open} AND served.priority = line.priority)), 0) AS next
        FROM (SELECT DISTINCT owner, priority FROM requested) AS line),
    added AS (
        INSERT INTO {jobs}
            (id, media_file_id, kind, dedupe_key, priority, owner, turn, task, cause, processing_options,
             max_retries)
        SELECT id, media_file_id, kind, dedupe_key, priority, owner, next + nth, task, cause, requested,
               $10::int
        FROM requested JOIN lines USING (owner, priority)
        ORDER BY dedupe_key
        ON CONFLICT (dedupe_key) DO NOTHING)
    SELECT pg_notify($11, '')
"""
"""`turn` is the column of the fair rank; see `Transaction.enqueue`."""


class Database:
    """The PostgreSQL connections of one process."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        source: str,
        job_table: type[JobColumns] | None = None,
    ) -> None:
        """Create the pool; nothing is connected before it is needed.

        Args:
            settings: Address and limits.
            source: Name of the service, as its events carry it.
            job_table: Mapped class of its job table, if it has one.
        """
        self._url = settings.database_url.get_secret_value()
        self.source = source
        self.job_table = job_table
        self._max_retries = settings.max_retries
        self.engine: AsyncEngine = create_async_engine(
            pool_url(self._url),
            isolation_level="AUTOCOMMIT",  # it begins no transaction: see `_unit_of_work`
            pool_size=settings.pool_size,
            max_overflow=settings.pool_overflow,
            pool_timeout=settings.pool_timeout.total_seconds(),
            pool_recycle=int(settings.pool_recycle.total_seconds()),
            async_creator=connector(
                self._url,
                server_settings={
                    "application_name": f"phonograph-{source}",
                    # A frozen process must not keep its locks: handlers take milliseconds.
                    "idle_in_transaction_session_timeout": "60s",
                },
            ),
        )
        listen(self.engine.sync_engine, "checkout", _reject_closed)

    @asynccontextmanager
    async def transaction(self, cause: Cause | None = None) -> AsyncIterator[Transaction]:
        """Open a transaction; it commits if the block does not raise. The only place that commits.

        Raises:
            UnavailableError: If PostgreSQL cannot be reached, or the connection was lost.
        """
        try:
            async with self._unit_of_work() as work:
                transaction = Transaction(self.source, cause, self.job_table, self._max_retries, work)
                yield transaction
                await transaction.flush()
        except UnavailableError:
            raise  # it names its server, which may be another one than PostgreSQL
        except Exception as error:
            if is_unavailable(error):
                raise UnavailableError(str(error), server=SERVER) from error
            raise

    @asynccontextmanager
    async def _unit_of_work(self) -> AsyncIterator[_UnitOfWork]:
        """Begin and end the transaction on the driver; SQLAlchemy, in autocommit mode, joins it."""
        pooled: Any = await self.engine.raw_connection()
        driver, lock = pooled.driver_connection, pooled.dbapi_connection._execute_mutex  # noqa: SLF001  # no public one
        work = _UnitOfWork(
            lambda: AsyncConnection(self.engine, Connection(self.engine.sync_engine, pooled)), driver, lock
        )
        try:
            async with driver.transaction():
                try:
                    yield work
                finally:
                    # Before the driver ends the transaction: a write that goes on after it would be
                    # committed alone.
                    if work.writing is not None:
                        work.writing.cancel()
                        await asyncio.wait([work.writing])
                    if work.session is not None:
                        await work.session.close()
        finally:
            # A connection that is closed or still in a transaction must not be used by another.
            if pooled.is_valid and (driver.is_closed() or driver.is_in_transaction()):
                pooled.invalidate()
            pooled.close()

    @asynccontextmanager
    async def advisory_lock(self, name: str) -> AsyncIterator[AsyncConnection | None]:
        """Hold a lock that only one process can have, for the time of the block.

        Args:
            name: Name of the lock, unique in the database.

        Yields:
            The connection that holds the lock, or None if another process has it.
        """
        async with self.engine.connect() as connection:
            statement = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
            if not await connection.scalar(statement, {"name": name}):
                yield None
                return
            try:
                yield connection
            finally:
                # Closed rather than returned to the pool: the lock lasts as long as the connection.
                await connection.invalidate()

    async def ping(self) -> None:
        """Execute a trivial statement."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    def listen(self, *channels: str) -> "Listener":
        """Return a listener for notifications on channels of this service."""
        return Listener(driver_url(self._url), {channel: f"{self.source}.{channel}" for channel in channels})

    async def aclose(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _reject_closed(connection: Any, *_: object) -> None:
    """Make the pool replace a connection that PostgreSQL has closed in the meantime."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


class Listener:
    """Wakes tasks when PostgreSQL notifies; waiters poll as well, so a lost notification only delays."""

    def __init__(self, dsn: str, channels: dict[str, str]) -> None:
        self._dsn = dsn
        self._channels = channels
        self._events = {channel: asyncio.Event() for channel in channels}

    async def run(self) -> None:
        """Stay connected until cancelled."""
        while True:
            try:
                await self._listen()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, *_CLIENT_ERRORS) as error:
                logger.warning("listener disconnected", error=str(error))
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
        """Wake one more waiter: one notification may announce several jobs."""
        self._events[channel].set()

    async def wait(self, channel: str, timeout_s: float) -> None:
        """Wait for a notification, at most `timeout_s` seconds."""
        event = self._events[channel]
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return
        event.clear()


_UNAVAILABLE_CLASSES = {"08", "28", "57", "53"}
"""SQLSTATE classes: connection exception, refused login, operator intervention, insufficient resources."""
_IDLE_TIMEOUT = "25P03"


def is_unavailable(error: BaseException) -> bool:
    """Return whether the server is unavailable, as opposed to a statement being wrong."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or (error.orig is not None and is_unavailable(error.orig))
    # SQLAlchemy wraps no error of a new connection: it is one of the driver's own, or of the adapter's.
    if isinstance(error, asyncpg.PostgresError | AsyncAdapt_asyncpg_dbapi.Error) and error.sqlstate:
        return str(error.sqlstate)[:2] in _UNAVAILABLE_CLASSES or error.sqlstate == _IDLE_TIMEOUT
    lost = (
        ConnectionError
        | TimeoutError
        | socket.gaierror
        | ssl.SSLError
        | PoolTimeoutError
        | asyncpg.InterfaceError
    )
    return isinstance(error, (lost | UnavailableError, *_CLIENT_ERRORS))


def is_refused(error: BaseException, attempt: int) -> bool:
    """Return whether PostgreSQL refuses the values for good.

    That is a data exception (class 22), or an integrity violation (class 23) that is not the first: another
    transaction may have caused that one.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(cause, "sqlstate", None) or "")
    return state.startswith("22") or (state.startswith("23") and attempt > 1)


def encode_headers(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """Return header pairs as JSON: valid text as it is, other bytes as `{"base64": …}`."""
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
    """Return the header pairs of a JSON value made by `encode_headers`."""
    return [(name, value.encode() if isinstance(value, str) else _bytes(value)) for name, value in headers]


def _bytes(value: dict[str, str] | None) -> bytes | None:
    return None if value is None else a2b_base64(value["base64"])


def cause_to_json(cause: Cause) -> dict[str, Any]:
    """Return a cause as a JSON value."""
    return {
        "event_id": cause.event_id,
        "correlation_id": cause.correlation_id,
        "traceparent": cause.traceparent,
    }


def cause_from_json(value: dict[str, Any] | None) -> Cause | None:
    """Return the cause of a JSON value made by `cause_to_json`."""
    return None if value is None else Cause(**value)
