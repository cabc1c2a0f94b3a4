"""The job table: claims with leases, and completions that only the holder of the lease can make."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from uuid import UUID, uuid4

from pydantic import BaseModel
from pydantic_core import to_json

from phonograph_events import Facts, JobFailed, JobProgressed, JobStatus
from phonograph_runtime.database import Database, Transaction, cause_from_json
from phonograph_runtime.errors import LeaseLostError, PermanentError
from phonograph_runtime.jitter import jitter
from phonograph_runtime.ports import Job, JobFailure
from phonograph_runtime.tables import JobColumns, job_sql

if TYPE_CHECKING:
    import asyncpg

CANCELLED = JobFailure("cancelled", "Cancelled on request.")
LEASE_EXPIRED = "lease_expired"
COUNTED_JOBS = 50_000
"""Up to this number `JobQueue.counts` counts the jobs of a status one by one, which takes milliseconds."""

_CLAIM = """
    UPDATE {jobs} SET
        status = 'processing', started_at = now(), progress = 0, updated_at = now(),
        lease_token = $1, lease_expires_at = now() + $2::interval,
        retry_count = retry_count + CASE status WHEN 'pending' THEN 0 ELSE 1 END,
        error_reason = CASE status WHEN 'processing' THEN 'lease_expired'
                                   ELSE nullif(error_reason, 'lease_expired') END
    WHERE id = (
        SELECT id FROM {jobs}
        WHERE {open} AND CASE status WHEN 'processing' THEN lease_expires_at < now() ELSE run_at <= now() END
        ORDER BY priority DESC, turn, id
        LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING *
"""
_RETRY = """
    UPDATE {jobs} SET status = 'retrying', run_at = now(), completed_at = NULL, updated_at = now(),
        max_retries = retry_count + 1 + $2
    WHERE id = $1 AND status = 'failed' RETURNING id
"""
_CANCEL = """
    UPDATE {jobs} SET status = 'failed', completed_at = now(), updated_at = now(),
        error_reason = $2, error_message = $3, lease_token = NULL, lease_expires_at = NULL
    WHERE id = $1 AND {open} RETURNING *
"""
_DUE = """
    SELECT extract(epoch FROM
        min(CASE status WHEN 'processing' THEN lease_expires_at ELSE run_at END) - now())
    FROM {jobs} WHERE {open}
"""
_COUNTS = """
    SELECT status, count, age_s
    FROM unnest($1::text[]) AS each (status), LATERAL (
        SELECT count(*), CAST(extract(epoch FROM now() - min(run_at)) AS float) AS age_s
        FROM (SELECT run_at FROM {jobs} WHERE status = each.status AND status <> 'completed'
              ORDER BY run_at LIMIT $2::int + 1) AS oldest
    ) AS found
"""
"""The order makes the planner read the index (status, run_at), even where its statistics are stale."""
_ESTIMATE = "EXPLAIN (FORMAT JSON) SELECT FROM {jobs} WHERE status = $1"
_FENCED = """
    UPDATE {jobs} SET {change}, updated_at = now()
    WHERE id = $1 AND lease_token = $2 AND status = 'processing' RETURNING id
"""
_FREE = "lease_token = NULL, lease_expires_at = NULL"
_RENEWED = "lease_expires_at = now() + $3::interval, progress = $4"
_COMPLETED = f"""status = 'completed', completed_at = now(), processing_time = $3, progress = 1,
    model_config = $4::text::jsonb,
    error_reason = NULL, error_message = NULL, {_FREE}"""
_GIVEN_UP = f"status = 'failed', completed_at = now(), error_reason = $3, error_message = $4, {_FREE}"
_POSTPONED = f"""status = 'retrying', run_at = now() + $5::interval,
    error_reason = $3, error_message = $4, {_FREE}"""
_RELEASED = f"status = 'pending', progress = 0, {_FREE}"


T = TypeVar("T", bound=BaseModel)
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class JobKind(Generic[T, R]):
    """One kind of job: the model of its task, and the handlers of its end.

    A handler runs in the transaction that ends the job: if it raises, the job has not ended.
    """

    name: str
    task: type[T]
    """A task with a field `media` has the length of its recording counted in the metrics of the model."""
    completed: Callable[[T, R, Job, Transaction], Awaitable[None]]
    """Called with the engine's result."""
    failed: Callable[[T, JobFailure, Job, Transaction], Awaitable[None]] | None = None
    """Called when the last attempt has failed, or the job was cancelled."""
    used: Callable[[R], Facts] | None = None
    """Returns what made a result: engine, model and settings; stored with the job and in its events."""

    def parse_task(self, job: Job) -> T:
        """Return the task of a job of this kind.

        Raises:
            PermanentError: With reason `bad_task` if the stored JSON is not a valid task.
        """
        try:
            return self.task.model_validate(job.task)
        except ValueError as error:
            raise PermanentError(
                f"The task of the job is not a valid {self.name!r} task: {error}", reason="bad_task"
            ) from error


class JobQueue:
    """Claims, renews, completes and fails the jobs of one service.

    The next job has the highest priority and, within it, the lowest fair rank; see `Transaction.enqueue`.
    Only the database's clock counts, so that a worker with a wrong clock does no harm.
    """

    def __init__(
        self, database: Database, table: type[JobColumns], *, lease: timedelta, retry_delay: timedelta
    ) -> None:
        """Create the queue.

        Args:
            database: Connections of the service.
            table: Mapped class of its job table.
            lease: Time for which a worker has a job without renewing its lease.
            retry_delay: Pause before the second attempt; it doubles with each one.
        """
        self._database = database
        self._table = table
        self._lease = lease
        self._retry_delay = retry_delay

    async def claim(self) -> Job | None:
        """Return the next job with a new lease, or None if no job may run.

        A job whose lease expired is claimed too, which counts as an attempt; `Job.is_exhausted` is true if
        that attempt was the last one.
        """
        async with self._database.transaction() as transaction:
            rows = await transaction.fetch(job_sql(self._table, _CLAIM), uuid4(), self._lease)
            if not rows:
                return None
            job = self._to_job(rows[0])
            await transaction.with_cause(job.cause).publish(self._progressed(job, 0.0, "started"))
            return job

    async def due_s(self) -> float:
        """Return the seconds until the next job may be claimed; infinite if there is none."""
        async with self._database.transaction() as transaction:
            ((wait_s,),) = await transaction.fetch(job_sql(self._table, _DUE))
        return math.inf if wait_s is None else float(wait_s)

    async def renew(self, job: Job, progress: float, stage: str) -> None:
        """Extend the lease and publish the progress.

        Args:
            job: A job claimed by the caller.
            progress: Fraction done; clipped to [0, 1].
            stage: Name of the current stage.

        Raises:
            LeaseLostError: If another worker has the job.
        """
        async with self._database.transaction(job.cause) as transaction:
            await self._update_claimed(transaction, job, _RENEWED, self._lease, min(max(progress, 0.0), 1.0))
            await transaction.publish(self._progressed(job, progress, stage))

    async def complete(self, transaction: Transaction, job: Job) -> None:
        """Mark the job completed in the transaction that holds its results. Raises as `renew`."""
        used = to_json(job.used).decode()
        await self._update_claimed(transaction, job, _COMPLETED, job.seconds, used)

    async def fail(self, transaction: Transaction, job: Job, failure: JobFailure, *, permanent: bool) -> bool:
        """Schedule another attempt, or mark the job failed for good. Raises as `renew`.

        Args:
            transaction: Transaction that the change belongs to.
            job: A job claimed by the caller.
            failure: Why the attempt failed.
            permanent: Whether another attempt would fail as well.

        Returns:
            Whether the job has failed for good.
        """
        final = permanent or job.attempt > job.max_retries
        values = failure.reason[:100], failure.message
        if final:
            await self._update_claimed(transaction, job, _GIVEN_UP, *values)
        else:
            delay = self._retry_delay * 2 ** (job.attempt - 1) * jitter(1)
            await self._update_claimed(transaction, job, _POSTPONED, *values, delay)
        await transaction.publish(self._failed(job, failure, final=final))
        return final

    async def release(self, job: Job) -> None:
        """Return the job to the queue as it was, for a service that stops. Raises as `renew`."""
        async with self._database.transaction(job.cause) as transaction:
            await self._update_claimed(transaction, job, _RELEASED)

    async def retry(self, transaction: Transaction, job_id: UUID) -> bool:
        """Grant a failed job new attempts, counted on from the previous ones; return whether it exists."""
        return bool(await transaction.fetch(job_sql(self._table, _RETRY), job_id, transaction.max_retries))

    async def cancel(self, transaction: Transaction, job_id: UUID) -> Job | None:
        """Fail an unfinished job for good with the reason `cancelled`; a worker that has it loses its lease.

        Returns:
            The job, or None if there is no unfinished job with this id.
        """
        rows = await transaction.fetch(
            job_sql(self._table, _CANCEL), job_id, CANCELLED.reason, CANCELLED.message
        )
        if not rows:
            return None
        job = self._to_job(rows[0])
        await transaction.publish(self._failed(job, CANCELLED, final=True))
        return job

    async def counts(self) -> tuple[dict[str, int], float]:
        """Count the jobs by status.

        A count up to `COUNTED_JOBS` is exact. A larger one is the planner's estimate: as old as the last
        ANALYZE of the table, a few percent off, and never below `COUNTED_JOBS`.

        Returns:
            Jobs by each status but `completed`, and for how many seconds the oldest job that may run has
            been due, 0 without one.
        """
        statuses = sorted(set(JobStatus) - {JobStatus.COMPLETED})
        counts: dict[str, int] = {}
        ages_s = [0.0]
        async with self._database.transaction() as transaction:
            rows = await transaction.fetch(job_sql(self._table, _COUNTS), statuses, COUNTED_JOBS)
            for status, count, age_s in rows:
                counts[status] = count
                if count > COUNTED_JOBS:
                    counts[status] = max(count, await self._estimate(transaction, status))
                if count and status in {JobStatus.PENDING, JobStatus.RETRYING}:
                    ages_s.append(age_s)
        return counts, max(ages_s)

    async def _estimate(self, transaction: Transaction, status: str) -> int:
        """Return the planner's estimate of the jobs that have a status."""
        ((plan,),) = await transaction.fetch(job_sql(self._table, _ESTIMATE), status)
        return int(plan[0]["Plan"]["Plan Rows"])

    async def _update_claimed(self, transaction: Transaction, job: Job, change: str, *values: Any) -> None:
        """Update a claimed job, provided that its lease has not passed to another worker."""
        statement = job_sql(self._table, _FENCED, change)
        if not await transaction.fetch(statement, job.id, job.lease_token, *values):
            raise LeaseLostError(f"Another worker has the job {job.id}.")

    def _progressed(self, job: Job, progress: float, stage: str) -> JobProgressed:
        return JobProgressed(
            media_id=job.media_id,
            job_id=job.id,
            service=job.service,
            status=JobStatus.PROCESSING,
            progress=min(max(progress, 0.0), 1.0),
            stage=stage,
            attempt=job.attempt,
            requested=job.requested,
        )

    def _failed(self, job: Job, failure: JobFailure, *, final: bool) -> JobFailed:
        return JobFailed(
            media_id=job.media_id,
            job_id=job.id,
            service=job.service,
            kind=job.kind,
            reason=failure.reason,
            message=failure.message,
            attempt=job.attempt,
            final=final,
            requested=job.requested,
        )

    def _to_job(self, row: "asyncpg.Record") -> Job:
        started_at = row["started_at"] or row["created_at"]
        return Job(
            id=row["id"],
            media_id=row["media_file_id"],
            kind=row["kind"],
            task=row["task"],
            attempt=row["retry_count"] + 1,
            max_retries=row["max_retries"],
            waited_s=max((started_at - row["created_at"]).total_seconds(), 0.0),
            lease_token=row["lease_token"],
            service=self._database.source,
            cause=cause_from_json(row["cause"]),
            lease_expired=row["error_reason"] == LEASE_EXPIRED,
            requested=row["processing_options"],
        )
