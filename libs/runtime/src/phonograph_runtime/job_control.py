"""Retry and cancellation of jobs on request."""

from typing import Any

from phonograph_events import JobCancelRequested, JobRetryRequested
from phonograph_runtime import metrics
from phonograph_runtime.database import Transaction
from phonograph_runtime.errors import PermanentError
from phonograph_runtime.jobs import CANCELLED, JobKind, JobQueue


class JobControl:
    """Handles the requests about the jobs of one service."""

    def __init__(self, service: str, queue: JobQueue, kinds: dict[str, JobKind[Any, Any]]) -> None:
        """Create the handlers.

        Args:
            service: Name of the service; requests for others are ignored.
            queue: Its jobs.
            kinds: The kinds of jobs by name; may be filled later.
        """
        self._service = service
        self._queue = queue
        self._kinds = kinds

    async def retry_requested(self, event: JobRetryRequested, transaction: Transaction) -> None:
        """Grant a failed job new attempts."""
        if event.service == self._service:
            await self._queue.retry(transaction, event.job_id)

    async def cancel_requested(self, event: JobCancelRequested, transaction: Transaction) -> None:
        """Cancel an unfinished job and call the handler of its failure."""
        if event.service != self._service:
            return
        job = await self._queue.cancel(transaction, event.job_id)
        if job is None:
            return
        metrics.JOBS_FINISHED.labels(job.kind, CANCELLED.reason).inc()
        kind = self._kinds.get(job.kind)
        if kind is None or kind.failed is None:
            return
        try:
            task = kind.parse_task(job)
        except PermanentError:
            return  # a task that cannot be read is cancelled all the same
        await kind.failed(task, CANCELLED, job, transaction.with_cause(job.cause))
