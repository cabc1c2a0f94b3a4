"""A database of a test's own, with the runtime's tables and a job table."""

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

from phonograph_events import Record
from phonograph_runtime.database import Database
from phonograph_runtime.settings import ServiceSettings
from phonograph_runtime.tables import DeliveryBase, JobColumns, service_registry


class ScratchBase(DeclarativeBase):
    """Tables of the tests."""

    registry = service_registry()


class SqlScratchJob(JobColumns, ScratchBase):
    """Jobs of the tests."""

    __tablename__ = "scratch_jobs"


class SqlSum(ScratchBase):
    """Results: a row for every finish, so that a job finished twice shows."""

    __tablename__ = "sums"

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[UUID]
    sum: Mapped[float]
    pid: Mapped[int]


@dataclass(frozen=True)
class ScratchMedia:
    """What a job of the tests is about."""

    media_id: UUID = field(default_factory=uuid4)
    owner: str | None = None
    priority: int = 0


class ScratchSettings(ServiceSettings):
    """Settings of no service."""

    model_config = SettingsConfigDict(env_prefix="SCRATCH_")


@asynccontextmanager
async def scratch_database(stack: Stack, **settings: Any) -> AsyncIterator[tuple[Database, ScratchSettings]]:
    """An empty database with inbox, outbox, dead letters and `scratch_jobs`, dropped at the end."""
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
    """On a connection of its own: a test may have restarted the server."""
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
    """Add a job that adds numbers; its id, null when its key is known."""
    media = ScratchMedia(uuid4(), owner, priority)
    async with database.transaction() as transaction:
        await transaction.enqueue("add", Sum(numbers=list(numbers), **task), media=media, dedupe_key=key)
    added = await rows(database, f"SELECT id FROM scratch_jobs WHERE media_file_id = '{media.media_id}'")
    return added[0].id if added else None


async def until_ended(
    database: Database, job_id: UUID | None, timeout_s: float = 100
) -> tuple[str, str | None, int]:
    """Status, reason and retries of a job once it is over.

    Raises:
        TimeoutError: it is not; the message shows where it stands.
    """
    query = f"SELECT status, error_reason, retry_count FROM scratch_jobs WHERE id = '{job_id}'"
    found: Any = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                (found,) = await rows(database, query)
                if found[0] in {"completed", "failed"}:
                    return tuple(found)
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise TimeoutError(f"after {timeout_s} s: {found}") from error


async def rows(database: Database, query: str) -> Sequence[Any]:
    """Answer of a query, as rows."""
    async with database.engine.connect() as connection:
        return (await connection.execute(text(query))).all()


def delivered(record: Record, offset: int, *, partition: int = 0) -> Any:
    """A record as the consumer gets it."""
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
