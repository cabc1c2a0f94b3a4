"""Use cases from a recording to its transcript, and on to the transcript with speakers."""

from dataclasses import replace
from uuid import UUID

import structlog

from phonograph_events import (
    DiarizationCompleted,
    MediaReady,
    MediaRef,
    PipelineVersion,
    RerunRequested,
    Service,
    SpeakerSummary,
    TranscriptionCompleted,
    uuid7,
)
from phonograph_runtime.errors import RefusedRerunError
from phonograph_runtime.ports import RERUN_PRIORITY, Job, JobRequests, Publisher
from phonograph_transcription.constants import MERGE, MERGE_PRIORITY, OPTIONS, PREVIEW_LENGTH, TRANSCRIBE
from phonograph_transcription.domain.ports import EnhancementStore, TranscriptStore
from phonograph_transcription.domain.results import (
    Diarization,
    LatestTranscript,
    Meeting,
    MergeInputs,
    StoredTranscript,
    TranscriptionResult,
)
from phonograph_transcription.domain.tasks import EnhanceTask, MergeTask, TranscribeTask

logger = structlog.get_logger()


class TranscriptionService:
    """Requests, stores and publishes transcripts; lives as long as one transaction."""

    def __init__(
        self,
        *,
        jobs: JobRequests,
        publisher: Publisher,
        store: TranscriptStore,
        enhancements: EnhancementStore,
    ) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._store = store
        self._enhancements = enhancements

    async def request_transcript(self, event: MediaReady) -> None:
        """Request the transcript of a recording, once."""
        task = TranscribeTask(media=event.media)
        await self._jobs.remember(task, event.media_id)
        if event.media.wants(Service.TRANSCRIPTION):
            requested = task.options.to_facts(*OPTIONS)
            await self._jobs.enqueue(TRANSCRIBE, task, media=event.media, requested=requested)

    async def request_rerun(self, event: RerunRequested, request_id: UUID) -> None:
        """Request another transcript of a recording, once for each request.

        Args:
            event: The recording and the options.
            request_id: Id of the request.

        Raises:
            RefusedRerunError: If the recording is unknown.
        """
        known = await self._jobs.recall(TranscribeTask, event.media_id)
        if known is None:
            raise RefusedRerunError.unknown_recording(Service.TRANSCRIPTION)
        task = TranscribeTask(media=known.media, changed_options=event.apply_to(known.media.options))
        await self._jobs.enqueue(
            TRANSCRIBE,
            task,
            media=task.media,
            dedupe_key=f"{TRANSCRIBE}|{task.media.media_id}|{request_id}",
            extra_priority=RERUN_PRIORITY,
            requested=task.options.to_facts(*OPTIONS) | event.to_facts(),
        )

    async def add_diarization(self, event: DiarizationCompleted) -> None:
        """Store a diarization; request the merge if the transcript exists already."""
        # Without the suggestions of people, which change afterwards.
        speakers = [
            SpeakerSummary(speaker_id=each.speaker_id, label=each.label, seconds=each.seconds)
            for each in event.speakers
        ]
        meeting = Meeting(meeting_id=event.meeting_id, speakers=speakers)
        diarization = Diarization(
            event.media, event.job.job_id, event.job.engine, event.document_uri, meeting
        )
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
            uuid7(),
            task.media.media_id,
            job.id,
            PipelineVersion.V4,
            task.result_id,
            transcript,
            job.seconds,
            task.meeting,
        )
        inputs = await self._store.add(result)
        await self._publish(job, task.media, result, inputs.version)

    async def complete_enhancement(self, job: Job, task: EnhanceTask, transcript: StoredTranscript) -> None:
        """Store and publish a v2 transcript, whose parent is the v1; request its merge with the speakers.

        Args:
            job: The job that has ended.
            task: Its task.
            transcript: The enhanced transcript.
        """
        result = TranscriptionResult(
            uuid7(), task.media.media_id, job.id, PipelineVersion.V2, task.result_id, transcript, job.seconds
        )
        inputs = await self._store.add(result)
        content = transcript.enhanced
        counts = content.metadata if content else {}
        await self._enhancements.set_result(job.id, {"result_id": str(result.id), **counts})
        await self._publish(job, task.media, result, inputs.version)
        enhanced = LatestTranscript(result.id, transcript.document_uri, task.language_probability)
        await self._request_merge(task.media, replace(inputs, transcript=enhanced))

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
            meeting=diarization.meeting,
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
                accuracy_estimate=transcript.confidence,
                word_count=transcript.word_count,
                segment_count=len(transcript.segments),
                speaker_count=len(transcript.speakers) if has_speakers else None,
                preview=transcript.text[:PREVIEW_LENGTH],
                warnings=list(dict.fromkeys(warning.code.value for warning in transcript.warnings)),
                meeting_id=None if result.meeting is None else result.meeting.meeting_id,
                speakers=[] if result.meeting is None else result.meeting.speakers,
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
