"""Builds the objects of the service: use cases per transaction, the engine per child process."""

from uuid import UUID

from phonograph_runtime.child import EngineTasks
from phonograph_runtime.database import Transaction
from phonograph_runtime.objects import ObjectStore
from phonograph_tracklist.config import Settings
from phonograph_tracklist.constants import TRACKLIST
from phonograph_tracklist.services.tracklist import TracklistService
from phonograph_tracklist.storage.catalog import SqlCatalog


def tracklist_service(transaction: Transaction) -> TracklistService:
    """Return the use cases on one transaction."""
    return TracklistService(jobs=transaction, publisher=transaction, catalog=sql_catalog(transaction))


def sql_catalog(transaction: Transaction) -> SqlCatalog:
    """Return the catalog on one transaction; its rows carry the correlation id of the transaction's cause."""
    return SqlCatalog(transaction.session, correlation_id=_correlation_id(transaction))


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """Return the ids of all published recordings and of their current tracklists, with their versions."""
    return await sql_catalog(transaction).versions()


def create_engine(settings_json: str) -> EngineTasks:
    """Return the tasks of the engine. Called in the child process."""
    from phonograph_tracklist.inference.engine import TracklistEngine

    settings = Settings.model_validate_json(settings_json)
    engine = TracklistEngine(ObjectStore(settings.object_store_url))
    return {TRACKLIST: engine.find_tracklist}


def _correlation_id(transaction: Transaction) -> UUID | None:
    """Return the id that joins all rows of a request (K-07), or None if the producer's id is not a UUID."""
    try:
        return UUID(transaction.cause.correlation_id) if transaction.cause else None
    except ValueError:
        return None
