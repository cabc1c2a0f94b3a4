"""Analyses in PostgreSQL, in versions."""

from uuid import UUID

from pydantic import BaseModel, RootModel
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_analysis.domain.results import StoredAnalysis
from phonograph_analysis.storage.tables import SqlAnalysisResult


class BpmCandidates(RootModel[list[float]]):
    """Shape of `analysis_results.bpm_candidates`."""


class TimbreVector(BaseModel):
    """Shape of `analysis_results.timbre`: mean and variance of each MFCC coefficient."""

    mean: list[float]
    variance: list[float]


class Reasons(RootModel[dict[str, str]]):
    """Shape of `analysis_results.reasons`: name of a field to its reason code."""


class SqlAnalysisStore:
    """See `phonograph_analysis.domain.ports.AnalysisStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, result_id: UUID, media_id: UUID, job_id: UUID, stored: StoredAnalysis) -> int:
        """See `AnalysisStore.add`."""
        # Two concurrent inserts for one recording compute the same version: the unique constraint refuses one
        # of them, which is tried again.
        analysis = stored.analysis
        tempo, key, timbre = analysis.tempo, analysis.key, analysis.timbre
        table = SqlAnalysisResult
        next_version = (
            select(func.coalesce(func.max(table.version), 0) + 1)
            .where(table.media_file_id == media_id)
            .scalar_subquery()
        )
        statement = (
            insert(table)
            .values(
                id=result_id,
                media_file_id=media_id,
                job_id=job_id,
                version=next_version,
                engine=analysis.engine,
                algorithm_build=analysis.algorithm_build,
                bpm=tempo.bpm if tempo else None,
                bpm_confidence=tempo.confidence if tempo else None,
                bpm_candidates=BpmCandidates(list(tempo.candidates) if tempo else []).model_dump(),
                key=key.key if key else None,
                scale=key.scale if key else None,
                key_strength=key.strength if key else None,
                key_profile=key.profile if key else None,
                key_agreed=key.profiles_agree if key else None,
                loudness_lufs=analysis.loudness_lufs,
                danceability=analysis.danceability,
                timbre=TimbreVector(mean=list(timbre.mean), variance=list(timbre.variance)).model_dump()
                if timbre
                else None,
                excerpt_start_s=analysis.excerpt_start_s,
                excerpt_end_s=analysis.excerpt_end_s,
                reason=analysis.reason,
                reasons=Reasons(analysis.reasons).model_dump(),
                document_uri=stored.document_uri,
            )
            .returning(table.version)
        )
        return (await self._session.scalars(statement)).one()

    async def versions(self) -> dict[str, int]:
        """See `AnalysisStore.versions`."""
        rows = await self._session.execute(
            select(SqlAnalysisResult.media_file_id, func.max(SqlAnalysisResult.version)).group_by(
                SqlAnalysisResult.media_file_id
            )
        )
        return {str(media_id): version for media_id, version in rows}
