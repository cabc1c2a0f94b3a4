"""The registry of files in PostgreSQL."""

from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_events import DuplicateKind, MediaRef, Options, Stream, uuid7
from phonograph_ingest.constants import PROCESSED_CHANNELS, PROCESSED_FORMAT, PROCESSED_SAMPLE_RATE_HZ
from phonograph_ingest.domain.media import Intake, Registered, Rejection
from phonograph_ingest.domain.request import IngestTask
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

    async def register(self, media_id: UUID, intake: Intake, task: IngestTask) -> Registered:
        """Insert, or find what is there: unique indexes decide, so that two workers cannot both win."""
        statement = (
            insert(SqlMediaFile)
            .values(
                id=media_id,
                owner=task.owner,
                filename=intake.file_name,
                file_size=intake.file_size,
                duration=intake.duration_s,
                kind=intake.kind,
                mime_type=intake.mime_type,
                source_path=intake.uri,
                local_path=intake.rendition_uri,
                file_hash=intake.file_hash,
                secondary_hash=intake.secondary_hash,
                content_fp=intake.content_fp,
                silent=intake.silent,
                file_metadata=_metadata(intake).model_dump(mode="json"),
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
            await self._locate(row.id, intake.uri, task.owner)
            await self._session.execute(
                insert(SqlAudioProcessingMetadata).values(_processing(row.id, intake))
            )
            return Registered(_to_domain(row), None)
        first = await self._first(intake, task.owner)
        same_bytes = first.file_hash == intake.file_hash
        await self._locate(first.id, intake.uri, task.owner)
        kind = DuplicateKind.SAME_BYTES if same_bytes else DuplicateKind.SAME_SOUND
        return Registered(_to_domain(first), kind)

    async def reject(self, media_id: UUID, rejection: Rejection, task: IngestTask) -> None:
        """Insert or renew the row of a file that cannot be taken in."""
        values = {
            "filename": rejection.file_name,
            "source_path": rejection.uri,
            "owner": task.owner,
            "profile": str(task.profile)[:20],
            "status": "failed",
            "error_reason": rejection.reason,
            "download_error": rejection.message,
        }
        statement = insert(SqlMediaFile).values(id=media_id, **values)
        await self._session.execute(
            statement.on_conflict_do_update(index_elements=["id"], set_=values | {"updated_at": func.now()})
        )

    async def versions(self) -> dict[str, int]:
        """Ids of all ready files, each at version 1."""
        ids = await self._session.scalars(select(SqlMediaFile.id).where(SqlMediaFile.status == "ready"))
        return {str(media_id): 1 for media_id in ids}

    async def _first(self, intake: Intake, owner: str | None) -> SqlMediaFile:
        """The file with the same bytes, else the one with the same sound."""
        same_bytes = SqlMediaFile.file_hash == intake.file_hash
        same_sound = (SqlMediaFile.content_fp == intake.content_fp) & ~SqlMediaFile.silent
        statement = (
            select(SqlMediaFile)
            .where(SqlMediaFile.owner.is_not_distinct_from(owner), or_(same_bytes, same_sound))
            .order_by(same_bytes.desc())
            .limit(1)
        )
        return (await self._session.scalars(statement)).one()

    async def _locate(self, media_id: UUID, uri: str, owner: str | None) -> None:
        statement = insert(SqlMediaLocation).values(uri=uri, owner=owner or "", media_file_id=media_id)
        await self._session.execute(
            statement.on_conflict_do_update(
                index_elements=["uri", "owner"],
                set_={"media_file_id": media_id, "last_seen": func.now(), "deleted_at": None},
            )
        )


def _metadata(intake: Intake) -> FileMetadata:
    return FileMetadata(
        format=intake.container,
        codec=intake.audio.codec,
        bitrate=intake.bit_rate,
        sample_rate=intake.audio.sample_rate_hz,
        channels=intake.audio.channels,
        video=intake.video,
        tags=intake.tags,
    )


def _processing(media_id: UUID, intake: Intake) -> dict[str, object]:
    return {
        "id": uuid7(),
        "media_file_id": media_id,
        "original_format": intake.container[:100],
        "original_sample_rate": intake.audio.sample_rate_hz,
        "original_channels": intake.audio.channels,
        "processed_format": PROCESSED_FORMAT,
        "processed_sample_rate": PROCESSED_SAMPLE_RATE_HZ,
        "processed_channels": PROCESSED_CHANNELS,
        "preprocessing_time_seconds": intake.preprocessing_s,
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
