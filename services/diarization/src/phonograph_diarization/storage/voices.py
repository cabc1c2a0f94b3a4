"""Voices of known people in PostgreSQL."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_diarization.domain.diarization import Voiceprint
from phonograph_diarization.domain.voices import KnownVoice, decode_vector
from phonograph_diarization.storage.tables import SqlSpeakerProfile


class SqlKnownVoiceStore:
    """See `KnownVoiceStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self, owner: str | None, model_id: str, dim: int) -> list[KnownVoice]:
        """See `KnownVoiceStore.find`."""
        rows = await self._session.execute(
            select(SqlSpeakerProfile.user_profile_id, SqlSpeakerProfile.embedding).where(
                SqlSpeakerProfile.user_profile_id.is_not(None),
                SqlSpeakerProfile.user_id.is_not_distinct_from(owner),
                SqlSpeakerProfile.model_id == model_id,
                SqlSpeakerProfile.dim == dim,
            )
        )
        return [_to_domain(person, embedding, model_id) for person, embedding in rows if person is not None]


def _to_domain(person: UUID, embedding: str, model_id: str) -> KnownVoice:
    return KnownVoice(person, Voiceprint(model_id, decode_vector(embedding)))
