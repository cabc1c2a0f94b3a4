"""Files, meetings, speakers and artifacts in PostgreSQL."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_diarization.domain.meeting import ArtifactType, MeetingStatus, Speaker
from phonograph_diarization.domain.task import Diarized, StoredObject
from phonograph_diarization.domain.voices import encode_vector
from phonograph_diarization.storage.tables import SqlArtifact, SqlFile, SqlMeeting, SqlSpeaker
from phonograph_events import MediaRef, uuid7


class ArtifactMeta(BaseModel):
    """Shape of `artifacts.meta`."""

    content_type: str
    size: int
    """Bytes."""


_CONTENT_TYPES = {
    ArtifactType.SPEAKERS_JSON: "application/json",
    ArtifactType.TURNS_RTTM: "text/plain; charset=utf-8",
}


class SqlMeetings:
    """See `phonograph_diarization.domain.ports.Meetings`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def plan(self, meeting_id: UUID, media: MediaRef) -> None:
        """Insert the file and a pending meeting, where they are new."""
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
        await self._session.execute(
            insert(SqlMeeting)
            .values(id=meeting_id, file_id=media.media_id, version=version, status=MeetingStatus.PENDING)
            .on_conflict_do_nothing(index_elements=["id"])
        )

    async def complete(
        self,
        meeting_id: UUID,
        diarized: Diarized,
        speakers: Sequence[Speaker],
        *,
        seconds: float | None,
    ) -> int:
        """Close the meeting with its speakers and artifacts; the meeting started `seconds` ago."""
        found = diarized.diarization
        statement = (
            update(SqlMeeting)
            .where(SqlMeeting.id == meeting_id)
            .values(
                status=MeetingStatus.COMPLETED,
                engine=found.engine,
                model_used=found.model,
                speaker_count=len(found.voices),
                reason=found.reason,
                started_at=func.now() - timedelta(seconds=seconds or 0),
                finished_at=func.now(),
            )
            .returning(SqlMeeting.version)
        )
        version = (await self._session.scalars(statement)).one()
        if speakers:
            rows = [_speaker_row(meeting_id, speaker) for speaker in speakers]
            await self._session.execute(insert(SqlSpeaker), rows)
        artifacts = [
            (ArtifactType.SPEAKERS_JSON, diarized.document),
            (ArtifactType.TURNS_RTTM, diarized.rttm),
        ]
        rows = [_artifact_row(meeting_id, kind, stored) for kind, stored in artifacts if stored is not None]
        await self._session.execute(insert(SqlArtifact), rows)
        return version

    async def fail(self, meeting_id: UUID, reason: str) -> None:
        """Close the meeting without a result."""
        await self._session.execute(
            update(SqlMeeting)
            .where(SqlMeeting.id == meeting_id)
            .values(status=MeetingStatus.FAILED, reason=reason[:100], finished_at=func.now())
        )

    async def speaker_versions(self) -> dict[str, int]:
        """Ids of all speakers, each at version 1: they never change."""
        return {str(speaker_id): 1 for speaker_id in await self._session.scalars(select(SqlSpeaker.id))}


def _speaker_row(meeting_id: UUID, speaker: Speaker) -> dict[str, object]:
    voiceprint, match = speaker.voice.voiceprint, speaker.match
    return {
        "id": speaker.speaker_id,
        "meeting_id": meeting_id,
        "cluster_id": speaker.voice.label,
        "user_profile_id": None if match is None else match.user_profile_id,
        "confidence": None if match is None else match.confidence,
        "seconds": speaker.voice.seconds,
        "embedding": None if voiceprint is None else encode_vector(voiceprint.vector),
        "model_id": None if voiceprint is None else voiceprint.model_id,
        "dim": None if voiceprint is None else voiceprint.dim,
    }


def _artifact_row(meeting_id: UUID, kind: ArtifactType, stored: StoredObject) -> dict[str, object]:
    meta = ArtifactMeta(content_type=_CONTENT_TYPES[kind], size=stored.size)
    return {
        "id": uuid7(),
        "meeting_id": meeting_id,
        "type": kind,
        "s3_key": stored.key,
        "meta": meta.model_dump(mode="json"),
    }
