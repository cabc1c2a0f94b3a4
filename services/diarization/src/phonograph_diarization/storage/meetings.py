"""Files, meetings, speakers and artifacts in PostgreSQL."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from pydantic import BaseModel, RootModel
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_diarization.domain.diarization import Turn
from phonograph_diarization.domain.meeting import ArtifactType, MeetingStatus, Speaker
from phonograph_diarization.domain.results import StoredDiarization, StoredObject
from phonograph_diarization.domain.voices import encode_vector
from phonograph_diarization.storage.tables import SqlArtifact, SqlFile, SqlMeeting, SqlSpeaker
from phonograph_events import MediaRef, uuid7


class ArtifactMeta(BaseModel):
    """Shape of `artifacts.meta`."""

    content_type: str
    size: int
    """Bytes."""


class TurnTimes(RootModel[list[tuple[float, float]]]):
    """Shape of `speakers.turns`."""


_CONTENT_TYPES = {
    ArtifactType.SPEAKERS_JSON: "application/json",
    ArtifactType.TURNS_RTTM: "text/plain; charset=utf-8",
}


class SqlMeetingStore:
    """See `MeetingStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add_pending(self, meeting_id: UUID, media: MediaRef) -> bool:
        """See `MeetingStore.add_pending`."""
        file = insert(SqlFile).values(
            id=media.media_id,
            sha256=media.file_hash,
            content_fp=media.content_fp,
            mime=media.mime_type,
            duration=media.duration_s,
            size=media.file_size,
            owner=media.owner,
        )
        await self._session.execute(file.on_conflict_do_nothing(index_elements=["id"]))
        version = (
            select(func.coalesce(func.max(SqlMeeting.version), 0) + 1)
            .where(SqlMeeting.file_id == media.media_id)
            .scalar_subquery()
        )
        added = await self._session.scalars(
            insert(SqlMeeting)
            .values(id=meeting_id, file_id=media.media_id, version=version, status=MeetingStatus.PENDING)
            .on_conflict_do_nothing()
            .returning(SqlMeeting.id)
        )
        return added.one_or_none() is not None

    async def complete(
        self,
        meeting_id: UUID,
        stored: StoredDiarization,
        speakers: Sequence[Speaker],
        *,
        processing_s: float | None,
    ) -> int:
        """See `MeetingStore.complete`."""
        diarization = stored.diarization
        statement = (
            update(SqlMeeting)
            .where(SqlMeeting.id == meeting_id)
            .values(
                status=MeetingStatus.COMPLETED,
                engine=diarization.engine,
                model_used=diarization.model,
                speaker_count=len(diarization.voices),
                reason=diarization.reason,
                started_at=func.now() - timedelta(seconds=processing_s or 0),
                finished_at=func.now(),
            )
            .returning(SqlMeeting.version)
        )
        version = (await self._session.scalars(statement)).one()
        if speakers:
            rows = [_speaker_row(meeting_id, speaker, diarization.turns) for speaker in speakers]
            await self._session.execute(insert(SqlSpeaker), rows)
        artifacts = [
            (ArtifactType.SPEAKERS_JSON, stored.document),
            (ArtifactType.TURNS_RTTM, stored.rttm),
        ]
        rows = [_artifact_row(meeting_id, kind, document) for kind, document in artifacts if document]
        await self._session.execute(insert(SqlArtifact), rows)
        return version

    async def fail(self, meeting_id: UUID, reason: str) -> None:
        """See `MeetingStore.fail`."""
        await self._session.execute(
            update(SqlMeeting)
            .where(SqlMeeting.id == meeting_id)
            .values(status=MeetingStatus.FAILED, reason=reason[:100], finished_at=func.now())
        )

    async def speaker_versions(self) -> dict[str, int]:
        """Return the ids of all speakers, each with version 1: they never change."""
        return {str(speaker_id): 1 for speaker_id in await self._session.scalars(select(SqlSpeaker.id))}


def _speaker_row(meeting_id: UUID, speaker: Speaker, turns: Sequence[Turn]) -> dict[str, object]:
    voiceprint = speaker.voice.voiceprint
    own = [(turn.start_s, turn.end_s) for turn in turns if turn.speaker == speaker.voice.label]
    return {
        "id": speaker.speaker_id,
        "meeting_id": meeting_id,
        "cluster_id": speaker.voice.label,
        "seconds": speaker.voice.speech_s,
        "turns": TurnTimes(own).model_dump(mode="json"),
        "embedding": None if voiceprint is None else encode_vector(voiceprint.vector),
        "model_id": None if voiceprint is None else voiceprint.model_id,
        "dim": None if voiceprint is None else voiceprint.dim,
    }


def _artifact_row(meeting_id: UUID, kind: ArtifactType, document: StoredObject) -> dict[str, object]:
    meta = ArtifactMeta(content_type=_CONTENT_TYPES[kind], size=document.size_bytes)
    return {
        "id": uuid7(),
        "meeting_id": meeting_id,
        "type": kind,
        "s3_key": document.key,
        "meta": meta.model_dump(mode="json"),
    }
