"""From a new recording to its silence, and from its transcript to topics and clips."""

import structlog

from phonograph_events import (
    HighlightsCompleted,
    HighlightsStage,
    MediaReady,
    PipelineVersion,
    Service,
    TranscriptionCompleted,
)
from phonograph_highlights.constants import DETECT_SILENCE, SEGMENT, SILENCE_ENGINE
from phonograph_highlights.domain.documents import clip_to_document, segment_to_document
from phonograph_highlights.domain.highlights import HighlightsResult, SilenceResult
from phonograph_highlights.domain.ports import HighlightsStore
from phonograph_highlights.domain.status import ProcessingStage
from phonograph_highlights.domain.tasks import DetectSilenceTask, SegmentTask
from phonograph_runtime.ports import Job, JobFailure, JobRequests, Publisher

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
        if event.media.wants(Service.HIGHLIGHTS):
            await self._store.add_recording(event.media, event.video)
            await self._jobs.enqueue(DETECT_SILENCE, DetectSilenceTask(media=event.media), media=event.media)

    async def request_segmentation(self, event: TranscriptionCompleted) -> None:
        """Request the second stage for a v1 transcript; later pipeline versions contain the same words."""
        media = event.media
        if event.pipeline_version != PipelineVersion.V1 or not media.wants(Service.HIGHLIGHTS):
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

    async def fail_silence_detection(self, task: DetectSilenceTask, failure: JobFailure) -> None:
        """Store that the first stage has failed for good."""
        await self._fail(task, ProcessingStage.SILENCE_DETECTION, failure)

    async def fail_segmentation(self, task: SegmentTask, failure: JobFailure) -> None:
        """Store that the second stage has failed for good."""
        await self._fail(task, ProcessingStage.SEGMENTATION, failure)

    async def _fail(
        self, task: DetectSilenceTask | SegmentTask, stage: ProcessingStage, failure: JobFailure
    ) -> None:
        await self._store.mark_failed(task.media, stage, failure.message)
        logger.info("stage failed", stage=stage.value, reason=failure.reason)
