"""Builds everything: the service's own objects per transaction, the engines per child process."""

from phonograph_diarization.config import EngineChoice, Settings
from phonograph_diarization.constants import DIARIZE
from phonograph_diarization.domain.ports import Diarizer
from phonograph_diarization.domain.task import Diarized, DiarizeTask
from phonograph_diarization.services.diarization import DiarizationService
from phonograph_diarization.storage.meetings import SqlMeetings
from phonograph_diarization.storage.voices import SqlKnownVoices
from phonograph_runtime.child import Engines
from phonograph_runtime.database import Transaction
from phonograph_runtime.jobs import Job
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.worker import JobKind


def diarization_service(transaction: Transaction) -> DiarizationService:
    """The use cases, on one transaction."""
    return DiarizationService(
        jobs=transaction,
        publisher=transaction,
        meetings=SqlMeetings(transaction.session),
        known_voices=SqlKnownVoices(transaction.session),
    )


def diarize_job() -> JobKind:
    """What becomes of a recording whose speakers were told apart."""

    async def finish(transaction: Transaction, job: Job, diarized: Diarized) -> None:
        task = DiarizeTask.model_validate(job.task)
        await diarization_service(transaction).finish(job, task, diarized)

    async def fail(transaction: Transaction, job: Job, reason: str, _message: str) -> None:
        task = DiarizeTask.model_validate(job.task)
        await diarization_service(transaction).fail(task, reason)

    return JobKind(DiarizeTask, finish, fail)


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """What the service holds."""
    return {"speakers": await SqlMeetings(transaction.session).speaker_versions()}


def create_engines(settings_json: str) -> Engines:
    """The engines of the child process."""
    from phonograph_diarization.inference.rendition import RenditionDiarizer

    settings = Settings.model_validate_json(settings_json)
    objects = ObjectStore(settings.object_store_url)
    return {DIARIZE: RenditionDiarizer(objects, lambda: choose_diarizer(settings)).run}


def choose_diarizer(settings: Settings) -> Diarizer:
    """The wanted engine, loaded.

    Raises:
        EngineUnavailableError: it was named and cannot be loaded.
    """
    from phonograph_diarization.inference.pyannote import PyannoteDiarizer
    from phonograph_diarization.inference.selection import first_that_loads
    from phonograph_diarization.inference.silero_mfcc import SileroMfccDiarizer

    token = None if settings.pyannote_token is None else settings.pyannote_token.get_secret_value()
    pyannote = PyannoteDiarizer(
        settings.pyannote_model,
        token=token,
        device=settings.device,
        download=settings.engine is EngineChoice.PYANNOTE and token is not None,
    )
    match settings.engine:
        case EngineChoice.AUTO:
            return first_that_loads(pyannote, SileroMfccDiarizer())
        case EngineChoice.PYANNOTE:
            return first_that_loads(pyannote)
        case EngineChoice.SILERO_MFCC:
            return first_that_loads(SileroMfccDiarizer())
