"""From a file that is ready to its published music features."""

from phonograph_analysis.constants import ANALYSIS
from phonograph_analysis.domain.ports import AnalysisResults
from phonograph_analysis.domain.request import AnalysisTask
from phonograph_analysis.domain.result import Measured
from phonograph_events import MediaReady, MusicAnalyzed, Service, uuid7
from phonograph_runtime.jobs import Job
from phonograph_runtime.ports import JobRequests, Publisher


class AnalysisService:
    """Has files analysed; lives as long as one transaction."""

    def __init__(self, *, jobs: JobRequests, publisher: Publisher, results: AnalysisResults) -> None:
        self._jobs = jobs
        self._publisher = publisher
        self._results = results

    async def request(self, event: MediaReady) -> None:
        """Plan the analysis of a file whose profile asks for it. A second time for one file does nothing."""
        media = event.media
        if not media.wants(Service.ANALYSIS):
            return
        await self._jobs.enqueue(
            ANALYSIS,
            AnalysisTask(media=media),
            media_id=media.media_id,
            owner=media.owner,
            priority=media.priority,
            dedupe_key=f"{ANALYSIS}|{media.media_id}",
        )

    async def finish(self, job: Job, task: AnalysisTask, measured: Measured) -> None:
        """Keep what was measured and tell everybody."""
        analysis, result_id = measured.analysis, uuid7()
        version = await self._results.add(result_id, task.media.media_id, job.id, measured)
        tempo, key = analysis.tempo, analysis.key
        await self._publisher.publish(
            MusicAnalyzed(
                media_id=task.media.media_id,
                media=task.media,
                job=job.summary(
                    engine=analysis.engine, model=analysis.algorithm_build, reason=analysis.first_reason
                ),
                document_uri=measured.document_uri,
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
