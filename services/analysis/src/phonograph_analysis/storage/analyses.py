"""Analyses in PostgreSQL, in versions."""

from uuid import UUID

from pydantic import BaseModel, RootModel
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_analysis.domain.documents import key_sections, tempo_sections
from phonograph_analysis.domain.results import StoredAnalysis
from phonograph_analysis.domain.tonality import to_camelot
from phonograph_analysis.storage.tables import SqlAnalysisResult
from phonograph_events.documents import KeySection, TempoSection


class BpmCandidates(RootModel[list[float]]):
    """Shape of `analysis_results.bpm_candidates`."""


class TimbreVector(BaseModel):
    """Shape of `analysis_results.timbre`: mean, variance and covariance of the MFCC coefficients."""

    mean: list[float]
    variance: list[float]
    covariance: list[list[float]]


class SpectrumVector(BaseModel):
    """Shape of `analysis_results.spectrum`: mean and covariance of the features of the spectrum."""

    mean: list[float]
    covariance: list[list[float]]


class TempoSections(RootModel[list[TempoSection]]):
    """Shape of `analysis_results.tempo_sections`."""


class KeySections(RootModel[list[KeySection]]):
    """Shape of `analysis_results.key_sections`."""


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
        tempo, key = analysis.tempo, analysis.key
        timbre, spectrum = analysis.timbre, analysis.spectrum
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
                timbre=TimbreVector(
                    mean=list(timbre.mean),
                    variance=list(timbre.variance),
                    covariance=[list(row) for row in timbre.covariance],
                ).model_dump()
                if timbre
                else None,
                tempo_needs_review=tempo.needs_review if tempo else None,
                tempo_sections=TempoSections(tempo_sections(tempo)).model_dump(),
                beats_per_bar=analysis.bars.beats_per_bar if analysis.bars else None,
                key_sections=KeySections(key_sections(key)).model_dump(),
                camelot=to_camelot(key.key, key.scale) if key else None,
                tuning_hz=analysis.tuning_hz,
                loudness_range_lu=analysis.loudness_range_lu,
                true_peak_dbtp=analysis.true_peak_dbtp,
                onset_rate=analysis.onset_rate,
                energy=analysis.energy,
                spectrum=SpectrumVector(
                    mean=list(spectrum.mean), covariance=[list(row) for row in spectrum.covariance]
                ).model_dump()
                if spectrum
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
