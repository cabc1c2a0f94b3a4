"""Builds everything: the service's own objects per transaction, the engines per child process."""

from phonograph_runtime.child import Engines
from phonograph_runtime.database import Transaction
from phonograph_runtime.jobs import Job
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.worker import JobKind
from phonograph_transcription.config import Settings
from phonograph_transcription.constants import MERGE, TRANSCRIBE
from phonograph_transcription.domain.engines import WhisperOptions
from phonograph_transcription.domain.results import Written
from phonograph_transcription.domain.tasks import MergeTask, TranscribeTask
from phonograph_transcription.services.transcription import TranscriptionService
from phonograph_transcription.storage.transcripts import SqlTranscriptStore


def transcription_service(transaction: Transaction) -> TranscriptionService:
    """The use cases, on one transaction."""
    return TranscriptionService(
        jobs=transaction, publisher=transaction, store=SqlTranscriptStore(transaction.session)
    )


def transcribe_job() -> JobKind:
    """What becomes of recognised speech."""

    async def finish(transaction: Transaction, job: Job, written: Written) -> None:
        task = TranscribeTask.model_validate(job.task)
        await transcription_service(transaction).finish(job, task, written)

    return JobKind(TranscribeTask, finish)


def merge_job() -> JobKind:
    """What becomes of a transcript whose words have speakers."""

    async def finish(transaction: Transaction, job: Job, written: Written) -> None:
        task = MergeTask.model_validate(job.task)
        await transcription_service(transaction).finish_merge(job, task, written)

    return JobKind(MergeTask, finish)


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """What the service holds."""
    return {"transcript": await SqlTranscriptStore(transaction.session).versions()}


def create_engines(settings_json: str) -> Engines:
    """The engines of the child process."""
    from phonograph_transcription.inference.jobs import TranscriptWriter
    from phonograph_transcription.inference.models import ModelFolder
    from phonograph_transcription.inference.selection import choose

    settings = Settings.model_validate_json(settings_json)
    whisper = WhisperOptions(
        model=settings.model,
        device=settings.device,
        compute_type=settings.compute_type,
        batch_size=settings.whisper_batch_size,
        beam_size=settings.beam_size,
    )
    writer = TranscriptWriter(
        ObjectStore(settings.object_store_url),
        lambda: choose(settings.engine, whisper, ModelFolder(settings.models)),
        settings.model_dump(mode="json", include={"engine", *WhisperOptions.__dataclass_fields__}),
    )
    return {TRANSCRIBE: writer.transcribe, MERGE: writer.merge}
