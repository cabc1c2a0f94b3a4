"""The job queue: claim and completion compared with the same SQL by asyncpg, and claims in a full table."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import quantiles
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy import event
from tests.bench.bench import Bench
from tests.bench.figures import Figure, Goal
from tests.bench.side import Clock
from tests.support.scratch import ScratchMedia, SqlScratchJob, Sum, rows, scratch_database
from tests.support.stack import Stack

from phonograph_events import MusicAnalyzed
from phonograph_events.examples import EXAMPLES
from phonograph_runtime.database import Database
from phonograph_runtime.jobs import JobQueue

LEASE = timedelta(minutes=1)


def measure(bench: Bench) -> list[Figure]:
    """Measure the jobs per second, and the time of a claim as the table grows."""
    jobs = bench.number("JOBS", 1000)
    rounds = bench.compare(__name__, "ours", "bare", jobs=jobs)
    return [
        Figure(
            "jobs",
            "jobs, claim and finish, one worker",
            rounds.median("ours", "per_s") or 0,
            "jobs/s",
            rounds.median("bare", "per_s"),
            "the same statements by bare asyncpg",
            Goal("ratio", at_least=0.7),
            rounds.median("base", "per_s"),
            rounds.spread("per_s"),
        ),
        Figure(
            "jobs_cpu",
            "jobs, processor time of the process",
            rounds.median("ours", "cpu_us") or 0,
            "µs/job",
            rounds.median("bare", "cpu_us"),
            "the same",
            base=rounds.median("base", "cpu_us"),
        ),
        *_measure_full_table(bench),
    ]


def _queue(database: Database) -> JobQueue:
    return JobQueue(database, SqlScratchJob, lease=LEASE, retry_delay=timedelta(seconds=1))


async def _enqueue(database: Database, jobs: int) -> None:
    async with database.transaction() as transaction:
        for _ in range(jobs):
            await transaction.enqueue("add", Sum(numbers=[1]), media=ScratchMedia())


async def _work(database: Database, queue: JobQueue) -> bool:
    """Claim and complete one job with a result event, as a worker without engine; False if none waits."""
    job = await queue.claim()
    if job is None:
        return False
    async with database.transaction(job.cause) as transaction:
        await queue.complete(transaction, job)
        await transaction.publish(_RESULT.model_copy(update={"job": job.summary()}))
    return True


(_RESULT,) = (example for example in EXAMPLES if isinstance(example, MusicAnalyzed))


async def ours(stack: Stack, *, jobs: int) -> dict[str, float]:
    """Process `jobs` jobs by the queue as a worker does."""
    clock = Clock()
    async with scratch_database(stack, lease="PT60S") as (database, _):
        queue = _queue(database)
        await _enqueue(database, jobs)
        await _enqueue(database, 1)
        await _work(database, queue)  # not measured: it connects and prepares the statements
        with clock.running():
            while await _work(database, queue):
                pass
        await _check(database, jobs + 1)
    return clock.speed(jobs)


@dataclass
class StatementRecorder:
    """Records the statements that the runtime sends, by transaction."""

    transactions: list[list[tuple[str, tuple[Any, ...]]]] = field(default_factory=list)

    def attach(self, database: Database) -> None:
        """Record the statements of a database from now on."""
        event.listen(
            database.engine.sync_engine,
            "checkout",
            lambda connection, *_: connection.driver_connection.add_query_logger(self._record),
        )

    def _record(self, query: Any) -> None:
        if query.query == "BEGIN;":
            self.transactions.append([])
        elif query.query != "COMMIT;":
            self.transactions[-1].append((query.query, query.args))


async def bare(stack: Stack, *, jobs: int) -> dict[str, float]:
    """Record the statements of the runtime for one job, and send them by asyncpg for `jobs` jobs."""
    clock = Clock()
    async with scratch_database(stack, lease="PT60S") as (database, settings):
        recorder = StatementRecorder()
        await _enqueue(database, 1)
        await _work(database, _queue(database))
        await _enqueue(database, 1)
        recorder.attach(database)
        await _work(database, _queue(database))
        await asyncio.sleep(0)  # the driver calls its query loggers in the next iteration of the loop
        claim, complete = map(list, recorder.transactions)
        done = UUID(
            str((await rows(database, "SELECT id FROM scratch_jobs ORDER BY completed_at DESC"))[0][0])
        )
        await _enqueue(database, jobs)
        connection = await asyncpg.connect(settings.database_url.get_secret_value().replace("+asyncpg", ""))
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str)
        token = next(v for _, values in claim for v in values if isinstance(v, UUID))
        with clock.running():
            for _ in range(jobs):
                new_token = uuid4()
                async with connection.transaction():
                    first, *others = claim
                    (row,) = await connection.fetch(first[0], *_replace(first[1], {token: new_token}))
                    for statement, values in others:
                        await connection.fetch(statement, *values)
                async with connection.transaction():
                    for statement, values in complete:
                        new_ids = {token: new_token, done: row["id"]}
                        await connection.fetch(statement, *_replace(values, new_ids))
        await connection.close()
        await _check(database, jobs + 2)
    return clock.speed(jobs)


def _replace(values: Sequence[Any], new_ids: dict[UUID, UUID]) -> list[Any]:
    return [new_ids.get(value, value) if isinstance(value, UUID) else value for value in values]


async def _check(database: Database, jobs: int) -> None:
    (counts,) = await rows(
        database,
        "SELECT (SELECT count(*) FROM scratch_jobs WHERE status = 'completed'),"
        f" (SELECT count(*) FROM outbox WHERE topic = '{MusicAnalyzed.TOPIC}')",
    )
    assert tuple(counts) == (jobs, jobs), f"{jobs} jobs left {tuple(counts)} rows"


@dataclass(frozen=True, slots=True)
class TableSize:
    """Number of waiting and of finished jobs in the table."""

    waiting: int
    finished: int

    def __str__(self) -> str:
        return f"{self.waiting:,} waiting, {self.finished:,} finished"


def _measure_full_table(bench: Bench) -> list[Figure]:
    waiting, finished = bench.number("WAITING", 1_000_000), bench.number("FINISHED", 10_000_000)
    sizes = [
        TableSize(0, 0),
        TableSize(waiting // 10, 0),
        TableSize(waiting, 0),
        TableSize(waiting, finished),
    ]
    task = {"crowds": [(size.waiting, size.finished) for size in sizes], "claims": 300}
    results = bench.side(__name__, "crowded", **task)
    base = bench.base and bench.side(__name__, "crowded", checkout=bench.base, **task)
    figures = []
    for number, size in enumerate(sizes):
        for name, unit in {"claim_p50": "ms", "claim_p99": "ms", "claim_pages": "pages"}.items():
            has_goal = number > 0 and name != "claim_p99"
            figures.append(
                Figure(
                    f"job_{name}_{size.waiting}_{size.finished}",
                    f"{name.replace('_', ' ')}, {size}",
                    results[number][name],
                    unit,
                    results[0][name] if number else None,
                    "the empty table" if number else "",
                    Goal("ratio", at_most=1.5) if has_goal else None,
                    base and base[number][name],
                )
            )
    figures.append(
        Figure(
            "job_counts",
            f"the gauges' query, {sizes[-1]}",
            results[-1]["counts"],
            "ms",
            results[0]["counts"],
            "the empty table",
            base=base and base[-1]["counts"],
        )
    )
    return figures


async def crowded(stack: Stack, *, crowds: list[tuple[int, int]], claims: int) -> list[dict[str, float]]:
    """Measure the milliseconds and pages of a claim, and the milliseconds of the gauges' query.

    Args:
        stack: the running servers.
        crowds: sizes of the table, ascending, each as (waiting, finished).
        claims: number of claims per size.

    Returns:
        The figures for each size.
    """
    results = []
    current = TableSize(0, 0)
    async with scratch_database(stack, lease="PT1H") as (database, settings):
        connection = await asyncpg.connect(settings.database_url.get_secret_value().replace("+asyncpg", ""))
        await connection.execute("ALTER TABLE scratch_jobs SET (autovacuum_enabled = off)")
        queue = _queue(database)
        for waiting, finished in crowds:
            await _fill(connection, waiting - current.waiting, finished - current.finished)
            current = TableSize(waiting, finished)
            await _enqueue(database, claims)
            await connection.execute("VACUUM ANALYZE scratch_jobs")
            await connection.execute("CHECKPOINT")
            claims_ms, pages = [], 0
            for _ in range(claims):
                before = await _pages(database)
                started = time.perf_counter()
                job = await queue.claim()
                claims_ms.append((time.perf_counter() - started) * 1000)
                pages += await _pages(database) - before
                assert job is not None
                async with database.transaction() as transaction:
                    await queue.complete(transaction, job)
            started = time.perf_counter()
            counts, _ = await queue.counts()
            counts_ms = (time.perf_counter() - started) * 1000
            assert abs(counts["pending"] - waiting) <= waiting / 5, counts
            percentiles = quantiles(claims_ms, n=100)
            results.append(
                {
                    "claim_p50": percentiles[49],
                    "claim_p99": percentiles[98],
                    "claim_pages": pages / claims,
                    "counts": counts_ms,
                }
            )
        await connection.close()
    return results


async def _fill(connection: "asyncpg.Connection[Any]", waiting: int, finished: int) -> None:
    """Add rows fast: drop indexes and constraints first, and create them again at the end."""
    if not waiting + finished:
        return
    await connection.execute("SET maintenance_work_mem = '1GB'")
    table = "scratch_jobs"
    constraints = await connection.fetch(
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
        f" WHERE conrelid = '{table}'::regclass AND contype IN ('p', 'u')"
    )
    for name, _ in constraints:
        await connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
    indexes = await connection.fetch(
        f"SELECT indexname, indexdef FROM pg_indexes WHERE tablename = '{table}'"
    )
    for name, _ in indexes:
        await connection.execute(f'DROP INDEX "{name}"')
    for status, rows_wanted in {"pending": waiting, "completed": finished}.items():
        await connection.execute(
            f"INSERT INTO {table} (id, media_file_id, kind, dedupe_key, status, task, run_at, completed_at)"
            " SELECT uuidv7(), media_id, 'add', 'add:' || media_id, $2::varchar, '{\"numbers\": [1]}',"
            " now() - n * interval '10 ms', CASE $2::varchar WHEN 'completed' THEN now() END"
            " FROM (SELECT n, gen_random_uuid() AS media_id FROM generate_series(1, $1::int) AS n) AS media",
            rows_wanted,
            status,
        )
    for name, definition in constraints:
        await connection.execute(f'ALTER TABLE {table} ADD CONSTRAINT "{name}" {definition}')
    for _, definition in indexes:
        await connection.execute(definition)


async def _pages(database: Database) -> int:
    """Return the pages of the table and its indexes read so far.

    It must use the connection of the queue: only the session that read the pages can flush their statistics.
    """
    await rows(database, "SELECT pg_stat_force_next_flush()")
    ((pages,),) = await rows(
        database,
        "SELECT heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit"
        " FROM pg_statio_user_tables WHERE relname = 'scratch_jobs'",
    )
    return int(pages)
