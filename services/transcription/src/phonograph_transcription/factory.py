"""Builds the objects of the service: use cases per transaction, the engine per child process."""

from phonograph_models import ModelCache
from phonograph_runtime.child import EngineTasks
from phonograph_runtime.database import Transaction
from phonograph_runtime.objects import ObjectStore
from phonograph_transcription.config import Settings
from phonograph_transcription.constants import ENHANCE, MERGE, TRANSCRIBE
from phonograph_transcription.domain.engines import EnginePlan, WhisperOptions
from phonograph_transcription.services.enhancement import EnhancementService
from phonograph_transcription.services.exports import ExportService
from phonograph_transcription.services.scoring import ScoringService
from phonograph_transcription.services.transcription import TranscriptionService
from phonograph_transcription.storage.enhancements import SqlEnhancementStore
from phonograph_transcription.storage.exports import SqlExportStore
from phonograph_transcription.storage.scores import SqlScoreStore
from phonograph_transcription.storage.transcripts import SqlTranscriptStore


def transcription_service(transaction: Transaction) -> TranscriptionService:
    """Return the use cases on one transaction."""
    return TranscriptionService(
        jobs=transaction,
        publisher=transaction,
        store=SqlTranscriptStore(transaction.session),
        enhancements=SqlEnhancementStore(transaction.session),
    )


def enhancement_service(transaction: Transaction) -> EnhancementService:
    """Return the use case of enhancements on one transaction."""
    return EnhancementService(
        jobs=transaction, publisher=transaction, store=SqlEnhancementStore(transaction.session)
    )


def export_service(transaction: Transaction, objects: ObjectStore) -> ExportService:
    """Return the use case of exports on one transaction."""
    return ExportService(publisher=transaction, store=SqlExportStore(transaction.session), objects=objects)


def scoring_service(transaction: Transaction) -> ScoringService:
    """Return the use case of scores on one transaction."""
    return ScoringService(publisher=transaction, store=SqlScoreStore(transaction.session))


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """Return the ids of all transcripts with their versions."""
    return {"transcript": await SqlTranscriptStore(transaction.session).versions()}


def create_engine(settings_json: str) -> EngineTasks:
    """Return the tasks of the engine. Called in the child process."""
    from phonograph_transcription.inference.engine import TranscriptionEngine
    from phonograph_transcription.inference.enhancer import TranscriptEnhancer
    from phonograph_transcription.inference.selection import select_transcriber

    settings = Settings.model_validate_json(settings_json)
    options = WhisperOptions(
        model=settings.model,
        device=settings.device,
        compute_type=settings.compute_type,
        batch_size=settings.whisper_batch_size,
        beam_size=settings.beam_size,
        threads=settings.threads,
    )
    models = ModelCache(settings.models)
    engine = TranscriptionEngine(
        ObjectStore(settings.object_store_url),
        plan=EnginePlan(settings.engine, options),
        select=lambda plan: select_transcriber(plan.choice, plan.whisper, models),
        is_present=lambda name: models.find(name) is not None,
    )
    enhancer = TranscriptEnhancer(ObjectStore(settings.object_store_url))
    return {TRANSCRIBE: engine.transcribe, MERGE: engine.merge, ENHANCE: enhancer.enhance}
