"""Use cases from a recording to its transcript, and on to the transcript with speakers."""

import structlog

from phonograph_events import (
    DiarizationCompleted,
    MediaReady,
    MediaRef,
    PipelineVersion,
    Service,
    TranscriptionCompleted,
    uuid7,
)
from phonograph_runtime.ports import Job, JobRequests, Publisher
from phonograph_transcription.constants import MERGE, MERGE_PRIORITY, PREVIEW_LENGTH, TRANSCRIBE
from phonograph_transcription.domain.ports import TranscriptStore
from phonograph_transcription.domain.results import (
    Diarization,
    MergeInputs,
    StoredTranscript,
    TranscriptionResult,
)
from phonograph_transcription.domain.tasks import MergeTask, TranscribeTask

logger = structlog.get_logger()


class TranscriptionService:
    """Requests, stores and publishes transcripts; lives as long as one transaction."""

    def __init__(self, *, jobs: JobRequests, publisher: Publisher, store: TranscriptStore) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._store = store

    async def request_transcript(self, event: MediaReady) -> None:
        """Request the transcript of a recording, once."""
        if event.media.wants(Service.TRANSCRIPTION):
            await self._jobs.enqueue(TRANSCRIBE, TranscribeTask(media=event.media), media=event.media)

    async def add_diarization(self, event: DiarizationCompleted) -> None:
        """Store a diarization; request the merge if the transcript exists already."""
        diarization = Diarization(event.media, event.job.job_id, event.job.engine, event.document_uri)
        inputs = await self._store.save_diarization(diarization)
        logger.info("diarization stored", has_transcript=inputs.transcript is not None)
        await self._request_merge(event.media, inputs)

    async def complete_transcript(self, job: Job, task: TranscribeTask, transcript: StoredTranscript) -> None:
        """Store and publish a v1 transcript; request the merge if the diarization exists already.

        Args:
            job: The job that has ended.
            task: Its task.
            transcript: The recognized speech.
        """
        result = TranscriptionResult(
            uuid7(), task.media.media_id, job.id, PipelineVersion.V1, None, transcript, job.seconds
        )
        inputs = await self._store.add(result)
        await self._publish(job, task.media, result, inputs.version)
        await self._request_merge(task.media, inputs)

    async def complete_merge(self, job: Job, task: MergeTask, transcript: StoredTranscript) -> None:
        """Store and publish a v4 transcript, whose parent is the v1.

        Args:
            job: The job that has ended.
            task: Its task.
            transcript: The transcript with speakers.
        """
        result = TranscriptionResult(
            uuid7(), task.media.media_id, job.id, PipelineVersion.V4, task.result_id, transcript, job.seconds
        )
        inputs = await self._store.add(result)
        await self._publish(job, task.media, result, inputs.version)

    async def _request_merge(self, media: MediaRef, inputs: MergeInputs) -> None:
        """Request one merge for each pair of a transcript and a diarization, whichever came first."""
        transcript, diarization = inputs.transcript, inputs.diarization
        if transcript is None or diarization is None:
            return
        task = MergeTask(
            media=media,
            result_id=transcript.result_id,
            transcript_uri=transcript.document_uri,
            language_probability=transcript.language_probability,
            diarization_job_id=diarization.job_id,
            diarization_engine=diarization.engine,
            turns_uri=diarization.document_uri,
        )
        await self._jobs.enqueue(
            MERGE,
            task,
            media=media,
            dedupe_key=f"{MERGE}|{transcript.result_id}|{diarization.job_id}",
            extra_priority=MERGE_PRIORITY,
        )

    async def _publish(self, job: Job, media: MediaRef, result: TranscriptionResult, version: int) -> None:
        transcript = result.stored.transcript
        has_speakers = result.pipeline_version is PipelineVersion.V4
        await self._publisher.publish(
            TranscriptionCompleted(
                media_id=media.media_id,
                media=media,
                job=job.summary(engine=transcript.engine, model=transcript.model, reason=transcript.reason),
                document_uri=result.stored.document_uri,
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
                warnings=list(dict.fromkeys(warning.code.value for warning in transcript.warnings)),
            ),
            version=version,
        )
        logger.info(
            "transcript stored",
            pipeline_version=result.pipeline_version.value,
            version=version,
            engine=transcript.engine,
            language=transcript.language,
            words=transcript.word_count,
            reason=transcript.reason,
        )
