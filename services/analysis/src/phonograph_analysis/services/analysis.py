"""From a recording to its published music features."""

import structlog

from phonograph_analysis.constants import ANALYZE
from phonograph_analysis.domain.ports import AnalysisStore
from phonograph_analysis.domain.results import StoredAnalysis
from phonograph_analysis.domain.tasks import AnalyzeTask
from phonograph_events import MediaReady, MusicAnalyzed, Service, uuid7
from phonograph_runtime.ports import Job, JobRequests, Publisher

logger = structlog.get_logger()


class AnalysisService:
    """Requests, stores and publishes analyses; lives as long as one transaction."""

    def __init__(self, *, jobs: JobRequests, publisher: Publisher, store: AnalysisStore) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._store = store

    async def request_analysis(self, event: MediaReady) -> None:
        """Request the analysis of a recording whose profile includes it, once."""
        if event.media.wants(Service.ANALYSIS):
            await self._jobs.enqueue(ANALYZE, AnalyzeTask(media=event.media), media=event.media)

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
                algorithm_build=analysis.algorithm_build,
                bpm=tempo.bpm if tempo else None,
                bpm_confidence=tempo.confidence if tempo else None,
                bpm_candidates=list(tempo.candidates) if tempo else [],
                key=key.key if key else None,
                scale=key.scale if key else None,
                key_strength=key.strength if key else None,
                loudness_lufs=analysis.loudness_lufs,
                danceability=analysis.danceability,
                reasons=analysis.reasons,
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
