"""Storage of recordings with their metadata, tracklists and rename proposals."""

import os
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ColumnElement, delete, exists, func, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_events import MediaRef, file_uri_to_path, uuid7
from phonograph_tracklist.constants import MAX_ARTIST_CHARS, MAX_TITLE_CHARS
from phonograph_tracklist.domain.metadata import ExtractionMethod, MetadataRow
from phonograph_tracklist.domain.rename import RenameProposal
from phonograph_tracklist.domain.status import ProposalStatus, RecordingStatus
from phonograph_tracklist.domain.tracklist import Tracklist
from phonograph_tracklist.storage.tables import SqlMetadata, SqlRecording, SqlRenameProposal, SqlTracklist

MAX_PATH_CHARS = 1024
MAX_PATH_BYTES = 1_800
"""Such a path and the longest owner together fit into an index entry of 2,704 bytes."""
MAX_MIME_CHARS = 100


class TracklistExtras(BaseModel):
    """Shape of `tracklists.metadata`."""

    warnings: list[str]


class MetadataUsed(BaseModel):
    """Shape of `rename_proposals.metadata_used`: the tags from which a name was made."""

    artist: str | None = None
    albumartist: str | None = None
    title: str | None = None
    album: str | None = None
    year: str | None = None
    genre: str | None = None
    track: str | None = None


class SqlCatalog:
    """See `phonograph_tracklist.domain.ports.Catalog`."""

    def __init__(self, session: AsyncSession, *, correlation_id: UUID | None) -> None:
        self._session = session
        self._correlation_id = correlation_id

    async def add(self, media: MediaRef) -> None:
        """See `Catalog.add`. Ids sort by time, so two files at one path may be added in either order."""
        path = _path(media.uri)
        same_path = (
            SqlRecording.owner.is_not_distinct_from(media.owner)
            & (SqlRecording.file_path == path)
            & (SqlRecording.status != RecordingStatus.DELETED)
        )
        # The older one goes first: two recordings that are not deleted would violate the index of the path.
        await self._session.execute(
            update(SqlRecording)
            .where(same_path, SqlRecording.id < media.media_id)
            .values(status=RecordingStatus.DELETED)
        )
        newer = await self._session.scalar(
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
            status=RecordingStatus.DELETED if newer else RecordingStatus.PENDING,
            mime_type=media.mime_type[:MAX_MIME_CHARS],
            correlation_id=self._correlation_id,
        )
        await self._session.execute(statement.on_conflict_do_nothing(index_elements=["id"]))

    async def complete(self, media_id: UUID, modified_at: datetime | None) -> int:
        """See `Catalog.complete`."""
        statement = (
            update(SqlRecording)
            .where(SqlRecording.id == media_id)
            .values(
                completed_at=func.now(),
                last_modified=modified_at,
                result_version=SqlRecording.result_version + 1,
            )
            .returning(SqlRecording.result_version)
        )
        version = (await self._session.scalars(statement)).one()
        await self._set_status(media_id, RecordingStatus.COMPLETED)
        return version

    async def fail(self, media_id: UUID) -> None:
        """See `Catalog.fail`."""
        await self._set_status(media_id, RecordingStatus.FAILED, SqlRecording.result_version == 0)

    async def replace_metadata(
        self, media_id: UUID, method: ExtractionMethod, rows: Sequence[MetadataRow]
    ) -> None:
        """See `Catalog.replace_metadata`."""
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

    async def claim_newest_analysis(self, media_id: UUID, result_id: UUID) -> bool:
        """See `Catalog.claim_newest_analysis`. An analysis that is delivered again is still the newest."""
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

    async def replace_tracklist(
        self, media: MediaRef, tracklist: Tracklist | None, warnings: Sequence[str], *, version: int
    ) -> UUID | None:
        """See `Catalog.replace_tracklist`."""
        # Before the insert: the index allows one current tracklist per recording.
        await self._session.execute(
            update(SqlTracklist)
            .where(SqlTracklist.recording_id == media.media_id, SqlTracklist.is_current)
            .values(is_current=False)
        )
        if tracklist is None:
            return None
        tracklist_id = uuid7()
        tracks = [entry.to_document().model_dump(mode="json") for entry in tracklist.tracks]
        await self._session.execute(
            insert(SqlTracklist).values(
                id=tracklist_id,
                recording_id=media.media_id,
                is_current=True,
                version=version,
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

    async def is_name_taken(self, media: MediaRef, file_name: str) -> bool:
        """See `Catalog.is_name_taken`. All owners share the folders of a machine."""
        path = _path(media.uri)
        folder = path.rpartition("/")[0]
        # Before the question: of two transactions, the second one has to see what the first one proposes.
        await self._session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(folder, 0))))
        has_name = exists().where(
            SqlRecording.file_path == f"{folder}/{file_name}", SqlRecording.status != RecordingStatus.DELETED
        )
        gets_name = exists().where(
            func.lower(SqlRenameProposal.proposed_filename) == func.lower(file_name),
            SqlRenameProposal.status.not_in([ProposalStatus.REJECTED, ProposalStatus.FAILED]),
            SqlRenameProposal.recording_id == SqlRecording.id,
            SqlRecording.status != RecordingStatus.DELETED,
            SqlRecording.file_path != path,
            SqlRecording.file_path == literal(f"{folder}/").concat(SqlRecording.file_name),
        )
        return bool(await self._session.scalar(select(or_(has_name, gets_name))))

    async def add_proposal(self, media_id: UUID, proposal: RenameProposal) -> UUID:
        """See `Catalog.add_proposal`. The status of an equal proposal stays: it may have been decided on."""
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
        """Return the ids of all published recordings and of all current tracklists, each with version 1."""
        recordings = select(SqlRecording.id).where(SqlRecording.completed_at.is_not(None))
        tracklists = select(SqlTracklist.id).where(SqlTracklist.is_current)
        return {
            kind: {str(row_id): 1 for row_id in await self._session.scalars(statement)}
            for kind, statement in (("recording", recordings), ("tracklist", tracklists))
        }

    async def refresh_stats(self) -> None:
        """See `Catalog.refresh_stats`. Readers are not blocked; they see the old counts meanwhile (C-39)."""
        await self._session.execute(text("SELECT refresh_recording_stats()"))

    async def _set_status(
        self, media_id: UUID, status: RecordingStatus, *conditions: ColumnElement[bool]
    ) -> None:
        """Set the status, unless a newer file has taken the path."""
        await self._session.execute(
            update(SqlRecording)
            .where(SqlRecording.id == media_id, SqlRecording.status != RecordingStatus.DELETED, *conditions)
            .values(status=status)
        )


def _path(uri: str) -> str:
    """Return the path of a local file, or any other URI as it is; a long one is cut at its start.

    The end distinguishes more files. Bytes that are not UTF-8 become U+FFFD, since PostgreSQL refuses them.
    """
    local = file_uri_to_path(uri)
    path = uri if local is None else os.fsencode(local).decode(errors="replace")
    return path.encode()[-MAX_PATH_BYTES:].decode(errors="ignore")[-MAX_PATH_CHARS:]
