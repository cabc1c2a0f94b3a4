"""The job table: claims with leases, and completions that a worker without the lease cannot make."""

import math
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from phonograph_events import Cause, JobFailed, JobProgressed, JobStatus, JobSummary
from phonograph_runtime.database import Database, Transaction, cause_from_json
from phonograph_runtime.errors import LeaseLostError
from phonograph_runtime.tables import JobColumns, about_jobs

if TYPE_CHECKING:
    import asyncpg

CANCELLED, CANCELLED_MESSAGE = "cancelled", "Somebody cancelled it."
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
    error_reason = NULL, error_message = NULL, {_FREE}"""
_GIVEN_UP = f"status = 'failed', completed_at = now(), error_reason = $3, error_message = $4, {_FREE}"
_POSTPONED = f"""status = 'retrying', run_at = now() + $5::interval,
    error_reason = $3, error_message = $4, {_FREE}"""
_RELEASED = f"status = 'pending', progress = 0, {_FREE}"


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job."""

    id: UUID
    media_id: UUID
    kind: str
    task: dict[str, Any]
    attempt: int
    max_retries: int
    waited_s: float
    lease_token: UUID | None
    service: str
    cause: Cause | None
    lease_expired: bool = False
    """Whether the worker that had it before died or fell silent."""
    seconds: float | None = None
    """Time in the engine, once it is done."""

    @property
    def exhausted(self) -> bool:
        """Whether all attempts were used up by workers that died."""
        return self.attempt > self.max_retries + 1

    def summary(
        self, *, engine: str | None = None, model: str | None = None, reason: str | None = None
    ) -> JobSummary:
        """The job as results tell of it."""
        return JobSummary(
            job_id=self.id,
            service=self.service,
            engine=engine,
            model=model,
            seconds=self.seconds,
            waited_s=self.waited_s,
            attempt=self.attempt,
            reason=reason,
        )


class JobQueue:
    """Claims, renews, finishes and fails the jobs of one service.

    The next job is the one with the highest priority; among these the one whose owner's turn it is. Only the
    database's clock counts: a worker whose own is wrong harms nobody.
    """

    def __init__(
        self, database: Database, table: type[JobColumns], *, lease: timedelta, retry_delay: timedelta
    ) -> None:
        self._database = database
        self._table = table
        self._lease = lease
        self._retry_delay = retry_delay

    async def claim(self) -> Job | None:
        """Take the next job.

        A lease that ran out counts as an attempt; `Job.exhausted` tells that it was the last one.
        """
        async with self._database.transaction() as transaction:
            rows = await transaction.fetch(about_jobs(self._table, _CLAIM), uuid4(), self._lease)
            if not rows:
                return None
            job = self._to_job(rows[0])
            await transaction.caused_by(job.cause).publish(self._progressed(job, 0.0, "started"))
            return job

    async def due_s(self) -> float:
        """Seconds until a job that waits for its time, or for its worker, is free; infinite without one."""
        async with self._database.transaction() as transaction:
            ((wait_s,),) = await transaction.fetch(about_jobs(self._table, _DUE))
        return math.inf if wait_s is None else float(wait_s)

    async def renew(self, job: Job, progress: float, stage: str) -> None:
        """Keep the lease and tell how far the work is.

        Raises:
            LeaseLostError: somebody else has the job.
        """
        async with self._database.transaction(job.cause) as transaction:
            await self._change(transaction, job, _RENEWED, self._lease, min(max(progress, 0.0), 1.0))
            await transaction.publish(self._progressed(job, progress, stage))

    async def complete(self, transaction: Transaction, job: Job) -> None:
        """Mark the job done inside the transaction that holds its results. Raises as `renew`."""
        await self._change(transaction, job, _COMPLETED, job.seconds)

    async def fail(
        self, transaction: Transaction, job: Job, reason: str, message: str, *, permanent: bool
    ) -> bool:
        """Plan another attempt, or give up and say so; whether that was final. Raises as `renew`."""
        final = permanent or job.attempt > job.max_retries
        if final:
            await self._change(transaction, job, _GIVEN_UP, reason[:100], message)
        else:
            delay = self._retry_delay * 2 ** (job.attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311  # jitter
            await self._change(transaction, job, _POSTPONED, reason[:100], message, delay)
        await transaction.publish(self._failed(job, reason, message, final=final))
        return final

    async def release(self, job: Job) -> None:
        """Give the job back untouched, for a service that stops. Raises as `renew`."""
        async with self._database.transaction(job.cause) as transaction:
            await self._change(transaction, job, _RELEASED)

    async def retry(self, transaction: Transaction, job_id: UUID) -> bool:
        """Give a failed job a fresh set of attempts; whether there was one. Attempts go on counting."""
        return bool(await transaction.fetch(about_jobs(self._table, _RETRY), job_id, transaction.max_retries))

    async def cancel(self, transaction: Transaction, job_id: UUID) -> Job | None:
        """Give an unfinished job up for good, with the reason `cancelled`; a worker at it loses its lease."""
        rows = await transaction.fetch(about_jobs(self._table, _CANCEL), job_id, CANCELLED, CANCELLED_MESSAGE)
        if not rows:
            return None
        job = self._to_job(rows[0])
        await transaction.publish(self._failed(job, CANCELLED, CANCELLED_MESSAGE, final=True))
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
            rows = await transaction.fetch(about_jobs(self._table, _COUNTS), statuses, COUNTED_JOBS)
            for status, count, age_s in rows:
                counts[status] = count
                if count > COUNTED_JOBS:
                    counts[status] = max(count, await self._estimate(transaction, status))
                if count and status in {JobStatus.PENDING, JobStatus.RETRYING}:
                    ages_s.append(age_s)
        return counts, max(ages_s)

    async def _estimate(self, transaction: Transaction, status: str) -> int:
        """Return the planner's estimate of the jobs that have a status."""
        ((plan,),) = await transaction.fetch(about_jobs(self._table, _ESTIMATE), status)
        return int(plan[0]["Plan"]["Plan Rows"])

    async def _change(self, transaction: Transaction, job: Job, change: str, *values: Any) -> None:
        """Change a claimed job, unless its lease has passed to another worker."""
        if not await transaction.fetch(
            about_jobs(self._table, _FENCED, change), job.id, job.lease_token, *values
        ):
            raise LeaseLostError(str(job.id))

    def _progressed(self, job: Job, progress: float, stage: str) -> JobProgressed:
        return JobProgressed(
            media_id=job.media_id,
            job_id=job.id,
            service=job.service,
            status=JobStatus.PROCESSING,
            progress=min(max(progress, 0.0), 1.0),
            stage=stage,
            attempt=job.attempt,
        )

    def _failed(self, job: Job, reason: str, message: str, *, final: bool) -> JobFailed:
        return JobFailed(
            media_id=job.media_id,
            job_id=job.id,
            service=job.service,
            kind=job.kind,
            reason=reason,
            message=message,
            attempt=job.attempt,
            final=final,
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
        )
