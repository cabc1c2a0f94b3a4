"""Handlers of the jobs that have ended."""

from phonograph_runtime.database import Transaction
from phonograph_runtime.jobs import JobKind
from phonograph_runtime.ports import Job, JobFailure
from phonograph_tracklist.constants import TRACKLIST
from phonograph_tracklist.domain.results import CatalogResult
from phonograph_tracklist.domain.tasks import TracklistTask
from phonograph_tracklist.factory import tracklist_service


async def tracklist_completed(
    task: TracklistTask, result: CatalogResult, job: Job, transaction: Transaction
) -> None:
    """Store and publish the tracklist and the rename proposal of a recording."""
    await tracklist_service(transaction).complete_tracklist(job, task, result)


async def tracklist_failed(
    task: TracklistTask, failure: JobFailure, _job: Job, transaction: Transaction
) -> None:
    """Mark a recording as failed."""
    await tracklist_service(transaction).fail_tracklist(task, failure)


TRACKLIST_JOB = JobKind(TRACKLIST, TracklistTask, tracklist_completed, tracklist_failed)
