"""Builds the objects of the service: use cases per transaction, the engine per child process."""

from phonograph_diarization.config import Settings
from phonograph_diarization.constants import DIARIZE
from phonograph_diarization.domain.engines import PyannoteOptions
from phonograph_diarization.services.diarization import DiarizationService
from phonograph_diarization.storage.meetings import SqlMeetingStore
from phonograph_diarization.storage.voices import SqlKnownVoiceStore
from phonograph_runtime.child import EngineTasks
from phonograph_runtime.database import Transaction
from phonograph_runtime.objects import ObjectStore


def diarization_service(transaction: Transaction) -> DiarizationService:
    """Return the use cases on one transaction."""
    return DiarizationService(
        jobs=transaction,
        publisher=transaction,
        meetings=SqlMeetingStore(transaction.session),
        known_voices=SqlKnownVoiceStore(transaction.session),
    )


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """Return the ids of all speakers with their versions."""
    return {"speakers": await SqlMeetingStore(transaction.session).speaker_versions()}


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
        ObjectStore(settings.object_store_url), lambda: select_diarizer(settings.engine, options)
    )
    return {DIARIZE: engine.diarize}
