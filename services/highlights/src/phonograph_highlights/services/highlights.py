"""Silence as soon as the file is known, topics and clips as soon as its words are."""

from phonograph_events import (
    HighlightsCompleted,
    HighlightsStage,
    MediaReady,
    PipelineVersion,
    Service,
    TranscriptionCompleted,
)
from phonograph_highlights.constants import SEGMENTS, SILENCE, SILENCE_ENGINE, TOPICS_ENGINE
from phonograph_highlights.domain.documents import clip_document, segment_document
from phonograph_highlights.domain.highlights import HighlightsFound, SilenceFound
from phonograph_highlights.domain.ports import HighlightsStore
from phonograph_highlights.domain.status import Stage
from phonograph_highlights.domain.tasks import SegmentsTask, SilenceTask
from phonograph_runtime.jobs import Job
from phonograph_runtime.ports import JobRequests, Publisher

SILENCE_VERSION = 1
"""The first stage is always older than the second, however late it comes."""


class HighlightsService:
    """Finds highlights; lives as long as one transaction."""

    def __init__(self, *, jobs: JobRequests, publisher: Publisher, store: HighlightsStore) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._store = store

    async def media_ready(self, event: MediaReady) -> None:
        """Plan the first stage: it needs no words, so a failed transcription loses nothing of it."""
        media = event.media
        if not media.wants(Service.HIGHLIGHTS):
            return
        await self._store.open(media, event.video)
        await self._jobs.enqueue(
            SILENCE,
            SilenceTask(media=media),
            media_id=media.media_id,
            owner=media.owner,
            priority=media.priority,
            dedupe_key=f"{SILENCE}|{media.media_id}",
        )

    async def transcription_completed(self, event: TranscriptionCompleted) -> None:
        """Plan the second stage for a transcript as it was recognised; later levels say the same words."""
        media = event.media
        if event.pipeline_version != PipelineVersion.V1 or not media.wants(Service.HIGHLIGHTS):
            return
        await self._store.open(media, None)
        task = SegmentsTask(
            media=media,
            result_id=event.result_id,
            version=event.version,
            transcript_uri=event.document_uri,
            silence_uri=await self._store.silence_uri(media.media_id),
        )
        await self._jobs.enqueue(
            SEGMENTS,
            task,
            media_id=media.media_id,
            owner=media.owner,
            priority=media.priority,
            dedupe_key=f"{SEGMENTS}|{event.result_id}",
        )

    async def finish_silence(self, job: Job, task: SilenceTask, found: SilenceFound) -> None:
        """Keep and publish the first stage."""
        await self._store.keep_silence(task.media, found, seconds=job.seconds)
        await self._publisher.publish(
            HighlightsCompleted(
                media_id=task.media.media_id,
                media=task.media,
                job=job.summary(engine=SILENCE_ENGINE),
                document_uri=found.document_uri,
                stage=HighlightsStage.SILENCE,
                silence_region_count=len(found.regions),
            ),
            version=SILENCE_VERSION,
        )

    async def finish_segments(self, job: Job, task: SegmentsTask, found: HighlightsFound) -> None:
        """Keep and publish everything, unless it comes from an older transcript than what is there."""
        version = await self._store.keep_highlights(task, found)
        if version is None:
            return
        await self._publisher.publish(
            HighlightsCompleted(
                media_id=task.media.media_id,
                media=task.media,
                job=job.summary(engine=TOPICS_ENGINE, reason=found.reason),
                document_uri=found.document_uri,
                stage=HighlightsStage.SEGMENTS,
                silence_region_count=len(found.regions),
                segments=[segment_document(segment) for segment in found.segments],
                clips=[clip_document(clip) for clip in found.clips],
            ),
            version=version,
        )

    async def fail(self, task: SilenceTask | SegmentsTask, stage: Stage, message: str) -> None:
        """Keep that a stage was given up."""
        await self._store.fail(task.media, stage, message)
