"""Handlers of the jobs that have ended."""

from phonograph_events import Facts
from phonograph_highlights.constants import ATTRIBUTE, DETECT_SILENCE, SEGMENT, SILENCE_ENGINE
from phonograph_highlights.domain.highlights import AttributedHighlights, HighlightsResult, SilenceResult
from phonograph_highlights.domain.tasks import AttributeTask, DetectSilenceTask, SegmentTask
from phonograph_highlights.factory import highlights_service
from phonograph_runtime.database import Transaction
from phonograph_runtime.jobs import JobKind
from phonograph_runtime.ports import Job, JobFailure


async def detect_silence_completed(
    task: DetectSilenceTask, result: SilenceResult, job: Job, transaction: Transaction
) -> None:
    """Store and publish silence and blank pictures."""
    await highlights_service(transaction).complete_silence_detection(job, task, result)


async def detect_silence_failed(
    task: DetectSilenceTask, failure: JobFailure, _job: Job, transaction: Transaction
) -> None:
    """Store that silence detection has failed."""
    await highlights_service(transaction).fail_silence_detection(task, failure)


async def segment_completed(
    task: SegmentTask, result: HighlightsResult, job: Job, transaction: Transaction
) -> None:
    """Store and publish topics and clips."""
    await highlights_service(transaction).complete_segmentation(job, task, result)


async def segment_failed(task: SegmentTask, failure: JobFailure, _job: Job, transaction: Transaction) -> None:
    """Store that segmentation has failed."""
    await highlights_service(transaction).fail_segmentation(task, failure)


async def attribute_completed(
    task: AttributeTask, result: AttributedHighlights, job: Job, transaction: Transaction
) -> None:
    """Store and publish who speaks in each segment."""
    await highlights_service(transaction).complete_attribution(job, task, result)


def _used_for_silence(_result: SilenceResult) -> Facts:
    return {"engine": SILENCE_ENGINE}


def _used_for_segments(result: HighlightsResult) -> Facts:
    return {"engine": result.engine}


DETECT_SILENCE_JOB = JobKind(
    DETECT_SILENCE,
    DetectSilenceTask,
    detect_silence_completed,
    detect_silence_failed,
    used=_used_for_silence,
)
ATTRIBUTE_JOB = JobKind(ATTRIBUTE, AttributeTask, attribute_completed)
SEGMENT_JOB = JobKind(SEGMENT, SegmentTask, segment_completed, segment_failed, used=_used_for_segments)
