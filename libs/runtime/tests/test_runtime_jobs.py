"""The job queue and its workers: leases, fencing, retries, and killed engines."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from tests.support.engines import Sum
from tests.support.scratch import (
    ScratchMedia,
    SqlScratchJob,
    enqueue,
    rows,
    scratch_database,
    wait_until_ended,
)
from tests.support.stack import Stack
from tests.support.worker import running_workers, store_sum

from phonograph_runtime.database import Database, Transaction
from phonograph_runtime.errors import LeaseLostError
from phonograph_runtime.jobs import COUNTED_JOBS, JobKind, JobQueue
from phonograph_runtime.ports import Job, JobFailure
from phonograph_runtime.sampling import pause_s
from phonograph_runtime.worker import POLL_S


def queue_of(database: Database, *, lease_s: float = 2.0) -> JobQueue:
    return JobQueue(
        database, SqlScratchJob, lease=timedelta(seconds=lease_s), retry_delay=timedelta(seconds=0.05)
    )


async def topics(database: Database) -> list[str]:
    return [topic for (topic,) in await rows(database, "SELECT topic FROM outbox ORDER BY seq")]


async def test_job_runs_in_a_child_and_finishes_once(stack: Stack) -> None:
    async with scratch_database(stack) as (database, settings):
        async with running_workers(database, settings):
            job_id = await enqueue(database, 1, 2, 3)
            assert await wait_until_ended(database, job_id) == ("completed", None, 0)
        assert await rows(database, "SELECT sum FROM sums") == [(6,)]
        assert (await topics(database))[0] == "job-progressed"


async def test_jobs_of_one_dedupe_key_are_enqueued_once(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        assert await enqueue(database, 1, key="a") is not None
        assert await enqueue(database, 1, key="a") is None


async def test_jobs_run_by_priority_and_then_by_age(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        first, second = await enqueue(database, 1), await enqueue(database, 2)
        urgent = await enqueue(database, 3, priority=5)
        queue = queue_of(database)
        claimed = [await queue.claim() for _ in range(4)]
        assert [job.id if job else None for job in claimed] == [urgent, first, second, None]


async def test_two_workers_never_get_the_same_job(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        enqueued = {await enqueue(database, number) for number in range(20)}
        queues = [queue_of(database) for _ in range(4)]

        async def drain(queue: JobQueue) -> list[UUID]:
            claimed = []
            while (job := await queue.claim()) is not None:
                claimed.append(job.id)
            return claimed

        claimed = [job for share in await asyncio.gather(*map(drain, queues)) for job in share]
        assert len(claimed) == 20
        assert set(claimed) == enqueued


async def test_worker_without_the_lease_changes_nothing(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        job_id = await enqueue(database, 1)
        slow = queue_of(database, lease_s=0.2)
        zombie = await slow.claim()
        assert zombie is not None
        await asyncio.sleep(0.4)
        second = await queue_of(database).claim()
        assert second is not None
        assert second.id == job_id
        assert second.attempt == 2
        before = len(await topics(database))
        for action in ("complete", "renew", "fail"):
            with pytest.raises(LeaseLostError):
                async with database.transaction() as transaction:
                    match action:
                        case "complete":
                            await slow.complete(transaction, zombie)
                        case "renew":
                            await slow.renew(zombie, 0.5, "late")
                        case _:
                            await slow.fail(transaction, zombie, JobFailure("late", "Late."), permanent=False)
        assert len(await topics(database)) == before
        async with database.transaction() as transaction:
            await queue_of(database).complete(transaction, second)
        assert (await wait_until_ended(database, job_id))[0] == "completed"


async def test_job_whose_engine_dies_fails_after_its_last_attempt(stack: Stack) -> None:
    async with scratch_database(stack, max_retries=1) as (database, settings):
        async with running_workers(database, settings):
            job_id = await enqueue(database, 1, fault="die")
            good = await enqueue(database, 4)
            assert await wait_until_ended(database, job_id) == ("failed", "engine_died", 1)
            assert (await wait_until_ended(database, good))[0] == "completed"
        assert (await topics(database)).count("job-failed") == 2


async def test_permanent_error_fails_at_once_and_keeps_its_reason(stack: Stack) -> None:
    async with scratch_database(stack) as (database, settings), running_workers(database, settings):
        job_id = await enqueue(database)
        assert await wait_until_ended(database, job_id) == ("failed", "empty", 0)


async def test_failed_job_can_be_retried_on_request(stack: Stack) -> None:
    async with scratch_database(stack, max_retries=0) as (database, settings):
        async with running_workers(database, settings) as queue:
            job_id = await enqueue(database, 1, fault="raise")
            assert (await wait_until_ended(database, job_id))[:2] == ("failed", "RuntimeError")
            assert job_id is not None
            async with database.transaction() as transaction:
                assert await queue.retry(transaction, job_id)
                assert not await queue.retry(transaction, uuid4())
            assert (await wait_until_ended(database, job_id))[0] == "failed"
        assert (await topics(database)).count("job-failed") == 2


async def test_released_job_can_be_claimed_again_and_loses_no_attempt(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        job_id = await enqueue(database, 1)
        queue = queue_of(database)
        job = await queue.claim()
        assert job is not None
        await queue.release(job)
        again = await queue.claim()
        assert again is not None
        assert (again.id, again.attempt) == (job_id, 1)


async def test_expired_lease_costs_an_attempt_until_none_is_left(stack: Stack) -> None:
    async with scratch_database(stack, max_retries=1) as (database, settings):
        job_id = await enqueue(database, 1)
        queue = queue_of(database, lease_s=0.05)
        for _ in range(2):
            assert await queue.claim() is not None
            await asyncio.sleep(0.1)
        async with running_workers(database, settings):
            assert await wait_until_ended(database, job_id) == ("failed", "lease_expired", 2)


async def test_cancelled_job_fails_for_good_and_its_worker_changes_nothing(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        job_id = await enqueue(database, 1)
        queue = queue_of(database)
        claimed_job = await queue.claim()
        assert claimed_job is not None
        async with database.transaction() as transaction:
            cancelled = await queue.cancel(transaction, claimed_job.id)
        assert cancelled is not None
        assert await wait_until_ended(database, job_id) == ("failed", "cancelled", 0)
        assert (await topics(database))[-1] == "job-failed"
        with pytest.raises(LeaseLostError):
            await queue.renew(claimed_job, 0.5, "late")
        async with database.transaction() as transaction:
            assert await queue.cancel(transaction, claimed_job.id) is None


async def test_owners_are_served_alternately(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        queue = queue_of(database)

        async def add(owner: str, jobs: int) -> list[UUID | None]:
            return [await enqueue(database, 1, owner=owner) for _ in range(jobs)]

        async def served(jobs: int) -> list[str]:
            claimed = [await queue.claim() for _ in range(jobs)]
            return [names[job.id] for job in claimed if job]

        names = dict.fromkeys(await add("large", 6), "large")
        assert await served(2) == ["large", "large"]
        names |= dict.fromkeys(await add("small", 2), "small")
        assert sorted(await served(4)) == ["large", "large", "small", "small"]
        assert await served(5) == ["large", "large"]


async def test_jobs_of_one_transaction_have_a_fair_rank_each(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        async with database.transaction() as transaction:
            for owner in ("a", "a", "a", "b", "b"):
                await transaction.enqueue("add", Sum(numbers=[1]), media=ScratchMedia(owner=owner))
        ranked = await rows(database, "SELECT owner, turn FROM scratch_jobs ORDER BY turn, owner")
        assert ranked == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2)]


async def test_retry_starts_after_its_delay(stack: Stack) -> None:
    async with (
        scratch_database(stack, max_retries=1, retry_delay="PT1S") as (database, settings),
        running_workers(database, settings),
    ):
        job_id = await enqueue(database, 1, fault="raise")
        assert await wait_until_ended(database, job_id) == ("failed", "RuntimeError", 1)
        ((late_s,),) = await rows(
            database, "SELECT extract(epoch FROM started_at - run_at) FROM scratch_jobs"
        )
        assert 0 <= late_s < 2


async def test_worker_that_claims_wakes_the_next_one(stack: Stack) -> None:
    """One notification may announce two jobs, and only one of two workers may be waiting for it."""
    async with scratch_database(stack) as (database, settings):
        both_idle, released = asyncio.Barrier(3), asyncio.Event()

        class GatedQueue(JobQueue):
            async def due_s(self) -> float:
                wait_s = await super().due_s()
                if not released.is_set():
                    await both_idle.wait()
                    await released.wait()
                return wait_s

        queue = GatedQueue(database, SqlScratchJob, lease=settings.lease, retry_delay=settings.retry_delay)
        async with running_workers(database, settings, queue=queue, workers=2):
            await both_idle.wait()  # neither worker has found a job
            slow, quick = await enqueue(database, 1, seconds=60), await enqueue(database, 2)
            await asyncio.sleep(0.5)
            released.set()
            await wait_until_ended(database, quick, timeout_s=POLL_S)
            assert await rows(database, f"SELECT status FROM scratch_jobs WHERE id = '{slow}'") == [
                ("processing",)
            ]


def test_sampling_takes_at_most_a_twentieth_of_the_time() -> None:
    assert [pause_s(took_s, 5) for took_s in (0.01, 0.25, 2.0)] == [5, 5, 40]


async def execute(database: Database, statement: str) -> None:
    async with database.engine.connect() as connection:
        await connection.execute(text(statement))


async def fill(database: Database, status: str, jobs: int, *, due_s: float = 0) -> None:
    """Add jobs of one status that have been due for a time."""
    await execute(
        database,
        "INSERT INTO scratch_jobs (id, media_file_id, kind, status, task, run_at)"
        f" SELECT uuidv7(), uuidv7(), 'add', '{status}', '{{}}', now() - interval '{due_s} s'"
        f" FROM generate_series(1, {jobs})",
    )


async def test_counts_are_exact_and_the_age_is_that_of_the_oldest_job_that_may_run(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        queue = queue_of(database)
        assert await queue.counts() == ({"failed": 0, "pending": 0, "processing": 0, "retrying": 0}, 0.0)
        await fill(database, "retrying", 1, due_s=-60)
        assert (await queue.counts())[1] == 0.0
        await fill(database, "completed", 500, due_s=900)
        await fill(database, "failed", 4, due_s=800)
        await fill(database, "processing", 3, due_s=700)
        await fill(database, "pending", COUNTED_JOBS, due_s=60)
        await fill(database, "retrying", 2, due_s=200)
        counts, age_s = await queue.counts()
        assert counts == {"failed": 4, "pending": COUNTED_JOBS, "processing": 3, "retrying": 3}
        assert age_s == pytest.approx(200, abs=30)


async def test_count_of_a_long_queue_is_an_estimate_and_never_less_than_what_was_counted(
    stack: Stack,
) -> None:
    async with scratch_database(stack) as (database, _):
        queue = queue_of(database)
        waiting = 3 * COUNTED_JOBS
        await fill(database, "completed", 1000)
        await execute(database, "ANALYZE scratch_jobs")
        await fill(database, "pending", waiting, due_s=60)
        await fill(database, "failed", 5)
        counts, _ = await queue.counts()
        assert counts["pending"] > COUNTED_JOBS
        assert counts["failed"] == 5
        await execute(database, "ANALYZE scratch_jobs")
        counts, age_s = await queue.counts()
        assert counts["pending"] == pytest.approx(waiting, rel=0.2)
        assert (counts["failed"], counts["retrying"]) == (5, 0)
        assert age_s == pytest.approx(60, abs=30)


async def test_failure_is_published_even_if_its_handler_fails_and_its_message_is_unprintable(
    stack: Stack,
) -> None:
    async def fail(*_: object) -> None:
        raise ValueError("the handler of failures fails too")

    async def finish(*_: object) -> None:
        raise AssertionError

    async with scratch_database(stack, max_retries=0) as (database, settings):
        async with running_workers(database, settings, JobKind("add", Sum, finish, fail)):
            job_id = await enqueue(database, 1, fault="raise unprintable")
            assert await wait_until_ended(database, job_id) == ("failed", "RuntimeError", 0)
        ((message,),) = await rows(database, "SELECT error_message FROM scratch_jobs")
        assert message.startswith("\ufffd?")
        assert (await topics(database))[-1] == "job-failed"


async def test_result_is_stored_once_the_database_is_available_again(stack: Stack) -> None:
    async with scratch_database(stack) as (database, settings):
        failures = 0

        async def finish(task: Sum, result: float, job: Job, transaction: Transaction) -> None:
            nonlocal failures
            if failures < 2:
                failures += 1
                ((pid,),) = await transaction.session.execute(text("SELECT pg_backend_pid()"))
                await rows(database, f"SELECT pg_terminate_backend({pid})")
            await store_sum(task, result, job, transaction)

        async with running_workers(database, settings, JobKind("add", Sum, finish)):
            job_id = await enqueue(database, 1, 2)
            assert await wait_until_ended(database, job_id) == ("completed", None, 0)
        assert failures == 2
        assert await rows(database, "SELECT sum FROM sums") == [(3,)]
