"""Handlers of the jobs that have ended."""

from phonograph_events import Facts
from phonograph_ingest.constants import ENGINE, INGEST
from phonograph_ingest.domain.media import MediaFile, RejectedFile
from phonograph_ingest.domain.tasks import IngestTask
from phonograph_ingest.factory import ingest_service
from phonograph_runtime.database import Transaction
from phonograph_runtime.jobs import JobKind
from phonograph_runtime.ports import Job, JobFailure


async def ingest_completed(
    task: IngestTask, outcome: MediaFile | RejectedFile, job: Job, transaction: Transaction
) -> None:
    """Register and publish a file, or store and publish its rejection."""
    await ingest_service(transaction).complete_ingest(job, task, outcome)


async def ingest_failed(task: IngestTask, failure: JobFailure, job: Job, transaction: Transaction) -> None:
    """Store and publish the rejection of a file whose job has failed."""
    await ingest_service(transaction).fail_ingest(job, task, failure)


def _used(_outcome: MediaFile | RejectedFile) -> Facts:
    return {"engine": ENGINE}


INGEST_JOB = JobKind(INGEST, IngestTask, ingest_completed, ingest_failed, used=_used)
