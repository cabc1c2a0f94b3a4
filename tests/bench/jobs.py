"""The job queue: claim and finish against the same SQL by bare asyncpg, and the claim in a crowded table."""

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
    """Jobs a second, and the time of a claim as the table grows."""
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
        *_crowded(bench),
    ]


def _queue(database: Database) -> JobQueue:
    return JobQueue(database, SqlScratchJob, lease=LEASE, retry_delay=timedelta(seconds=1))


async def _enqueue(database: Database, jobs: int) -> None:
    async with database.transaction() as transaction:
        for _ in range(jobs):
            await transaction.enqueue("add", Sum(numbers=[1]), media=ScratchMedia())


async def _work(database: Database, queue: JobQueue) -> bool:
    """Claim and finish one job, with a result event, as a worker does without its engine."""
    job = await queue.claim()
    if job is None:
        return False
    async with database.transaction(job.cause) as transaction:
        await queue.complete(transaction, job)
        await transaction.publish(_RESULT.model_copy(update={"job": job.summary()}))
    return True


(_RESULT,) = (example for example in EXAMPLES if isinstance(example, MusicAnalyzed))


async def ours(stack: Stack, *, jobs: int) -> dict[str, float]:
    """The queue as a worker uses it."""
    clock = Clock()
    async with scratch_database(stack, lease="PT60S") as (database, _):
        queue = _queue(database)
        await _enqueue(database, jobs)
        await _enqueue(database, 1)
        await _work(database, queue)  # connects, prepares
        with clock.running():
            while await _work(database, queue):
                pass
        await _check(database, jobs + 1)
    return clock.speed(jobs)


@dataclass
class Recorded:
    """The statements of one job as the runtime sent them."""

    transactions: list[list[tuple[str, tuple[Any, ...]]]] = field(default_factory=list)

    def watch(self, database: Database) -> None:
        """Write down what goes to the server from now on."""
        event.listen(
            database.engine.sync_engine,
            "checkout",
            lambda connection, *_: connection.driver_connection.add_query_logger(self._note),
        )

    def _note(self, query: Any) -> None:
        if query.query == "BEGIN;":
            self.transactions.append([])
        elif query.query != "COMMIT;":
            self.transactions[-1].append((query.query, query.args))


async def bare(stack: Stack, *, jobs: int) -> dict[str, float]:
    """The statements that the runtime sends for one job, recorded and sent again by asyncpg for every job."""
    clock = Clock()
    async with scratch_database(stack, lease="PT60S") as (database, settings):
        recorded = Recorded()
        await _enqueue(database, 1)
        await _work(database, _queue(database))
        await _enqueue(database, 1)
        recorded.watch(database)
        await _work(database, _queue(database))
        await asyncio.sleep(0)  # the driver tells soon after
        claim, finish = map(list, recorded.transactions)
        done = UUID(
            str((await rows(database, "SELECT id FROM scratch_jobs ORDER BY completed_at DESC"))[0][0])
        )
        await _enqueue(database, jobs)
        connection = await asyncpg.connect(settings.database_url.get_secret_value().replace("+asyncpg", ""))
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str)
        token = next(v for _, values in claim for v in values if _is_uuid(v))
        with clock.running():
            for _ in range(jobs):
                fresh = uuid4()
                async with connection.transaction():
                    first, *others = claim
                    (row,) = await connection.fetch(first[0], *_filled(first[1], {token: fresh}))
                    for statement, values in others:
                        await connection.fetch(statement, *values)
                async with connection.transaction():
                    for statement, values in finish:
                        await connection.fetch(statement, *_filled(values, {token: fresh, done: row["id"]}))
        await connection.close()
        await _check(database, jobs + 2)
    return clock.speed(jobs)


def _is_uuid(value: Any) -> bool:
    return isinstance(value, UUID)


def _filled(values: Sequence[Any], new: dict[UUID, UUID]) -> list[Any]:
    return [new.get(value, value) if isinstance(value, UUID) else value for value in values]


async def _check(database: Database, jobs: int) -> None:
    (counts,) = await rows(
        database,
        "SELECT (SELECT count(*) FROM scratch_jobs WHERE status = 'completed'),"
        f" (SELECT count(*) FROM outbox WHERE topic = '{MusicAnalyzed.TOPIC}')",
    )
    assert tuple(counts) == (jobs, jobs), f"{jobs} jobs left {tuple(counts)} rows"


@dataclass(frozen=True, slots=True)
class Crowd:
    """How full the table is."""

    waiting: int
    finished: int

    def __str__(self) -> str:
        return f"{self.waiting:,} waiting, {self.finished:,} finished"


def _crowded(bench: Bench) -> list[Figure]:
    waiting, finished = bench.number("WAITING", 1_000_000), bench.number("FINISHED", 10_000_000)
    crowds = [Crowd(0, 0), Crowd(waiting // 10, 0), Crowd(waiting, 0), Crowd(waiting, finished)]
    task = {"crowds": [(crowd.waiting, crowd.finished) for crowd in crowds], "claims": 300}
    stages = bench.side(__name__, "crowded", **task)
    base = bench.base and bench.side(__name__, "crowded", checkout=bench.base, **task)
    figures = []
    for number, crowd in enumerate(crowds):
        for what, unit in {"claim_p50": "ms", "claim_p99": "ms", "claim_pages": "pages"}.items():
            flat = number > 0 and what != "claim_p99"
            figures.append(
                Figure(
                    f"job_{what}_{crowd.waiting}_{crowd.finished}",
                    f"{what.replace('_', ' ')}, {crowd}",
                    stages[number][what],
                    unit,
                    stages[0][what] if number else None,
                    "the empty table" if number else "",
                    Goal("ratio", at_most=1.5) if flat else None,
                    base and base[number][what],
                )
            )
    figures.append(
        Figure(
            "job_counts",
            f"the gauges' query, {crowds[-1]}",
            stages[-1]["counts"],
            "ms",
            stages[0]["counts"],
            "the empty table",
            base=base and base[-1]["counts"],
        )
    )
    return figures


async def crowded(stack: Stack, *, crowds: list[tuple[int, int]], claims: int) -> list[dict[str, float]]:
    """Milliseconds and pages of a claim as the table fills."""
    answers = []
    there = Crowd(0, 0)
    async with scratch_database(stack, lease="PT1H") as (database, settings):
        connection = await asyncpg.connect(settings.database_url.get_secret_value().replace("+asyncpg", ""))
        await connection.execute("ALTER TABLE scratch_jobs SET (autovacuum_enabled = off)")
        queue = _queue(database)
        for waiting, finished in crowds:
            await _fill(connection, waiting - there.waiting, finished - there.finished)
            there = Crowd(waiting, finished)
            await _enqueue(database, claims)
            await connection.execute("VACUUM ANALYZE scratch_jobs")
            await connection.execute("CHECKPOINT")
            took, pages = [], 0
            for _ in range(claims):
                before = await _pages(database)
                started = time.perf_counter()
                job = await queue.claim()
                took.append((time.perf_counter() - started) * 1000)
                pages += await _pages(database) - before
                assert job is not None
                async with database.transaction() as transaction:
                    await queue.complete(transaction, job)
            started = time.perf_counter()
            counts, _ = await queue.counts()
            counted = (time.perf_counter() - started) * 1000
            assert abs(counts["pending"] - waiting) <= waiting / 5, counts
            cut = quantiles(took, n=100)
            answers.append(
                {"claim_p50": cut[49], "claim_p99": cut[98], "claim_pages": pages / claims, "counts": counted}
            )
        await connection.close()
    return answers


async def _fill(connection: "asyncpg.Connection[Any]", waiting: int, finished: int) -> None:
    """Add rows as fast as PostgreSQL takes them: without indexes, which are built again at the end."""
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
    """Pages of the table and its indexes that were looked at so far; asked on the queue's own connection."""
    await rows(database, "SELECT pg_stat_force_next_flush()")
    ((pages,),) = await rows(
        database,
        "SELECT heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit"
        " FROM pg_statio_user_tables WHERE relname = 'scratch_jobs'",
    )
    return int(pages)
