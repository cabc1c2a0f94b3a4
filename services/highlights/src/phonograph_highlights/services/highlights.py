"""From a new recording to its silence, and from its transcript to topics and clips."""

from uuid import UUID

import structlog

from phonograph_events import (
    HighlightsCompleted,
    HighlightsStage,
    JobProgressed,
    JobStatus,
    MediaReady,
    MediaRef,
    PipelineVersion,
    RerunRequested,
    Service,
    TranscriptionCompleted,
)
from phonograph_highlights.constants import ATTRIBUTE, DETECT_SILENCE, SEGMENT, SILENCE_ENGINE
from phonograph_highlights.domain.documents import clip_to_document, segment_to_document
from phonograph_highlights.domain.highlights import AttributedHighlights, HighlightsResult, SilenceResult
from phonograph_highlights.domain.ports import HighlightsStore
from phonograph_highlights.domain.status import ProcessingStage
from phonograph_highlights.domain.tasks import (
    AttributeTask,
    DetectSilenceTask,
    RecordingInputs,
    SegmentTask,
    SpokenTranscript,
    TranscriptRef,
)
from phonograph_runtime.errors import RefusedRerunError
from phonograph_runtime.ports import RERUN_PRIORITY, Job, JobFailure, JobRequests, Publisher

SILENCE_VERSION = 1
"""Version of the first stage: always older than the second stage, no matter how late it completes."""

logger = structlog.get_logger()


class HighlightsService:
    """Requests, stores and publishes highlights; lives as long as one transaction."""

    def __init__(self, *, jobs: JobRequests, publisher: Publisher, store: HighlightsStore) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._store = store

    async def request_silence_detection(self, event: MediaReady) -> None:
        """Request the first stage; it needs no transcript, so a failed transcription does not affect it."""
        await self._jobs.remember(RecordingInputs(media=event.media), event.media_id)
        if event.media.wants(Service.HIGHLIGHTS):
            await self._store.add_recording(event.media, event.video)
            await self._jobs.enqueue(DETECT_SILENCE, DetectSilenceTask(media=event.media), media=event.media)

    async def add_transcript(self, event: TranscriptionCompleted) -> None:
        """Request the second stage for a v1 transcript, and its speakers for a v4 transcript.

        Other pipeline versions contain the same words.
        """
        if event.pipeline_version == PipelineVersion.V1:
            await self._request_segmentation(event)
        elif event.pipeline_version == PipelineVersion.V4:
            await self._add_speakers(event)

    async def _request_segmentation(self, event: TranscriptionCompleted) -> None:
        media = event.media
        known = TranscriptRef(result_id=event.result_id, version=event.version, uri=event.document_uri)
        await self._jobs.remember(RecordingInputs(media=media, transcript=known), media.media_id)
        if not media.wants(Service.HIGHLIGHTS):
            return
        # The transcript may arrive before `media-ready`.
        await self._store.add_recording(media, None)
        task = SegmentTask(
            media=media,
            result_id=event.result_id,
            version=event.version,
            transcript_uri=event.document_uri,
            silence_uri=await self._store.silence_uri(media.media_id),
        )
        await self._jobs.enqueue(SEGMENT, task, media=media, dedupe_key=f"{SEGMENT}|{event.result_id}")

    async def _add_speakers(self, event: TranscriptionCompleted) -> None:
        media = event.media
        if event.parent_result_id is None or event.document_uri is None:
            return
        known = await self._jobs.recall(RecordingInputs, media.media_id)
        source = None if known is None else known.transcript
        # No highlights derive from an enhanced or an older transcript.
        if source is not None and source.result_id != event.parent_result_id:
            return
        transcript = SpokenTranscript(
            result_id=event.result_id,
            parent_result_id=event.parent_result_id,
            version=event.version,
            transcript_uri=event.document_uri,
            speaker_ids={speaker.label: speaker.speaker_id for speaker in event.speakers},
        )
        await self._jobs.remember(RecordingInputs(media=media, spoken_transcript=transcript), media.media_id)
        if not media.wants(Service.HIGHLIGHTS):
            return
        await self._store.add_recording(media, None)
        await self._store.save_spoken_transcript(media, transcript)
        await self._request_attribution(media)

    async def _request_attribution(self, media: MediaRef, request_id: UUID | None = None) -> None:
        """Request the speakers of the segments once both are stored, whichever came first.

        Args:
            media: The recording.
            request_id: Request by which the segments were found again.
        """
        task = await self._store.attribution(media)
        if task is not None:
            key = f"{ATTRIBUTE}|{task.transcript.result_id}|{task.transcript.parent_result_id}"
            await self._jobs.enqueue(
                ATTRIBUTE, task, media=media, dedupe_key=key if request_id is None else f"{key}|{request_id}"
            )

    async def request_rerun(self, event: RerunRequested, request_id: UUID) -> None:
        """Request silence, topics and clips again, from the newest transcript, once for each request.

        Args:
            event: The recording.
            request_id: Id of the request.

        Raises:
            RefusedRerunError: If the recording is unknown or has no transcript.
        """
        known = await self._jobs.recall(RecordingInputs, event.media_id)
        if known is None:
            raise RefusedRerunError.unknown_recording(Service.HIGHLIGHTS)
        transcript = known.transcript
        if transcript is None:
            raise RefusedRerunError(
                "Highlights need a transcript, and the recording has none: run the transcription first.",
                reason="no_transcript",
            )
        # Its profile may have left the highlights out.
        await self._store.add_recording(known.media, None)
        if known.spoken_transcript is not None:
            await self._store.save_spoken_transcript(known.media, known.spoken_transcript)
        task = SegmentTask(
            media=known.media,
            result_id=transcript.result_id,
            version=transcript.version,
            transcript_uri=transcript.uri,
            silence_uri=None,
            request_id=request_id,
        )
        await self._jobs.enqueue(
            SEGMENT,
            task,
            media=known.media,
            dedupe_key=f"{SEGMENT}|{transcript.result_id}|{request_id}",
            extra_priority=RERUN_PRIORITY,
            requested=event.to_facts(),
        )

    async def complete_silence_detection(
        self, job: Job, task: DetectSilenceTask, result: SilenceResult
    ) -> None:
        """Store and publish the first stage.

        Args:
            job: The job that has ended.
            task: Its task.
            result: The silence regions.
        """
        await self._store.save_silence(task.media, result, seconds=job.seconds)
        await self._publisher.publish(
            HighlightsCompleted(
                media_id=task.media.media_id,
                media=task.media,
                job=job.summary(engine=SILENCE_ENGINE),
                document_uri=result.document_uri,
                stage=HighlightsStage.SILENCE,
                silence_region_count=len(result.regions),
            ),
            version=SILENCE_VERSION,
        )
        logger.info("silence stored", regions=len(result.regions), engine=SILENCE_ENGINE)

    async def complete_segmentation(self, job: Job, task: SegmentTask, result: HighlightsResult) -> None:
        """Store and publish the second stage, unless highlights of a newer transcript are stored.

        Args:
            job: The job that has ended.
            task: Its task.
            result: Silence regions, segments and clips.
        """
        version = await self._store.save_highlights(task, result)
        if version is None:
            await self._supersede(job, task.media)
            logger.info("highlights of an older transcript ignored", transcript_version=task.version)
            return
        await self._publisher.publish(
            HighlightsCompleted(
                media_id=task.media.media_id,
                media=task.media,
                job=job.summary(engine=result.engine, reason=result.reason),
                document_uri=result.document_uri,
                stage=HighlightsStage.SEGMENTS,
                silence_region_count=len(result.regions),
                segments=[segment_to_document(segment) for segment in result.segments],
                clips=[clip_to_document(clip) for clip in result.clips],
            ),
            version=version,
        )
        logger.info(
            "highlights stored",
            version=version,
            engine=result.engine,
            segments=len(result.segments),
            clips=len(result.clips),
            reason=result.reason,
        )
        await self._request_attribution(task.media, task.request_id)

    async def complete_attribution(self, job: Job, task: AttributeTask, result: AttributedHighlights) -> None:
        """Store and publish who speaks in each segment.

        Args:
            job: The job that has ended.
            task: Its task.
            result: The highlights with speakers.
        """
        version = await self._store.save_speakers(task, result)
        if version is None:
            await self._supersede(job, task.media)
            logger.info("speakers of an older transcript ignored", transcript_version=task.transcript.version)
            return
        await self._publisher.publish(
            HighlightsCompleted(
                media_id=task.media.media_id,
                media=task.media,
                job=job.summary(engine=task.engine, reason=task.reason),
                document_uri=result.document_uri,
                stage=HighlightsStage.SPEAKERS,
                silence_region_count=len(result.document.silence_regions),
                segments=result.document.segments,
                clips=result.document.clips,
            ),
            version=version,
        )
        logger.info("speakers stored", version=version, segments=len(result.document.segments))

    async def fail_silence_detection(self, task: DetectSilenceTask, failure: JobFailure) -> None:
        """Store that the first stage has failed for good."""
        await self._fail(task, ProcessingStage.SILENCE_DETECTION, failure)

    async def fail_segmentation(self, task: SegmentTask, failure: JobFailure) -> None:
        """Store that the second stage has failed for good."""
        await self._fail(task, ProcessingStage.SEGMENTATION, failure)

    async def _supersede(self, job: Job, media: MediaRef) -> None:
        """Publish the end of a job without a result: it would never end for its observers otherwise."""
        await self._publisher.publish(
            JobProgressed(
                media_id=media.media_id,
                job_id=job.id,
                service=job.service,
                status=JobStatus.COMPLETED,
                progress=1,
                stage="superseded",
                attempt=job.attempt,
                requested=job.requested,
            )
        )

    async def _fail(
        self, task: DetectSilenceTask | SegmentTask, stage: ProcessingStage, failure: JobFailure
    ) -> None:
        await self._store.mark_failed(task.media, stage, failure.message)
        logger.info("stage failed", stage=stage.value, reason=failure.reason)
