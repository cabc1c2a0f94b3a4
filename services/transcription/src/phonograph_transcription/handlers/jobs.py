"""Handlers of the jobs that have ended."""

from phonograph_events import Facts
from phonograph_runtime.database import Transaction
from phonograph_runtime.jobs import JobKind
from phonograph_runtime.ports import Job
from phonograph_transcription.constants import ENHANCE, MERGE, TRANSCRIBE
from phonograph_transcription.domain.results import StoredTranscript
from phonograph_transcription.domain.tasks import EnhanceTask, MergeTask, TranscribeTask
from phonograph_transcription.factory import transcription_service


async def transcribe_completed(
    task: TranscribeTask, transcript: StoredTranscript, job: Job, transaction: Transaction
) -> None:
    """Store and publish recognized speech."""
    await transcription_service(transaction).complete_transcript(job, task, transcript)


async def merge_completed(
    task: MergeTask, transcript: StoredTranscript, job: Job, transaction: Transaction
) -> None:
    """Store and publish a transcript with speakers."""
    await transcription_service(transaction).complete_merge(job, task, transcript)


async def enhance_completed(
    task: EnhanceTask, transcript: StoredTranscript, job: Job, transaction: Transaction
) -> None:
    """Store and publish an enhanced transcript."""
    await transcription_service(transaction).complete_enhancement(job, task, transcript)


def _used(transcript: StoredTranscript) -> Facts:
    return transcript.used


TRANSCRIBE_JOB = JobKind(TRANSCRIBE, TranscribeTask, transcribe_completed, used=_used)
MERGE_JOB = JobKind(MERGE, MergeTask, merge_completed, used=_used)
ENHANCE_JOB = JobKind(ENHANCE, EnhanceTask, enhance_completed, used=_used)
