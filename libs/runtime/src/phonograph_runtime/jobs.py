"""The job table: claims with leases, and completions that a worker without the lease cannot make."""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from types import MappingProxyType
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, TextClause, and_, case, extract, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import TextualSelect

from phonograph_events import Cause, JobFailed, JobProgressed, JobStatus, JobSummary
from phonograph_runtime.database import Database, Transaction, cause_from_json
from phonograph_runtime.errors import LeaseLostError
from phonograph_runtime.tables import OPEN, JobColumns, table_name

CANCELLED, CANCELLED_MESSAGE = "cancelled", "Somebody cancelled it."
LEASE_EXPIRED = "lease_expired"

_RENEWED = "lease_expires_at = now() + CAST(:lease AS interval), progress = :progress"
_FREE = "lease_token = NULL, lease_expires_at = NULL"
_COMPLETED = f"""status = 'completed', completed_at = now(), processing_time = :seconds, progress = 1,
    error_reason = NULL, error_message = NULL, {_FREE}"""
_GIVEN_UP = f"""status = 'failed', completed_at = now(),
    error_reason = :reason, error_message = :message, {_FREE}"""
_POSTPONED = f"""status = 'retrying', run_at = now() + CAST(:delay AS interval),
    error_reason = :reason, error_message = :message, {_FREE}"""
_RELEASED = f"status = 'pending', progress = 0, {_FREE}"


@cache
def _claim(table: str) -> TextualSelect:
    """Take the next job; one that was tried before, or whose worker fell silent, has used up an attempt."""
    return text(f"""
        UPDATE {table} SET
            status = 'processing', started_at = now(), progress = 0, updated_at = now(),
            lease_token = :token, lease_expires_at = now() + CAST(:lease AS interval),
            retry_count = retry_count + CASE status WHEN 'pending' THEN 0 ELSE 1 END,
            error_reason = CASE status WHEN 'processing' THEN '{LEASE_EXPIRED}'
                                       ELSE nullif(error_reason, '{LEASE_EXPIRED}') END
        WHERE id = (
            SELECT id FROM {table}
            WHERE {OPEN}
              AND CASE status WHEN 'processing' THEN lease_expires_at < now() ELSE run_at <= now() END
            ORDER BY priority DESC, turn, id
            LIMIT 1 FOR UPDATE SKIP LOCKED)
        RETURNING id, media_file_id, kind, task, cause, retry_count, max_retries, lease_token, error_reason,
                  created_at, started_at
    """).columns(task=JSONB, cause=JSONB)  # noqa: S608  # the name of a mapped table


@cache
def _fenced(table: str, change: str) -> TextClause:
    """Change a job whose lease is still held under this token."""
    return text(f"""
        UPDATE {table} SET {change}, updated_at = now()
        WHERE id = :id AND lease_token = :token AND status = 'processing' RETURNING id
    """)  # noqa: S608  # the name of a mapped table


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
        self._name = table_name(table)
        self._lease = lease
        self._retry_delay = retry_delay

    async def claim(self) -> Job | None:
        """Take the next job.

        A lease that ran out counts as an attempt; `Job.exhausted` tells that it was the last one.
        """
        about = {"token": uuid4(), "lease": self._lease}
        async with self._database.transaction() as transaction:
            row = (await transaction.session.execute(_claim(self._name), about)).one_or_none()
            if row is None:
                return None
            job = self._to_job(row)
            await transaction.caused_by(job.cause).publish(self._progressed(job, 0.0, "started"))
            return job

    async def due_s(self) -> float:
        """Seconds until a job that waits for its time, or for its worker, is free; infinite without one."""
        table = self._table
        due = case((text("status = 'processing'"), table.lease_expires_at), else_=table.run_at)
        async with self._database.transaction() as transaction:
            wait = select(extract("epoch", func.min(due) - func.now())).where(OPEN)
            wait_s = await transaction.session.scalar(wait)
        return math.inf if wait_s is None else float(wait_s)

    async def renew(self, job: Job, progress: float, stage: str) -> None:
        """Keep the lease and tell how far the work is.

        Raises:
            LeaseLostError: somebody else has the job.
        """
        async with self._database.transaction(job.cause) as transaction:
            about = {"lease": self._lease, "progress": min(max(progress, 0.0), 1.0)}
            await self._change(transaction, job, _RENEWED, about)
            await transaction.publish(self._progressed(job, progress, stage))

    async def complete(self, transaction: Transaction, job: Job) -> None:
        """Mark the job done inside the transaction that holds its results. Raises as `renew`."""
        await self._change(transaction, job, _COMPLETED, {"seconds": job.seconds})

    async def fail(
        self, transaction: Transaction, job: Job, reason: str, message: str, *, permanent: bool
    ) -> bool:
        """Plan another attempt, or give up and say so; whether that was final. Raises as `renew`."""
        final = permanent or job.attempt > job.max_retries
        about: dict[str, Any] = {"reason": reason[:100], "message": message}
        if final:
            await self._change(transaction, job, _GIVEN_UP, about)
        else:
            delay = self._retry_delay * 2 ** (job.attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311  # jitter
            await self._change(transaction, job, _POSTPONED, about | {"delay": delay})
        await transaction.publish(self._failed(job, reason, message, final=final))
        return final

    async def release(self, job: Job) -> None:
        """Give the job back untouched, for a service that stops. Raises as `renew`."""
        async with self._database.transaction(job.cause) as transaction:
            await self._change(transaction, job, _RELEASED)

    async def retry(self, transaction: Transaction, job_id: UUID) -> bool:
        """Give a failed job a fresh set of attempts; whether there was one. Attempts go on counting."""
        table = self._table
        statement = (
            update(table)
            .where(table.id == job_id, table.status == JobStatus.FAILED.value)
            .values(
                status=JobStatus.RETRYING.value,
                max_retries=table.retry_count + 1 + transaction.max_retries,
                run_at=func.now(),
                completed_at=None,
            )
            .returning(table.id)
        )
        return (await transaction.session.execute(statement)).scalar_one_or_none() is not None

    async def cancel(self, transaction: Transaction, job_id: UUID) -> Job | None:
        """Give an unfinished job up for good, with the reason `cancelled`; a worker at it loses its lease."""
        table = self._table
        found = select(table).where(table.id == job_id, OPEN).with_for_update()
        row: JobColumns | None = (await transaction.session.scalars(found)).one_or_none()
        if row is None:
            return None
        job = self._to_job(row)
        row.status = JobStatus.FAILED.value
        row.completed_at = func.now()
        row.error_reason, row.error_message = CANCELLED, CANCELLED_MESSAGE
        row.lease_token = row.lease_expires_at = None
        await transaction.publish(self._failed(job, CANCELLED, CANCELLED_MESSAGE, final=True))
        return job

    async def counts(self) -> tuple[dict[str, int], float]:
        """Jobs by status, completed ones left out, and the age in seconds of the oldest that may run."""
        table = self._table
        not_completed = text("status <> 'completed'")
        async with self._database.transaction() as transaction:
            rows = await transaction.session.execute(
                select(table.status, func.count()).where(not_completed).group_by(table.status)
            )
            counts = {status: count for status, count in rows}  # noqa: C416  # rows are not pairs to mypy
            waits = and_(OPEN, text("status <> 'processing'"))
            age = await transaction.session.scalar(
                select(extract("epoch", func.now() - func.min(table.run_at))).where(waits)
            )
        return counts, max(float(age or 0.0), 0.0)

    async def _change(
        self, transaction: Transaction, job: Job, change: str, about: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Change a claimed job, unless its lease has passed to another worker."""
        held = {"id": job.id, "token": job.lease_token}
        changed = await transaction.session.execute(_fenced(self._name, change), {**held, **about})
        if changed.one_or_none() is None:
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

    def _to_job(self, row: JobColumns | Row[Any]) -> Job:
        started_at = row.started_at or row.created_at
        return Job(
            id=row.id,
            media_id=row.media_file_id,
            kind=row.kind,
            task=row.task,
            attempt=row.retry_count + 1,
            max_retries=row.max_retries,
            waited_s=max((started_at - row.created_at).total_seconds(), 0.0),
            lease_token=row.lease_token,
            service=self._database.source,
            cause=cause_from_json(row.cause),
            lease_expired=row.error_reason == LEASE_EXPIRED,
        )
