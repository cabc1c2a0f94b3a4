"""Files made from transcripts, and the transcripts from which they are made, in PostgreSQL."""

from uuid import UUID

from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_events import MediaRef
from phonograph_transcription.domain.exports import Export, ExportSource
from phonograph_transcription.storage.tables import SqlExport

_SOURCE = text("""
    SELECT result.id, result.version, result.document_uri, job.task -> 'media' AS media, inputs.turns_uri
    FROM transcription_results AS result
    JOIN transcription_jobs AS job ON job.id = result.job_id
    LEFT JOIN transcript_halves AS inputs ON inputs.media_file_id = result.media_file_id
    WHERE result.media_file_id = :media_id
      AND result.id = coalesce(CAST(:result_id AS uuid),
                               (SELECT result_id FROM current_transcripts WHERE media_file_id = :media_id))
""")


class SqlExportStore:
    """See `ExportStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find_source(self, media_id: UUID, result_id: UUID | None) -> ExportSource | None:
        """See `ExportStore.find_source`."""
        rows = await self._session.execute(_SOURCE, {"media_id": media_id, "result_id": result_id})
        row = rows.one_or_none()
        if row is None:
            return None
        return ExportSource(
            row.id, row.version, MediaRef.model_validate(row.media), row.document_uri, row.turns_uri
        )

    async def add(self, export: Export) -> None:
        """See `ExportStore.add`."""
        await self._session.execute(
            insert(SqlExport).values(
                id=export.id,
                transcript_id=export.result_id,
                format=export.export_format.value,
                file_path=export.uri,
                file_size=export.size,
                sha256=export.sha256,
            )
        )
