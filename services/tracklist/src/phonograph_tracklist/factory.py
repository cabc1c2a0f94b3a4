"""Builds everything: the service's own objects per transaction, the engines per child process."""

from uuid import UUID

from phonograph_runtime.child import Engines
from phonograph_runtime.database import Transaction
from phonograph_runtime.jobs import Job
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.worker import JobKind
from phonograph_tracklist.config import Settings
from phonograph_tracklist.constants import TRACKLIST
from phonograph_tracklist.domain.catalogue import Catalogued, CatalogueTask
from phonograph_tracklist.services.catalogue import CatalogueService
from phonograph_tracklist.storage.catalogue import SqlCatalogue


def catalogue_service(transaction: Transaction) -> CatalogueService:
    """The use cases, on one transaction."""
    return CatalogueService(jobs=transaction, publisher=transaction, catalogue=_catalogue(transaction))


def tracklist_job() -> JobKind:
    """What becomes of a file that was looked at."""

    async def finish(transaction: Transaction, job: Job, found: Catalogued) -> None:
        await catalogue_service(transaction).finish(job, CatalogueTask.model_validate(job.task), found)

    async def fail(transaction: Transaction, job: Job, _reason: str, _message: str) -> None:
        await catalogue_service(transaction).fail(CatalogueTask.model_validate(job.task))

    return JobKind(CatalogueTask, finish, fail)


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """What the service holds."""
    return await _catalogue(transaction).versions()


async def refresh_stats(transaction: Transaction) -> None:
    """Take the monthly counts anew."""
    await _catalogue(transaction).refresh_stats()


def create_engines(settings_json: str) -> Engines:
    """The engines of the child process."""
    from phonograph_tracklist.files.reader import LocalCatalogueReader

    settings = Settings.model_validate_json(settings_json)
    reader = LocalCatalogueReader(ObjectStore(settings.object_store_url))
    return {TRACKLIST: reader.read}


def _catalogue(transaction: Transaction) -> SqlCatalogue:
    return SqlCatalogue(transaction.session, correlation_id=_correlation_id(transaction))


def _correlation_id(transaction: Transaction) -> UUID | None:
    """The id that joins all rows of a request (K-07); producers outside may use other words than UUIDs."""
    try:
        return UUID(transaction.cause.correlation_id) if transaction.cause else None
    except ValueError:
        return None
