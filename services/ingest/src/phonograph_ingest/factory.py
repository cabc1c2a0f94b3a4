"""Builds everything: the service's own objects per transaction, the engines per child process."""

from phonograph_ingest.config import Settings
from phonograph_ingest.constants import INGEST
from phonograph_ingest.domain.media import Intake, Rejection, canonical_uri, display_name
from phonograph_ingest.domain.request import IngestTask
from phonograph_ingest.services.ingest import IngestService
from phonograph_ingest.storage.media import SqlMediaRegistry
from phonograph_runtime.child import Engines
from phonograph_runtime.database import Transaction
from phonograph_runtime.jobs import Job
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.worker import JobKind


def ingest_service(transaction: Transaction) -> IngestService:
    """The use cases, on one transaction."""
    return IngestService(
        jobs=transaction, publisher=transaction, registry=SqlMediaRegistry(transaction.session)
    )


def ingest_job() -> JobKind:
    """What becomes of a file that was read."""

    async def finish(transaction: Transaction, job: Job, outcome: Intake | Rejection) -> None:
        await ingest_service(transaction).finish(job, IngestTask.model_validate(job.task), outcome)

    async def fail(transaction: Transaction, job: Job, reason: str, message: str) -> None:
        task = IngestTask.model_validate(job.task)
        rejection = Rejection(canonical_uri(task.uri), display_name(task.uri), reason, message)
        await ingest_service(transaction).reject(job, task, rejection)

    return JobKind(IngestTask, finish, fail)


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """What the service holds."""
    return {"media": await SqlMediaRegistry(transaction.session).versions()}


def create_engines(settings_json: str) -> Engines:
    """The engines of the child process."""
    from phonograph_ingest.files.reader import LocalFileReader

    settings = Settings.model_validate_json(settings_json)
    reader = LocalFileReader(ObjectStore(settings.object_store_url))
    return {INGEST: reader.read}
