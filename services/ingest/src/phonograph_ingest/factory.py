"""Builds the objects of the service: use cases per transaction, the engine per child process."""

from phonograph_ingest.config import Settings
from phonograph_ingest.constants import INGEST
from phonograph_ingest.services.ingest import IngestService
from phonograph_ingest.storage.media import SqlMediaRegistry
from phonograph_runtime.child import EngineTasks
from phonograph_runtime.database import Transaction
from phonograph_runtime.objects import ObjectStore


def ingest_service(transaction: Transaction) -> IngestService:
    """Return the use cases on one transaction."""
    return IngestService(
        jobs=transaction, publisher=transaction, registry=SqlMediaRegistry(transaction.session)
    )


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """Return the ids of all ready files with their versions."""
    return {"media": await SqlMediaRegistry(transaction.session).versions()}


def create_engine(settings_json: str) -> EngineTasks:
    """Return the tasks of the engine. Called in the child process."""
    from phonograph_ingest.inference.engine import IngestEngine

    settings = Settings.model_validate_json(settings_json)
    engine = IngestEngine(ObjectStore(settings.object_store_url))
    return {INGEST: engine.ingest}
