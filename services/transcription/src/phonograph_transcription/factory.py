"""Builds the objects of the service: use cases per transaction, the engine per child process."""

from phonograph_runtime.child import EngineTasks
from phonograph_runtime.database import Transaction
from phonograph_runtime.objects import ObjectStore
from phonograph_transcription.config import ModelSettings, Settings
from phonograph_transcription.constants import MERGE, TRANSCRIBE
from phonograph_transcription.domain.engines import WhisperOptions
from phonograph_transcription.inference.models import ModelFolder
from phonograph_transcription.services.transcription import TranscriptionService
from phonograph_transcription.storage.transcripts import SqlTranscriptStore


def transcription_service(transaction: Transaction) -> TranscriptionService:
    """Return the use cases on one transaction."""
    return TranscriptionService(
        jobs=transaction, publisher=transaction, store=SqlTranscriptStore(transaction.session)
    )


def model_folder() -> ModelFolder:
    """Return the folder of Whisper models that the settings name."""
    return ModelFolder(ModelSettings().models)


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """Return the ids of all transcripts with their versions."""
    return {"transcript": await SqlTranscriptStore(transaction.session).versions()}


def create_engine(settings_json: str) -> EngineTasks:
    """Return the tasks of the engine. Called in the child process."""
    from phonograph_transcription.inference.engine import TranscriptionEngine
    from phonograph_transcription.inference.selection import select_transcriber

    settings = Settings.model_validate_json(settings_json)
    options = WhisperOptions(
        model=settings.model,
        device=settings.device,
        compute_type=settings.compute_type,
        batch_size=settings.whisper_batch_size,
        beam_size=settings.beam_size,
    )
    engine = TranscriptionEngine(
        ObjectStore(settings.object_store_url),
        lambda: select_transcriber(settings.engine, options, ModelFolder(settings.models)),
        settings.model_dump(mode="json", include={"engine", *WhisperOptions.__dataclass_fields__}),
    )
    return {TRANSCRIBE: engine.transcribe, MERGE: engine.merge}
