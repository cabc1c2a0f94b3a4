"""Enhancements of transcripts in PostgreSQL."""

from typing import Any
from uuid import UUID

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_events import MediaRef
from phonograph_transcription.domain.results import Recognition
from phonograph_transcription.storage.tables import SqlV2ProcessingJob

_RECOGNITION = text("""
    SELECT result.id, result.document_uri, result.model_config, job.task -> 'media' AS media,
           CAST(result.processing_metadata ->> 'language_probability' AS float) AS language_probability
    FROM transcription_results AS result
    JOIN transcription_jobs AS job ON job.id = result.job_id
    WHERE result.media_file_id = :media_id AND result.pipeline_version = 'v1'
    ORDER BY result.version DESC
    LIMIT 1
""")


class SqlEnhancementStore:
    """See `EnhancementStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find_recognition(self, media_id: UUID) -> Recognition | None:
        """See `EnhancementStore.find_recognition`."""
        row = (await self._session.execute(_RECOGNITION, {"media_id": media_id})).one_or_none()
        if row is None:
            return None
        return Recognition(
            row.id,
            MediaRef.model_validate(row.media),
            row.document_uri,
            row.language_probability,
            row.model_config or {},
        )

    async def set_result(self, job_id: UUID, result: dict[str, Any]) -> None:
        """See `EnhancementStore.set_result`."""
        await self._session.execute(
            update(SqlV2ProcessingJob).where(SqlV2ProcessingJob.id == job_id).values(result_data=result)
        )
