"""Registration of files in PostgreSQL."""

from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_events import DuplicateKind, MediaRef, Options, Stream, uuid7
from phonograph_ingest.constants import PROCESSED_CHANNELS, PROCESSED_FORMAT, PROCESSED_SAMPLE_RATE_HZ
from phonograph_ingest.domain.media import MediaFile, RegisteredMedia, RejectedFile
from phonograph_ingest.domain.tasks import IngestTask
from phonograph_ingest.storage.tables import SqlAudioProcessingMetadata, SqlMediaFile, SqlMediaLocation


class FileMetadata(BaseModel):
    """Shape of `media_files.file_metadata` (T1-06)."""

    format: str
    codec: str
    bitrate: int | None
    sample_rate: int | None
    channels: int | None
    video: Stream | None
    tags: dict[str, list[str]]


class SqlMediaRegistry:
    """See `phonograph_ingest.domain.ports.MediaRegistry`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def register(self, media_id: UUID, file: MediaFile, task: IngestTask) -> RegisteredMedia:
        """See `MediaRegistry.register`."""
        # Insert first and look up only after a conflict: the unique indexes decide between two workers, and
        # the insert waits for the other transaction, so that its row is visible to the lookup.
        statement = (
            insert(SqlMediaFile)
            .values(
                id=media_id,
                owner=task.owner,
                filename=file.file_name,
                file_size=file.file_size,
                duration=file.duration_s,
                kind=file.kind,
                mime_type=file.mime_type,
                source_path=file.uri,
                local_path=file.rendition_uri,
                file_hash=file.file_hash,
                secondary_hash=file.secondary_hash,
                content_fp=file.content_fp,
                silent=file.is_silent,
                file_metadata=_file_metadata(file).model_dump(mode="json"),
                profile=task.profile,
                priority=task.priority,
                options=task.options.model_dump(mode="json"),
                status="ready",
            )
            .on_conflict_do_nothing()
            .returning(SqlMediaFile)
        )
        row = (await self._session.scalars(statement)).one_or_none()
        if row is not None:
            await self._save_location(row.id, file.uri, task.owner)
            await self._session.execute(
                insert(SqlAudioProcessingMetadata).values(_processing_values(row.id, file))
            )
            return RegisteredMedia(_to_domain(row), None)
        original = await self._find_original(file, task.owner)
        has_same_bytes = original.file_hash == file.file_hash
        await self._save_location(original.id, file.uri, task.owner)
        kind = DuplicateKind.SAME_BYTES if has_same_bytes else DuplicateKind.SAME_SOUND
        return RegisteredMedia(_to_domain(original), kind)

    async def reject(self, media_id: UUID, rejected: RejectedFile, task: IngestTask) -> None:
        """See `MediaRegistry.reject`."""
        values = {
            "filename": rejected.file_name,
            "source_path": rejected.uri,
            "owner": task.owner,
            "profile": str(task.profile)[:20],
            "status": "failed",
            "error_reason": rejected.reason,
            "download_error": rejected.message,
        }
        statement = insert(SqlMediaFile).values(id=media_id, **values)
        await self._session.execute(
            statement.on_conflict_do_update(index_elements=["id"], set_=values | {"updated_at": func.now()})
        )

    async def versions(self) -> dict[str, int]:
        """See `MediaRegistry.versions`."""
        ids = await self._session.scalars(select(SqlMediaFile.id).where(SqlMediaFile.status == "ready"))
        return {str(media_id): 1 for media_id in ids}

    async def _find_original(self, file: MediaFile, owner: str | None) -> SqlMediaFile:
        """Return the owner's file with the same bytes, or else with the same audio."""
        same_bytes = SqlMediaFile.file_hash == file.file_hash
        same_sound = (SqlMediaFile.content_fp == file.content_fp) & ~SqlMediaFile.silent
        statement = (
            select(SqlMediaFile)
            .where(SqlMediaFile.owner.is_not_distinct_from(owner), or_(same_bytes, same_sound))
            .order_by(same_bytes.desc())
            .limit(1)
        )
        return (await self._session.scalars(statement)).one()

    async def _save_location(self, media_id: UUID, uri: str, owner: str | None) -> None:
        statement = insert(SqlMediaLocation).values(uri=uri, owner=owner or "", media_file_id=media_id)
        await self._session.execute(
            statement.on_conflict_do_update(
                index_elements=["uri", "owner"],
                set_={"media_file_id": media_id, "last_seen": func.now(), "deleted_at": None},
            )
        )


def _file_metadata(file: MediaFile) -> FileMetadata:
    return FileMetadata(
        format=file.container,
        codec=file.audio.codec,
        bitrate=file.bit_rate,
        sample_rate=file.audio.sample_rate_hz,
        channels=file.audio.channels,
        video=file.video,
        tags=file.tags,
    )


def _processing_values(media_id: UUID, file: MediaFile) -> dict[str, object]:
    return {
        "id": uuid7(),
        "media_file_id": media_id,
        "original_format": file.container[:100],
        "original_sample_rate": file.audio.sample_rate_hz,
        "original_channels": file.audio.channels,
        "processed_format": PROCESSED_FORMAT,
        "processed_sample_rate": PROCESSED_SAMPLE_RATE_HZ,
        "processed_channels": PROCESSED_CHANNELS,
        "preprocessing_time_seconds": file.preprocessing_s,
    }


def _to_domain(row: SqlMediaFile) -> MediaRef:
    return MediaRef.model_validate(
        {
            "media_id": row.id,
            "uri": row.source_path,
            "file_name": row.filename,
            "file_size": row.file_size,
            "kind": row.kind,
            "mime_type": row.mime_type,
            "duration_s": row.duration,
            "file_hash": row.file_hash,
            "secondary_hash": row.secondary_hash,
            "content_fp": row.content_fp,
            "rendition_uri": row.local_path,
            "profile": row.profile,
            "owner": row.owner,
            "priority": row.priority,
            "options": Options.model_validate(row.options),
        }
    )
