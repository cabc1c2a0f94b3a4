"""From a file to its transcript, and from transcript and diarization to who said what."""

from phonograph_events import (
    DiarizationCompleted,
    MediaReady,
    MediaRef,
    PipelineVersion,
    Service,
    TranscriptionCompleted,
    uuid7,
)
from phonograph_runtime.jobs import Job
from phonograph_runtime.ports import JobRequests, Publisher
from phonograph_transcription.constants import MERGE, MERGE_PRIORITY, PREVIEW_LENGTH, TRANSCRIBE
from phonograph_transcription.domain.ports import TranscriptStore
from phonograph_transcription.domain.results import Diarization, Halves, Result, Written
from phonograph_transcription.domain.tasks import MergeTask, TranscribeTask


class TranscriptionService:
    """Plans and publishes transcripts; lives as long as one transaction."""

    def __init__(self, *, jobs: JobRequests, publisher: Publisher, store: TranscriptStore) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._store = store

    async def request(self, event: MediaReady) -> None:
        """Plan the recognition of a file's speech, once."""
        media = event.media
        if not media.wants(Service.TRANSCRIPTION):
            return
        await self._jobs.enqueue(
            TRANSCRIBE,
            TranscribeTask(media=media),
            media_id=media.media_id,
            owner=media.owner,
            priority=media.priority,
            dedupe_key=f"{TRANSCRIBE}|{media.media_id}",
        )

    async def diarized(self, event: DiarizationCompleted) -> None:
        """Keep who spoke when; plan the merge when there are words to give to the speakers."""
        diarization = Diarization(event.media, event.job.job_id, event.job.engine, event.document_uri)
        await self._merge(event.media, await self._store.note(diarization))

    async def finish(self, job: Job, task: TranscribeTask, written: Written) -> None:
        """Save and publish a v1 transcript; plan the merge when the speakers are known already."""
        result = Result(uuid7(), task.media.media_id, job.id, PipelineVersion.V1, None, written, job.seconds)
        halves = await self._store.add(result)
        await self._publish(job, task.media, result, halves.version)
        await self._merge(task.media, halves)

    async def finish_merge(self, job: Job, task: MergeTask, written: Written) -> None:
        """Save and publish a v4 transcript, a child of the v1."""
        result = Result(
            uuid7(), task.media.media_id, job.id, PipelineVersion.V4, task.result_id, written, job.seconds
        )
        halves = await self._store.add(result)
        await self._publish(job, task.media, result, halves.version)

    async def _merge(self, media: MediaRef, halves: Halves) -> None:
        """Plan one merge for each pair of a transcript and a diarization, whichever came first."""
        recognised, diarization = halves.recognised, halves.diarization
        if recognised is None or diarization is None:
            return
        task = MergeTask(
            media=media,
            result_id=recognised.result_id,
            transcript_uri=recognised.document_uri,
            language_probability=recognised.language_probability,
            diarization_job_id=diarization.job_id,
            diarization_engine=diarization.engine,
            turns_uri=diarization.document_uri,
        )
        await self._jobs.enqueue(
            MERGE,
            task,
            media_id=media.media_id,
            owner=media.owner,
            priority=media.priority + MERGE_PRIORITY,
            dedupe_key=f"{MERGE}|{recognised.result_id}|{diarization.job_id}",
        )

    async def _publish(self, job: Job, media: MediaRef, result: Result, version: int) -> None:
        transcript = result.written.transcript
        has_speakers = result.pipeline_version is PipelineVersion.V4
        await self._publisher.publish(
            TranscriptionCompleted(
                media_id=media.media_id,
                media=media,
                job=job.summary(engine=transcript.engine, model=transcript.model, reason=transcript.reason),
                document_uri=result.written.document_uri,
                result_id=result.id,
                parent_result_id=result.parent_id,
                pipeline_version=result.pipeline_version,
                version=version,
                language=transcript.language,
                language_probability=transcript.language_probability,
                word_count=transcript.word_count,
                segment_count=len(transcript.segments),
                speaker_count=len(transcript.speakers) if has_speakers else None,
                preview=transcript.text[:PREVIEW_LENGTH],
                warnings=list(dict.fromkeys(warned.code.value for warned in transcript.warnings)),
            ),
            version=version,
        )
