"""Builds the objects of the service: use cases per transaction, the engine per child process."""

from phonograph_diarization.config import Settings
from phonograph_diarization.constants import DIARIZE
from phonograph_diarization.domain.engines import PyannoteOptions
from phonograph_diarization.services.diarization import DiarizationService
from phonograph_diarization.services.identification import IdentificationService
from phonograph_diarization.services.people import PeopleService
from phonograph_diarization.storage.exports import ObjectPersonExports
from phonograph_diarization.storage.meetings import SqlMeetingStore
from phonograph_diarization.storage.people import SqlPeopleStore
from phonograph_models import ModelCache
from phonograph_runtime.child import EngineTasks
from phonograph_runtime.database import Transaction
from phonograph_runtime.objects import ObjectStore


def diarization_service(transaction: Transaction) -> DiarizationService:
    """Return the use cases on one transaction."""
    return DiarizationService(
        jobs=transaction,
        publisher=transaction,
        meetings=SqlMeetingStore(transaction.session),
        identification=IdentificationService(store=_people_store(transaction), publisher=transaction),
    )


def people_service(transaction: Transaction, objects: ObjectStore) -> PeopleService:
    """Return the use cases about people on one transaction.

    Args:
        transaction: The transaction.
        objects: Where documents for people are stored.
    """
    store = _people_store(transaction)
    return PeopleService(
        store=store,
        publisher=transaction,
        identification=IdentificationService(store=store, publisher=transaction),
        exports=ObjectPersonExports(objects),
    )


def _people_store(transaction: Transaction) -> SqlPeopleStore:
    event_id = transaction.cause.event_id if transaction.cause else None
    return SqlPeopleStore(transaction.session, event_id=event_id)


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """Return the ids of all speakers and people with their versions."""
    return {
        "speakers": await SqlMeetingStore(transaction.session).speaker_versions(),
        "person": await SqlPeopleStore(transaction.session).person_versions(),
    }


def create_engine(settings_json: str) -> EngineTasks:
    """Return the tasks of the engine. Called in the child process."""
    from phonograph_diarization.inference.engine import DiarizationEngine
    from phonograph_diarization.inference.selection import select_diarizer

    settings = Settings.model_validate_json(settings_json)
    token = settings.pyannote_token
    options = PyannoteOptions(
        model=settings.pyannote_model,
        token=None if token is None else token.get_secret_value(),
        device=settings.device,
    )
    engine = DiarizationEngine(
        ObjectStore(settings.object_store_url),
        lambda choice: select_diarizer(
            choice, options, ModelCache(settings.models), threads=settings.threads
        ),
        settings.engine,
    )
    return {DIARIZE: engine.diarize}
