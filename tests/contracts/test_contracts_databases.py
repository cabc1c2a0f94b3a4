"""The schema of every service: migrations in both directions, rules for columns, access by its role only."""

import asyncio
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from tests.support.stack import ROOT, Stack
from tests.support.system import run_command

from phonograph_events import Service
from phonograph_runtime import migrations
from phonograph_runtime.errors import PermanentError, StaleSchemaError
from phonograph_runtime.revisions import check_schema
from phonograph_runtime.tables import DeliveryBase

SERVICES = sorted(Service)


@asynccontextmanager
async def empty_database(stack: Stack, service: Service) -> AsyncIterator[str]:
    """Create a database with the empty schema of a service, and yield the URL for its role."""
    name = f"migrations_{service.role}"
    admin = await asyncpg.connect(stack.addresses.postgres_url)
    await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await admin.execute(f"CREATE DATABASE {name}")
    url = stack.database_url(service).rpartition("/")[0] + f"/{name}"
    inside = await asyncpg.connect(stack.addresses.postgres_url.rpartition("/")[0] + f"/{name}")
    try:
        async with inside.transaction():
            await inside.execute(f"CREATE SCHEMA {service.role} AUTHORIZATION {service.role}")
            await inside.execute(f"GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {service.role}")
        yield url
    finally:
        await inside.close()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


async def differences(url: str, service: Service) -> list[Any]:
    """Return the changes by which Alembic would make the database match the models."""
    tables = importlib.import_module(f"phonograph_{service.role}.storage.tables")

    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        changes: list[Any] = compare_metadata(context, [tables.Base.metadata, DeliveryBase.metadata])
        return changes

    engine = create_async_engine(url)
    async with engine.connect() as connection:
        changes = await connection.run_sync(compare)
    await engine.dispose()
    return changes


@pytest.mark.parametrize("service", SERVICES)
async def test_migrations_go_up_down_and_up_and_match_the_models(stack: Stack, service: Service) -> None:
    """T0-29."""
    folder = ROOT / "migrations" / service.value
    async with empty_database(stack, service) as url:
        with pytest.raises(StaleSchemaError, match="make migrate"):
            await check_schema(url, folder)
        await asyncio.to_thread(migrations.upgrade, url, folder)
        await check_schema(url, folder)
        assert await differences(url, service) == []
        await asyncio.to_thread(migrations.downgrade, url, folder, "base")
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        left = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = $1::regnamespace AND relkind = ANY('{r,v,m}')",
            service.role,
        )
        await connection.close()
        assert [row["relname"] for row in left] == ["alembic_version"]
        await asyncio.to_thread(migrations.upgrade, url, folder)
        assert await differences(url, service) == []


async def test_index_of_the_gauges_is_built_while_the_service_runs(stack: Stack) -> None:
    """An interrupted build has left an invalid index, and a transaction that has written a job is open."""
    folder = ROOT / "migrations/analysis"
    add = "INSERT INTO analysis_jobs (id, media_file_id, kind, task) VALUES (uuidv7(), uuidv7(), 'a', '{}')"
    async with empty_database(stack, Service.ANALYSIS) as url:
        await asyncio.to_thread(migrations.upgrade, url, folder, "0003")
        login = url.replace("+asyncpg", "")
        earlier, running = await asyncpg.connect(login), await asyncpg.connect(login, timeout=10)
        interrupted = await asyncpg.connect(login)
        transaction = earlier.transaction()
        await transaction.start()
        await earlier.execute(add)
        await interrupted.execute("SET statement_timeout = '300ms'")
        with pytest.raises(asyncpg.QueryCanceledError):
            await interrupted.execute(
                "CREATE INDEX CONCURRENTLY ix_analysis_jobs_status_run_at ON analysis_jobs (status)"
            )
        await interrupted.close()
        upgrade = asyncio.create_task(asyncio.to_thread(migrations.upgrade, url, folder))
        done, _ = await asyncio.wait([upgrade], timeout=6)
        assert not done, "the upgrade did not wait for the open transaction"
        await running.execute(add, timeout=2)
        await transaction.commit()
        await upgrade
        assert await running.fetchval("SELECT count(*) FROM analysis_jobs") == 2
        rows = await running.fetch(
            "SELECT indexrelid::regclass::text AS name, indisvalid, pg_get_indexdef(indexrelid) AS definition"
            " FROM pg_index WHERE indrelid = 'analysis_jobs'::regclass"
        )
        indexes = {row["name"]: row["definition"] for row in rows if row["indisvalid"]}
        assert len(indexes) == len(rows)
        assert "(status, run_at) WHERE" in indexes["ix_analysis_jobs_status_run_at"]
        assert "ix_analysis_jobs_status" not in indexes
        await earlier.close()
        await running.close()


@pytest.mark.parametrize("service", SERVICES)
async def test_every_foreign_key_is_indexed_and_every_time_has_a_zone(stack: Stack, service: Service) -> None:
    """C-07 and C-08, checked in the catalog of PostgreSQL."""
    connection = await asyncpg.connect(stack.addresses.postgres_url)
    not_indexed = await connection.fetch(
        """
        SELECT c.conrelid::regclass AS table_name, c.conname FROM pg_constraint c
        WHERE c.contype = 'f' AND c.connamespace = $1::regnamespace AND NOT EXISTS (
            SELECT FROM pg_index i WHERE i.indrelid = c.conrelid
            AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] = c.conkey)
        """,
        service.role,
    )
    without_zone = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = $1 AND data_type = 'timestamp without time zone'",
        service.role,
    )
    await connection.close()
    assert not_indexed == []
    assert without_zone == []


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("diarization.speaker_profiles", ["name", "user_id"]),
        ("transcription.v2_processing_jobs", ["status", "transcript_id", "job_type"]),
    ],
)
async def test_indexes_that_requirements_name_exist(stack: Stack, table: str, columns: list[str]) -> None:
    """T0-33 and T0-34."""
    connection = await asyncpg.connect(stack.addresses.postgres_url)
    rows = await connection.fetch(
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid "
        "AND a.attnum = i.indkey[0] WHERE i.indrelid = $1::regclass AND i.indisvalid AND i.indnkeyatts = 1",
        table,
    )
    await connection.close()
    assert set(columns) <= {row["attname"] for row in rows}


@pytest.mark.parametrize("service", SERVICES)
async def test_service_cannot_read_other_schemas(stack: Stack, service: Service) -> None:
    connection = await asyncpg.connect(stack.database_url(service).replace("+asyncpg", ""))
    own = await connection.fetchval("SELECT count(*) FROM inbox")
    assert own is not None
    for other in SERVICES:
        if other is not service:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(f"SELECT * FROM {other.role}.inbox")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("CREATE TABLE public.created (id int)")
    await connection.close()


def start(service: Service, url: str, stack: Stack, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run the command of a service, which is expected to fail at its start, and return its output.

    Args:
        service: the service.
        url: URL of its database.
        stack: the running servers.
        tmp_path: holds its object store.
    """
    settings = stack.settings(service, tmp_path) | {"database_url": url}
    environment = {f"{service.role}_{name}".upper(): str(value) for name, value in settings.items()}
    return subprocess.run(
        [Path(sys.executable).with_name(f"phonograph-{service}")],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def write_migrations(folder: Path, messages: list[str]) -> Path:
    """Write migrations without effect, numbered from 0001, and return their folder."""
    (folder / "versions").mkdir(parents=True)
    shutil.copy(ROOT / "migrations/analysis/env.py", folder / "env.py")
    for number, message in enumerate(messages, start=1):
        previous = repr(f"{number - 1:04}") if number > 1 else None
        (folder / f"versions/{number:04}.py").write_text(
            f'"""{message}"""\nrevision = "{number:04}"\ndown_revision = {previous}\n'
            "def upgrade() -> None: ...\ndef downgrade() -> None: ...\n"
        )
    return folder


async def test_error_of_a_stale_database_lists_the_missing_migrations_in_order(
    stack: Stack, tmp_path: Path
) -> None:
    """The list contains each revision that must be applied, with its message."""
    folder = write_migrations(tmp_path / "analysis", ["Jobs.", "Owners of jobs.", "Turns of owners."])
    async with empty_database(stack, Service.ANALYSIS) as url:
        with pytest.raises(StaleSchemaError) as empty:
            await check_schema(url, folder)
        await asyncio.to_thread(migrations.upgrade, url, folder, "0001")
        with pytest.raises(StaleSchemaError) as stale:
            await check_schema(url, folder)
        await asyncio.to_thread(migrations.upgrade, url, folder)
        await check_schema(url, folder)
    assert "is empty" in empty.value.message
    assert "0001 Jobs; 0002 Owners of jobs; 0003 Turns of owners." in empty.value.message
    assert "at revision 0001, and this code needs 0003" in stale.value.message
    assert "Missing migrations: 0002 Owners of jobs; 0003 Turns of owners." in stale.value.message


async def test_too_new_database_cannot_be_migrated(stack: Stack, tmp_path: Path) -> None:
    """Its revision belongs to a later release, which is the only one that can migrate it."""
    folder = write_migrations(tmp_path / "analysis", ["Jobs."])
    newer = write_migrations(tmp_path / "newer", ["Jobs.", "Owners of jobs."])
    async with empty_database(stack, Service.ANALYSIS) as url:
        with pytest.raises(PermanentError, match="analysis: Can't locate revision identified by '7777'"):
            await asyncio.to_thread(migrations.upgrade, url, folder, "7777")
        await asyncio.to_thread(migrations.upgrade, url, newer)
        for migrate, revision in ((migrations.upgrade, "head"), (migrations.downgrade, "base")):
            with pytest.raises(StaleSchemaError, match="analysis is too new: it is at revision 0002"):
                await asyncio.to_thread(migrate, url, folder, revision)
        await check_schema(url, newer)


async def test_migrate_command_names_the_database_that_is_too_new(stack: Stack) -> None:
    connection = await asyncpg.connect(stack.addresses.postgres_url)
    head = await connection.fetchval("SELECT version_num FROM highlights.alembic_version")
    try:
        await connection.execute("UPDATE highlights.alembic_version SET version_num = '9999'")
        migrated = await run_command(stack.project, "migrate")
    finally:
        await connection.execute("UPDATE highlights.alembic_version SET version_num = $1", head)
        await connection.close()
    assert (migrated.code, migrated.out) == (1, "")
    assert "The database of highlights is too new: it is at revision 9999" in migrated.err
    assert "Start the release that created it" in migrated.err
    assert migrated.err.count("\n") == 1


async def test_service_does_not_start_on_a_stale_or_a_too_new_database(stack: Stack, tmp_path: Path) -> None:
    """The process prints one line, exits with 1, and processes no event."""
    service, folder = Service.ANALYSIS, ROOT / "migrations/analysis"
    async with empty_database(stack, service) as url:
        await asyncio.to_thread(migrations.upgrade, url, folder, "0001")
        stale = await asyncio.to_thread(start, service, url, stack, tmp_path)
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        too_new = await asyncio.to_thread(start, service, url, stack, tmp_path)
        processed = await connection.fetchval("SELECT count(*) FROM inbox")
        await connection.close()
    assert (stale.returncode, too_new.returncode) == (1, 1)
    assert "Missing migrations: 0002" in stale.stderr
    assert "too new: it is at revision 9999" in too_new.stderr
    for run in (stale, too_new):
        assert run.stderr.count("\n") == 1, run.stderr
        assert "service started" not in run.stdout
    assert processed == 0
