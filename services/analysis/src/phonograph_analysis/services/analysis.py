"""From a recording to its published music features."""

from typing import Final
from uuid import UUID

import structlog

from phonograph_analysis.constants import ANALYZE, OPTIONS
from phonograph_analysis.domain.documents import to_document
from phonograph_analysis.domain.ports import AnalysisStore
from phonograph_analysis.domain.results import StoredAnalysis
from phonograph_analysis.domain.tasks import AnalyzeTask
from phonograph_events import MediaReady, MusicAnalyzed, RerunRequested, Service, uuid7
from phonograph_events.documents import MusicDocument
from phonograph_runtime.errors import RefusedRerunError
from phonograph_runtime.ports import RERUN_PRIORITY, Job, JobRequests, Publisher

SHARED: Final = {*MusicDocument.model_fields} & {*MusicAnalyzed.model_fields}
"""Fields that the event has in common with the document."""

logger = structlog.get_logger()


class AnalysisService:
    """Requests, stores and publishes analyses; lives as long as one transaction."""

    def __init__(self, *, jobs: JobRequests, publisher: Publisher, store: AnalysisStore) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._store = store

    async def request_analysis(self, event: MediaReady) -> None:
        """Request the analysis of a recording whose profile includes it, once."""
        task = AnalyzeTask(media=event.media)
        await self._jobs.remember(task, event.media_id)
        if event.media.wants(Service.ANALYSIS):
            requested = event.media.options.to_facts(*OPTIONS)
            await self._jobs.enqueue(ANALYZE, task, media=event.media, requested=requested)

    async def request_rerun(self, event: RerunRequested, request_id: UUID) -> None:
        """Request another analysis of a recording, once for each request.

        Args:
            event: The recording.
            request_id: Id of the request.

        Raises:
            RefusedRerunError: If the recording is unknown.
        """
        task = await self._jobs.recall(AnalyzeTask, event.media_id)
        if task is None:
            raise RefusedRerunError.unknown_recording(Service.ANALYSIS)
        await self._jobs.enqueue(
            ANALYZE,
            task,
            media=task.media,
            dedupe_key=f"{ANALYZE}|{task.media.media_id}|{request_id}",
            extra_priority=RERUN_PRIORITY,
            requested=task.media.options.to_facts(*OPTIONS) | event.to_facts(),
        )

    async def complete_analysis(self, job: Job, task: AnalyzeTask, stored: StoredAnalysis) -> None:
        """Store and publish an analysis.

        Args:
            job: The job that has ended.
            task: Its task.
            stored: The analysis, and where its document is stored.
        """
        analysis, result_id = stored.analysis, uuid7()
        version = await self._store.add(result_id, task.media.media_id, job.id, stored)
        tempo, key = analysis.tempo, analysis.key
        await self._publisher.publish(
            MusicAnalyzed(
                media_id=task.media.media_id,
                media=task.media,
                job=job.summary(
                    engine=analysis.engine, model=analysis.algorithm_build, reason=analysis.first_reason
                ),
                document_uri=stored.document_uri,
                result_id=result_id,
                **to_document(analysis).model_dump(include=SHARED),
            ),
            version=version,
        )
        logger.info(
            "analysis stored",
            version=version,
            engine=analysis.engine,
            algorithm_build=analysis.algorithm_build,
            bpm=tempo.bpm if tempo else None,
            key=f"{key.key} {key.scale}" if key else None,
            reason=analysis.first_reason,
        )
