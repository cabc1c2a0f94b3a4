"""The accuracy of transcripts in PostgreSQL."""

from uuid import UUID

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_transcription.domain.results import StoredText
from phonograph_transcription.storage.tables import SqlTranscriptionResult

_TEXT = text("""
    SELECT id, version, content ->> 'text' AS text FROM transcription_results
    WHERE media_file_id = :media_id
      AND id = coalesce(CAST(:result_id AS uuid),
                        (SELECT result_id FROM current_transcripts WHERE media_file_id = :media_id))
""")


class SqlScoreStore:
    """See `ScoreStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find_text(self, media_id: UUID, result_id: UUID | None) -> StoredText | None:
        """See `ScoreStore.find_text`."""
        rows = await self._session.execute(_TEXT, {"media_id": media_id, "result_id": result_id})
        row = rows.one_or_none()
        return None if row is None else StoredText(row.id, row.version, row.text)

    async def set_accuracy(self, result_id: UUID, accuracy: float, source: str) -> None:
        """See `ScoreStore.set_accuracy`."""
        await self._session.execute(
            update(SqlTranscriptionResult)
            .where(SqlTranscriptionResult.id == result_id)
            .values(accuracy=accuracy, accuracy_source=source)
        )
