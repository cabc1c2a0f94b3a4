"""A database of a test's own, with the runtime's tables and a job table."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
from aiokafka import ConsumerRecord
from pydantic import BaseModel
from pydantic_settings import SettingsConfigDict
from sqlalchemy import text
from sqlalchemy.orm import DeclarativeBase
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


class ScratchSettings(ServiceSettings):
    """Settings of no service."""

    model_config = SettingsConfigDict(env_prefix="SCRATCH_")


class Sum(BaseModel):
    """A task: add numbers."""

    numbers: list[float]


@asynccontextmanager
async def scratch_database(stack: Stack, **settings: Any) -> AsyncIterator[tuple[Database, ScratchSettings]]:
    """An empty database with inbox, outbox, dead letters and `scratch_jobs`, dropped at the end."""
    name = f"scratch_{uuid4().hex}"
    admin = await asyncpg.connect(stack.addresses.postgres_url)
    await admin.execute(f"CREATE DATABASE {name}")
    url = stack.addresses.postgres_url.rpartition("/")[0].replace("postgresql://", "postgresql+asyncpg://")
    values = ScratchSettings(
        database_url=f"{url}/{name}",
        kafka_bootstrap_servers=stack.addresses.kafka_bootstrap_servers,
        **{"retry_delay": "PT0.05S", "lease": "PT2S", **settings},
    )
    database = Database(values, source="scratch", job_table=SqlScratchJob)
    try:
        async with database.engine.begin() as connection:
            await connection.run_sync(DeliveryBase.metadata.create_all)
            await connection.run_sync(ScratchBase.metadata.create_all)
        yield database, values
    finally:
        await database.aclose()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


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
