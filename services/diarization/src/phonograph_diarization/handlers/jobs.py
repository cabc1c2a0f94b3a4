"""Handlers of the jobs that have ended."""

from phonograph_diarization.constants import DIARIZE
from phonograph_diarization.domain.results import StoredDiarization
from phonograph_diarization.domain.tasks import DiarizeTask
from phonograph_diarization.factory import diarization_service
from phonograph_events import Facts
from phonograph_runtime.database import Transaction
from phonograph_runtime.jobs import JobKind
from phonograph_runtime.ports import Job, JobFailure


async def diarize_completed(
    task: DiarizeTask, stored: StoredDiarization, job: Job, transaction: Transaction
) -> None:
    """Store and publish the speakers of a recording."""
    await diarization_service(transaction).complete_diarization(job, task, stored)


async def diarize_failed(task: DiarizeTask, failure: JobFailure, _job: Job, transaction: Transaction) -> None:
    """Mark the meeting of a recording failed."""
    await diarization_service(transaction).fail_diarization(task, failure)


def _used(stored: StoredDiarization) -> Facts:
    return stored.used


DIARIZE_JOB = JobKind(DIARIZE, DiarizeTask, diarize_completed, diarize_failed, used=_used)
