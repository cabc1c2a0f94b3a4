"""Builds everything: the service's own objects per transaction, the engines per child process."""

from phonograph_highlights.config import Settings
from phonograph_highlights.constants import SEGMENTS, SILENCE
from phonograph_highlights.domain.highlights import HighlightsFound, SilenceFound
from phonograph_highlights.domain.status import Stage
from phonograph_highlights.domain.tasks import SegmentsTask, SilenceTask
from phonograph_highlights.services.highlights import HighlightsService
from phonograph_highlights.storage.highlights import SqlHighlightsStore
from phonograph_runtime.child import Engines
from phonograph_runtime.database import Transaction
from phonograph_runtime.jobs import Job
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.worker import JobKind


def highlights_service(transaction: Transaction) -> HighlightsService:
    """The use cases, on one transaction."""
    event_id = transaction.cause.event_id if transaction.cause else None
    return HighlightsService(
        jobs=transaction,
        publisher=transaction,
        store=SqlHighlightsStore(transaction.session, event_id=event_id),
    )


def silence_job() -> JobKind:
    """What becomes of silence that was found."""

    async def finish(transaction: Transaction, job: Job, found: SilenceFound) -> None:
        await highlights_service(transaction).finish_silence(job, SilenceTask.model_validate(job.task), found)

    async def fail(transaction: Transaction, job: Job, reason: str, message: str) -> None:
        del reason
        task = SilenceTask.model_validate(job.task)
        await highlights_service(transaction).fail(task, Stage.SILENCE_DETECTION, message)

    return JobKind(SilenceTask, finish, fail)


def segments_job() -> JobKind:
    """What becomes of topics and clips."""

    async def finish(transaction: Transaction, job: Job, found: HighlightsFound) -> None:
        await highlights_service(transaction).finish_segments(
            job, SegmentsTask.model_validate(job.task), found
        )

    async def fail(transaction: Transaction, job: Job, reason: str, message: str) -> None:
        del reason
        task = SegmentsTask.model_validate(job.task)
        await highlights_service(transaction).fail(task, Stage.SEGMENTATION, message)

    return JobKind(SegmentsTask, finish, fail)


async def inventory(transaction: Transaction) -> dict[str, dict[str, int]]:
    """What the service holds."""
    return await SqlHighlightsStore(transaction.session).versions()


def create_engines(settings_json: str) -> Engines:
    """The engines of the child process."""
    from phonograph_highlights.inference.highlights import HighlightsMaker
    from phonograph_highlights.inference.silence import SilenceFinder
    from phonograph_highlights.inference.topics import TfidfSegmenter

    objects = ObjectStore(Settings.model_validate_json(settings_json).object_store_url)
    finder = SilenceFinder(objects)
    return {SILENCE: finder.find, SEGMENTS: HighlightsMaker(objects, finder, TfidfSegmenter()).make}
