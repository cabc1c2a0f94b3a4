"""The catalogue in PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit
from urllib.request import url2pathname
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_events import MediaRef, uuid7
from phonograph_tracklist.constants import MAX_ARTIST_CHARS, MAX_TITLE_CHARS
from phonograph_tracklist.domain.catalogue import RecordingStatus
from phonograph_tracklist.domain.metadata import ExtractionMethod, MetadataRow
from phonograph_tracklist.domain.rename import RenameProposal
from phonograph_tracklist.domain.tracklist import Tracklist
from phonograph_tracklist.storage.tables import SqlMetadata, SqlRecording, SqlRenameProposal, SqlTracklist

MAX_PATH_CHARS = 1024
MAX_PATH_BYTES = 1_800
"""With the longest owner it still fits into an index entry of 2,704 bytes."""
MAX_MIME_CHARS = 100


class TracklistExtras(BaseModel):
    """Shape of `tracklists.metadata`."""

    warnings: list[str]


class MetadataUsed(BaseModel):
    """Shape of `rename_proposals.metadata_used`: the tags that a name was made of."""

    artist: str | None = None
    albumartist: str | None = None
    title: str | None = None
    album: str | None = None
    year: str | None = None
    genre: str | None = None
    track: str | None = None


class SqlCatalogue:
    """See `phonograph_tracklist.domain.ports.Catalogue`."""

    def __init__(self, session: AsyncSession, *, correlation_id: UUID | None) -> None:
        self._session = session
        self._correlation_id = correlation_id

    async def add(self, media: MediaRef) -> None:
        """Insert; of two files at one path the younger one is there, in whichever order they come."""
        path = _path(media.uri)
        same_path = (
            SqlRecording.owner.is_not_distinct_from(media.owner)
            & (SqlRecording.file_path == path)
            & (SqlRecording.status != RecordingStatus.DELETED)
        )
        await self._session.execute(
            update(SqlRecording)
            .where(same_path, SqlRecording.id < media.media_id)
            .values(status=RecordingStatus.DELETED)
        )
        younger = await self._session.scalar(
            select(func.count()).where(same_path, SqlRecording.id > media.media_id)
        )
        statement = insert(SqlRecording).values(
            id=media.media_id,
            owner=media.owner,
            file_path=path,
            file_name=media.file_name,
            file_hash=media.file_hash,
            secondary_hash=media.secondary_hash,
            file_size=media.file_size,
            status=RecordingStatus.DELETED if younger else RecordingStatus.PENDING,
            mime_type=media.mime_type[:MAX_MIME_CHARS],
            correlation_id=self._correlation_id,
        )
        await self._session.execute(statement.on_conflict_do_nothing(index_elements=["id"]))

    async def complete(self, media_id: UUID, modified_at: datetime | None) -> None:
        """Set status and times."""
        await self._session.execute(
            update(SqlRecording)
            .where(SqlRecording.id == media_id)
            .values(completed_at=func.now(), last_modified=modified_at)
        )
        await self._set_status(media_id, RecordingStatus.COMPLETED)

    async def fail(self, media_id: UUID) -> None:
        """Set the status."""
        await self._set_status(media_id, RecordingStatus.FAILED)

    async def replace_metadata(
        self, media_id: UUID, method: ExtractionMethod, rows: Sequence[MetadataRow]
    ) -> None:
        """Delete what is no longer told, upsert the rest."""
        await self._session.execute(
            delete(SqlMetadata).where(
                SqlMetadata.recording_id == media_id,
                SqlMetadata.extraction_method == method,
                SqlMetadata.key.not_in([row.key for row in rows]),
            )
        )
        if not rows:
            return
        statement = insert(SqlMetadata).values(
            [
                {
                    "id": uuid7(),
                    "recording_id": media_id,
                    "key": row.key,
                    "value": row.value,
                    "value_type": row.value_type,
                    "extraction_method": row.extraction_method,
                    "confidence": row.confidence,
                    "correlation_id": self._correlation_id,
                }
                for row in rows
            ]
        )
        new = statement.excluded
        await self._session.execute(
            statement.on_conflict_do_update(
                index_elements=["recording_id", "key"],
                set_={
                    "value": new.value,
                    "value_type": new.value_type,
                    "extraction_method": new.extraction_method,
                    "confidence": new.confidence,
                    "correlation_id": new.correlation_id,
                    "updated_at": func.now(),
                },
            )
        )

    async def take_music(self, media_id: UUID, result_id: UUID) -> bool:
        """Set the newest result; nothing is updated when the one held is newer."""
        statement = (
            update(SqlRecording)
            .where(
                SqlRecording.id == media_id,
                func.coalesce(SqlRecording.music_result_id, result_id) <= result_id,
            )
            .values(music_result_id=result_id)
            .returning(SqlRecording.id)
        )
        return (await self._session.execute(statement)).scalar_one_or_none() is not None

    async def add_tracklist(self, media: MediaRef, tracklist: Tracklist, warnings: Sequence[str]) -> UUID:
        """Insert as the current one."""
        await self._session.execute(
            update(SqlTracklist)
            .where(SqlTracklist.recording_id == media.media_id, SqlTracklist.is_current)
            .values(is_current=False)
        )
        tracklist_id = uuid7()
        tracks = [entry.as_document().model_dump(mode="json") for entry in tracklist.tracks]
        await self._session.execute(
            insert(SqlTracklist).values(
                id=tracklist_id,
                recording_id=media.media_id,
                is_current=True,
                title=(tracklist.title or media.file_name)[:MAX_TITLE_CHARS],
                artist=tracklist.artist and tracklist.artist[:MAX_ARTIST_CHARS],
                source_type=tracklist.source_type,
                tracks=tracks,
                extra_metadata=TracklistExtras(warnings=list(warnings)).model_dump(mode="json"),
                track_count=len(tracks),
                total_duration=int(media.duration_s + 0.5),
                correlation_id=self._correlation_id,
            )
        )
        return tracklist_id

    async def add_proposal(self, media_id: UUID, proposal: RenameProposal) -> UUID:
        """Insert, or renew reason and confidence of the same proposal; what was decided on it stays."""
        statement = insert(SqlRenameProposal).values(
            id=uuid7(),
            recording_id=media_id,
            current_filename=proposal.current_filename,
            proposed_filename=proposal.proposed_filename,
            proposal_reason=proposal.reason,
            metadata_used=MetadataUsed.model_validate(proposal.metadata_used).model_dump(exclude_none=True),
            confidence_score=proposal.confidence,
            correlation_id=self._correlation_id,
        )
        new = statement.excluded
        upsert = statement.on_conflict_do_update(
            index_elements=["recording_id", "current_filename", "proposed_filename"],
            set_={
                "proposal_reason": new.proposal_reason,
                "metadata_used": new.metadata_used,
                "confidence_score": new.confidence_score,
                "updated_at": func.now(),
            },
        )
        return (await self._session.scalars(upsert.returning(SqlRenameProposal.id))).one()

    async def versions(self) -> dict[str, dict[str, int]]:
        """Ids of all published recordings and of their current tracklists, each at version 1."""
        recordings = select(SqlRecording.id).where(SqlRecording.completed_at.is_not(None))
        tracklists = select(SqlTracklist.id).where(SqlTracklist.is_current)
        return {
            kind: {str(found): 1 for found in await self._session.scalars(statement)}
            for kind, statement in (("recording", recordings), ("tracklist", tracklists))
        }

    async def refresh_stats(self) -> None:
        """Refresh `recording_stats`; readers go on reading the old counts (C-39)."""
        await self._session.execute(text("SELECT refresh_recording_stats()"))

    async def _set_status(self, media_id: UUID, status: RecordingStatus) -> None:
        await self._session.execute(
            update(SqlRecording)
            .where(SqlRecording.id == media_id, SqlRecording.status != RecordingStatus.DELETED)
            .values(status=status)
        )


def _path(uri: str) -> str:
    """The path of a local file, any other address as it is; of a long one the telling end."""
    parts = urlsplit(uri)
    path = url2pathname(parts.path) if parts.scheme == "file" else uri
    return path.encode()[-MAX_PATH_BYTES:].decode(errors="ignore")[-MAX_PATH_CHARS:]
