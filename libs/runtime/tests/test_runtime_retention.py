"""Retention: exactly the expired rows are deleted, in small batches, and never a result."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Interval, bindparam, text
from tests.support.scratch import ScratchSettings, rows, scratch_database
from tests.support.stack import Stack, running

from phonograph_events import Service, uuid7
from phonograph_runtime.app import ServiceApp
from phonograph_runtime.database import Database
from phonograph_runtime.retention import Retention

DAYS = {"inbox": 90, "outbox": 7, "jobs": 90, "dead_letters": 30}
INSERT = {
    "inbox": "INSERT INTO inbox VALUES ('s', :name, now() - :age)",
    "outbox": """
        INSERT INTO outbox (topic, headers, value, created_at, published_at)
        VALUES ('t', '[]', convert_to(:name, 'UTF8'), now() - :age - interval '1 s', now() - :age)""",
    "dead_letters": """
        INSERT INTO dead_letters
            (id, topic, partition, "offset", headers, reason, error, attempts, parked_at,
             resolution, resolved_at)
        VALUES (:id, 't', 0, :number, '[]', :name, '', 1, now() - interval '99 d',
             'replayed', now() - :age)""",
    "scratch_jobs": """
        INSERT INTO scratch_jobs (id, media_file_id, kind, status, task, created_at, completed_at)
        VALUES (:id, :id, :name, 'completed', '{}', now() - interval '99 d', now() - :age)""",
}
NAMES = {
    "inbox": "SELECT event_id FROM inbox",
    "outbox": "SELECT convert_from(value, 'UTF8') FROM outbox WHERE value IS NOT NULL",
    "dead_letters": "SELECT reason FROM dead_letters",
    "scratch_jobs": "SELECT kind FROM scratch_jobs",
}


@pytest.fixture
async def scratch(stack: Stack) -> AsyncIterator[tuple[Database, ScratchSettings]]:
    async with scratch_database(stack) as opened:
        yield opened


async def run(database: Database, statement: str, **parameters: Any) -> None:
    async with database.engine.begin() as connection:
        prepared = text(statement)
        if "age" in parameters:
            prepared = prepared.bindparams(bindparam("age", type_=Interval))
        await connection.execute(prepared, parameters)


async def insert(database: Database, table: str, **values: Any) -> None:
    values |= {"id": uuid7()}
    parameters = {key: value for key, value in values.items() if f":{key}" in INSERT[table]}
    await run(database, INSERT[table], **parameters)


async def names(database: Database, table: str) -> set[str]:
    return {name for (name,) in await rows(database, NAMES[table])}


@pytest.mark.parametrize("table", list(INSERT))
async def test_rows_are_deleted_when_they_expire_and_not_before(
    table: str, scratch: tuple[Database, ScratchSettings]
) -> None:
    database, settings = scratch
    days = timedelta(days=DAYS[table.removeprefix("scratch_")])
    margin = timedelta(seconds=30)
    ages = {"new": margin, "nearly": days - margin, "just": days + margin, "old": 2 * days}
    for number, (name, age) in enumerate(ages.items()):
        await insert(database, table, name=name, age=age, number=number)
    removed = await Retention(database, settings).sweep()
    assert removed == dict.fromkeys(removed, 0) | {table: 2}
    assert await names(database, table) == {"new", "nearly"}


async def test_unpublished_events_and_unfinished_jobs_are_kept_at_any_age(
    scratch: tuple[Database, ScratchSettings],
) -> None:
    database, settings = scratch
    await run(
        database,
        """INSERT INTO outbox (topic, headers, value, created_at)
           VALUES ('t', '[]', 'waits', now() - interval '1 y')""",
    )
    for status in ("pending", "retrying", "processing", "failed", "completed"):
        await run(
            database,
            """INSERT INTO scratch_jobs (id, media_file_id, kind, status, task, created_at, completed_at)
               VALUES (:id, :id, :kind, :status, '{}', now() - interval '1 y', now() - interval '1 y')""",
            id=uuid7(),
            kind=status,
            status=status,
        )
    removed = await Retention(database, settings).sweep()
    assert removed == {"inbox": 0, "outbox": 0, "dead_letters": 0, "scratch_jobs": 2}
    assert await names(database, "outbox") == {"waits"}
    assert await names(database, "scratch_jobs") == {"pending", "retrying", "processing"}


@pytest.mark.parametrize("on_delete", ["CASCADE", "SET NULL", "NO ACTION"])
async def test_job_is_kept_as_long_as_its_result(
    on_delete: str, scratch: tuple[Database, ScratchSettings]
) -> None:
    database, settings = scratch
    reference = f"uuid REFERENCES scratch_jobs (id) ON DELETE {on_delete}"
    await run(database, f'CREATE TABLE "Results" (number int, "job id" {reference})')
    for name in ("with", "without"):
        await insert(database, "scratch_jobs", name=name, age=timedelta(days=95))
    await run(database, """INSERT INTO "Results" SELECT 1, id FROM scratch_jobs WHERE kind = 'with'""")
    sweeper = Retention(database, settings)
    assert (await sweeper.sweep())["scratch_jobs"] == 1
    assert await names(database, "scratch_jobs") == {"with"}
    assert await rows(database, 'SELECT number FROM "Results" WHERE "job id" IS NOT NULL') == [(1,)]
    await run(database, 'DELETE FROM "Results"')
    assert (await sweeper.sweep())["scratch_jobs"] == 1


async def test_expired_dead_letter_is_dropped_and_its_topic_informed(
    scratch: tuple[Database, ScratchSettings],
) -> None:
    database, settings = scratch
    ids = {days: uuid7() for days in (29, 31)}
    for number, (days, dead_letter_id) in enumerate(ids.items()):
        await run(
            database,
            """INSERT INTO dead_letters
                   (id, topic, partition, "offset", key, headers, reason, error, attempts, parked_at)
               VALUES (:id, 'media-ready', 0, :number, 'k', '[]', 'r', '', 1, now() - :age)""",
            id=dead_letter_id,
            number=number,
            age=timedelta(days=days),
        )
    assert (await Retention(database, settings).sweep())["dead_letters"] == 1
    assert await rows(database, "SELECT id FROM dead_letters") == [(ids[29],)]
    ((topic, key, headers),) = await rows(database, "SELECT topic, key, headers FROM outbox")
    assert (topic, bytes(key)) == ("media-ready-dlq", b"k")
    assert dict(headers).keys() == {
        "phonograph-dead-letter",
        "phonograph-service",
        "phonograph-resolution",
    }


@pytest.mark.parametrize("table", ["inbox", "scratch_jobs"])
async def test_locked_row_is_left_for_the_next_sweep(
    table: str, scratch: tuple[Database, ScratchSettings]
) -> None:
    database, settings = scratch
    for name in ("held", "free"):
        await insert(database, table, name=name, age=timedelta(days=95))
    column = {"inbox": "event_id", "scratch_jobs": "kind"}[table]
    async with database.transaction() as transaction, asyncio.timeout(10):
        await transaction.fetch(f"SELECT FROM {table} WHERE {column} = 'held' FOR KEY SHARE")
        assert (await Retention(database, settings).sweep())[table] == 1
    assert await names(database, table) == {"held"}
    assert (await Retention(database, settings).sweep())[table] == 1


MANY = {
    "inbox": """
        INSERT INTO inbox
        SELECT 's', CAST(n AS text),
               now() - CASE WHEN n > 100000 THEN interval '89 d' ELSE interval '91 d' END
        FROM generate_series(1, 105000) AS n""",
    "outbox": """
        INSERT INTO outbox (topic, headers, created_at, published_at)
        SELECT 't', '[]', now() - age, now() - age
        FROM generate_series(1, 105000) AS n,
             LATERAL (SELECT CASE WHEN n > 100000 THEN interval '6 d' ELSE interval '8 d' END AS age)""",
    "scratch_jobs": """
        INSERT INTO scratch_jobs (id, media_file_id, kind, status, task, created_at, completed_at)
        SELECT uuidv7(-age), uuidv7(), 'many', 'completed', '{}', now() - age, now() - age
        FROM generate_series(1, 105000) AS n,
             LATERAL (SELECT CASE WHEN n > 100000 THEN interval '89 d' ELSE interval '91 d' END
                             - n * interval '1 ms' AS age)""",
}


@pytest.mark.parametrize("table", list(MANY))
async def test_two_copies_delete_a_hundred_thousand_rows_while_the_service_works(
    table: str, scratch: tuple[Database, ScratchSettings]
) -> None:
    database, settings = scratch
    await run(database, MANY[table])
    is_done = asyncio.Event()
    written: list[float] = []

    async def work() -> None:
        while not is_done.is_set():
            started = time.monotonic()
            await insert(database, table, name=str(uuid7()), age=timedelta())
            written.append(time.monotonic() - started)
            await asyncio.sleep(0.01)

    working = asyncio.create_task(work())
    started = time.monotonic()
    both = await asyncio.gather(*(Retention(database, settings).sweep() for _ in range(2)))
    seconds = time.monotonic() - started
    is_done.set()
    await working
    assert sum(removed[table] for removed in both) == 100_000
    assert await rows(database, f"SELECT count(*) FROM {table}") == [(5000 + len(written),)]
    sys.stdout.write(
        f"{table}: 100,000 rows in {seconds:.1f} s by two copies; {len(written)} writes at the same time, "
        f"the slowest {max(written) * 1000:.0f} ms\n"
    )


async def test_service_sweeps_by_its_settings(stack: Stack, tmp_path: Path) -> None:
    settings = ScratchSettings(**stack.settings(Service.INGEST, tmp_path), keep_inbox="PT1H")
    app = ServiceApp(Service.INGEST, settings)
    source = str(uuid4())
    old = "INSERT INTO inbox VALUES (:source, 'old', now() - interval '2 h'), (:source, 'new', now())"
    await run(app.database, old, source=source)
    left = f"SELECT event_id FROM inbox WHERE source = '{source}'"
    async with running(app), asyncio.timeout(20):
        while len(remaining := await rows(app.database, left)) > 1:
            await asyncio.sleep(0.1)
    assert remaining == [("new",)]
