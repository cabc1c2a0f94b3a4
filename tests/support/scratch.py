"""A scratch database for one test, with the runtime's tables and a job table."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from aiokafka import ConsumerRecord
from pydantic_settings import SettingsConfigDict
from sqlalchemy import text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from tests.support.engines import Sum
from tests.support.stack import Stack

from phonograph_events import Envelope, Record
from phonograph_runtime.database import Database
from phonograph_runtime.settings import ServiceSettings
from phonograph_runtime.tables import DeliveryBase, JobColumns, RecordingTaskColumns, service_registry


class ScratchBase(DeclarativeBase):
    """Base of the scratch tables."""

    registry = service_registry()


class SqlScratchJob(JobColumns, ScratchBase):
    """Table of the scratch jobs."""

    __tablename__ = "scratch_jobs"


class SqlRecordingTask(RecordingTaskColumns, ScratchBase):
    """Table of the recordings that can be processed again."""


class SqlSum(ScratchBase):
    """Table of the results: one row per completion, so that a job completed twice has two rows."""

    __tablename__ = "sums"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[UUID]
    sum: Mapped[float]
    pid: Mapped[int]


@dataclass(frozen=True)
class ScratchMedia:
    """Media that a scratch job works on."""

    media_id: UUID = field(default_factory=uuid4)
    owner: str | None = None
    priority: int = 0


class ScratchSettings(ServiceSettings):
    """Settings of the runtime, with the prefix `SCRATCH_`."""

    model_config = SettingsConfigDict(env_prefix="SCRATCH_")


@asynccontextmanager
async def scratch_database(stack: Stack, **settings: Any) -> AsyncIterator[tuple[Database, ScratchSettings]]:
    """Create an empty database with inbox, outbox, dead letters and `scratch_jobs`; drop it at the end."""
    name = f"scratch_{uuid4().hex}"
    await _as_admin(stack, f"CREATE DATABASE {name}")
    url = stack.addresses.postgres_url.rpartition("/")[0].replace("postgresql://", "postgresql+asyncpg://")
    values = ScratchSettings(
        database_url=f"{url}/{name}",
        kafka_bootstrap_servers=stack.addresses.kafka_bootstrap_servers,
        **{"retry_delay": "PT0.05S", "lease": "PT10S", **settings},
    )
    database = Database(values, source="scratch", job_table=SqlScratchJob)
    try:
        async with database.engine.begin() as connection:
            await connection.run_sync(DeliveryBase.metadata.create_all)
            await connection.run_sync(ScratchBase.metadata.create_all)
        yield database, values
    finally:
        await database.aclose()
        await _as_admin(stack, f"DROP DATABASE {name} WITH (FORCE)")


async def _as_admin(stack: Stack, statement: str) -> None:
    """Execute a statement on a new connection: a test may have restarted the server."""
    admin = await asyncpg.connect(stack.addresses.postgres_url)
    await admin.execute(statement)
    await admin.close()


async def enqueue(
    database: Database,
    *numbers: float,
    priority: int = 0,
    owner: str | None = None,
    key: str | None = None,
    **task: Any,
) -> UUID | None:
    """Enqueue a job that adds numbers.

    Args:
        database: a scratch database.
        *numbers: the summands.
        priority: jobs of a higher priority run first.
        owner: owners are served in turn.
        key: its deduplication key.
        **task: further fields of `Sum`.

    Returns:
        The id of the job; None if a job with this key exists.
    """
    media = ScratchMedia(uuid4(), owner, priority)
    async with database.transaction() as transaction:
        await transaction.enqueue("add", Sum(numbers=list(numbers), **task), media=media, dedupe_key=key)
    added = await rows(database, f"SELECT id FROM scratch_jobs WHERE media_file_id = '{media.media_id}'")
    return added[0].id if added else None


async def wait_until_ended(
    database: Database, job_id: UUID | None, timeout_s: float = 100
) -> tuple[str, str | None, int]:
    """Wait until a job has completed or failed, and return its status, reason and retry count.

    Raises:
        TimeoutError: it has not within `timeout_s`; the message contains its current state.
    """
    query = f"SELECT status, error_reason, retry_count FROM scratch_jobs WHERE id = '{job_id}'"
    state: Any = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                (state,) = await rows(database, query)
                if state[0] in {"completed", "failed"}:
                    return tuple(state)
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise TimeoutError(f"job {job_id} has not ended within {timeout_s} s: {state}") from error


async def rows(database: Database, query: str) -> Sequence[Any]:
    """Return the rows of a query."""
    async with database.engine.connect() as connection:
        return (await connection.execute(text(query))).all()


async def wait_until_consumed(database: Database, *events: Envelope, timeout_s: float = 60) -> None:
    """Wait until a service has handled events, because records of several topics arrive in any order.

    Raises:
        TimeoutError: If it has not in time.
    """
    ids = ", ".join(f"'{event.id}'" for event in events)
    async with asyncio.timeout(timeout_s):
        while await rows(database, f"SELECT count(*) FROM inbox WHERE event_id IN ({ids})") != [
            (len(events),)
        ]:
            await asyncio.sleep(0.1)


def delivered(record: Record, offset: int, *, partition: int = 0) -> Any:
    """Return a record as the consumer receives it from Kafka."""
    return ConsumerRecord(
        topic=record.topic,
        partition=partition,
        offset=offset,
        timestamp=0,
        timestamp_type=0,
        key=record.key,
        value=record.value,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=tuple(record.headers),
    )
