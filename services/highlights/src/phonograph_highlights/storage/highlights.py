"""What was found in each recording, in PostgreSQL."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel, RootModel
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_events import MediaRef, Stream, uuid7
from phonograph_highlights.constants import NOISE_DB, SILENCE_ENGINE, TOPICS_ENGINE
from phonograph_highlights.domain.highlights import HighlightsFound, SilenceFound, job_id
from phonograph_highlights.domain.regions import SilenceRegion, SilenceType
from phonograph_highlights.domain.status import LogStatus, RecordingStatus, Stage
from phonograph_highlights.domain.tasks import SegmentsTask
from phonograph_highlights.storage.tables import (
    Base,
    SqlClip,
    SqlContentSegment,
    SqlJob,
    SqlProcessingLog,
    SqlSilenceRegion,
    SqlTranscript,
)

SILENCE_PERCENT = 50.0


class Held(BaseModel):
    """Shape of `jobs.metadata`: what the results come from."""

    media_id: UUID
    file_hash: str
    silence_uri: str | None = None
    document_uri: str | None = None
    reason: str | None = None
    version: int = 0
    """Of the published highlights; 0 before the first."""
    transcript_id: UUID | None = None
    transcript_version: int = 0


class ClipFiles(BaseModel):
    """Shape of `clips.metadata`: the subtitles that have no column of their own."""

    vtt_s3_key: str


class LogNote(BaseModel):
    """Shape of `processing_logs.metadata`."""

    found: int | None = None


class Words(RootModel[list[str]]):
    """Shape of `content_segments.keywords` and `.concepts`."""


class SqlHighlightsStore:
    """See `phonograph_highlights.domain.ports.HighlightsStore`."""

    def __init__(self, session: AsyncSession, *, event_id: str | None = None) -> None:
        self._session = session
        self._event_id = event_id

    async def open(self, media: MediaRef, video: Stream | None) -> None:
        """Insert the recording's row; what the picture is like is known to one of two events only."""
        picture = {} if video is None else video.model_dump(mode="json", exclude_none=True)
        row = {
            "id": uuid7(),
            "job_id": job_id(media.media_id),
            "filename": media.file_name,
            "file_size": media.file_size,
            "content_type": media.mime_type[:100],
            "original_s3_key": _original_key(media),
            "video_duration": media.duration_s,
            "video_metadata": picture,
            "celery_task_id": self._event_id and self._event_id[:100],
            "current_stage": Stage.SILENCE_DETECTION.value,
            SqlJob.extra_metadata: _held(media).model_dump(mode="json"),
        }
        statement = insert(SqlJob).values(row)
        if picture:
            statement = statement.on_conflict_do_update(
                index_elements=["job_id"], set_={"video_metadata": picture, "updated_at": func.now()}
            )
        else:
            statement = statement.on_conflict_do_nothing(index_elements=["job_id"])
        await self._session.execute(statement)

    async def keep_silence(self, media: MediaRef, found: SilenceFound, *, seconds: float | None) -> None:
        """Replace the regions and go on to wait for the words."""
        held = await self._lock(media.media_id)
        await self._log(
            media.media_id,
            Stage.SILENCE_DETECTION,
            SILENCE_ENGINE,
            seconds=seconds,
            found=len(found.regions),
        )
        if held.version > 1:
            return
        await self._replace_regions(media.media_id, found.regions)
        held = held.model_copy(
            update={"silence_uri": found.document_uri, "document_uri": found.document_uri, "version": 1}
        )
        await self._update(
            media.media_id,
            held,
            status=RecordingStatus.RUNNING.value,
            current_stage=Stage.TRANSCRIPTION.value,
            progress_percent=SILENCE_PERCENT,
            progress_message="Silence found, waiting for the transcript",
        )

    async def silence_uri(self, media_id: UUID) -> str | None:
        """Address of the first stage's document."""
        statement = select(SqlJob.extra_metadata).where(SqlJob.job_id == job_id(media_id))
        metadata = (await self._session.scalars(statement)).one_or_none()
        return None if metadata is None else Held.model_validate(metadata).silence_uri

    async def keep_highlights(self, task: SegmentsTask, found: HighlightsFound) -> int | None:
        """Replace everything that was found before."""
        media_id, owner = task.media.media_id, job_id(task.media.media_id)
        held = await self._lock(media_id)
        if held.transcript_version > task.version:
            return None
        for table in (SqlClip, SqlContentSegment, SqlTranscript):
            await self._session.execute(delete(table).where(table.job_id == owner))
        await self._replace_regions(media_id, found.regions)
        await self._insert(SqlTranscript, _transcript_rows(owner, found))
        await self._insert(SqlContentSegment, _segment_rows(owner, found))
        await self._insert(SqlClip, _clip_rows(owner, found))
        counts = {Stage.SEGMENTATION: len(found.segments), Stage.COMPILATION: len(found.clips)}
        for stage, stage_s in found.stage_seconds.items():
            await self._log(
                media_id, Stage(stage), TOPICS_ENGINE, seconds=stage_s, found=counts.get(Stage(stage))
            )
        for warning in found.warnings:
            await self._log(media_id, Stage.COMPILATION, TOPICS_ENGINE, error=warning)
        await self._log(media_id, Stage.COMPLETE, TOPICS_ENGINE)
        version = max(held.version, 1) + 1
        held = held.model_copy(
            update={
                "document_uri": found.document_uri,
                "reason": found.reason,
                "version": version,
                "transcript_id": task.result_id,
                "transcript_version": task.version,
            }
        )
        await self._update(
            media_id,
            held,
            status=RecordingStatus.COMPLETED.value,
            current_stage=Stage.COMPLETE.value,
            progress_percent=100.0,
            progress_message=None,
            error_message=None,
            completed_at=func.now(),
        )
        return version

    async def fail(self, media: MediaRef, stage: Stage, message: str) -> None:
        """Log the failure; a recording that is complete stays so."""
        await self._log(media.media_id, stage, None, error=message)
        await self._session.execute(
            update(SqlJob)
            .where(SqlJob.job_id == job_id(media.media_id), SqlJob.status != RecordingStatus.COMPLETED.value)
            .values(
                status=RecordingStatus.FAILED.value,
                current_stage=stage.value,
                error_message=message,
                completed_at=func.now(),
            )
        )

    async def versions(self) -> dict[str, dict[str, int]]:
        """Ids of all segments and clips."""
        segments = await self._session.scalars(select(SqlContentSegment.segment_id))
        clips = await self._session.scalars(select(SqlClip.clip_id))
        return {"segment": dict.fromkeys(segments, 1), "clip": dict.fromkeys(clips, 1)}

    async def _lock(self, media_id: UUID) -> Held:
        """What is held; the row stays locked, so that two stages cannot pass each other."""
        statement = select(SqlJob.extra_metadata).where(SqlJob.job_id == job_id(media_id)).with_for_update()
        return Held.model_validate((await self._session.scalars(statement)).one())

    async def _update(self, media_id: UUID, held: Held, **values: Any) -> None:
        await self._session.execute(
            update(SqlJob)
            .where(SqlJob.job_id == job_id(media_id))
            .values({**values, SqlJob.extra_metadata: held.model_dump(mode="json")})
        )

    async def _replace_regions(self, media_id: UUID, regions: Sequence[SilenceRegion]) -> None:
        owner = job_id(media_id)
        await self._session.execute(delete(SqlSilenceRegion).where(SqlSilenceRegion.job_id == owner))
        await self._insert(SqlSilenceRegion, [_region_row(owner, region) for region in regions])

    async def _insert(self, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            await self._session.execute(insert(table), rows)

    async def _log(
        self,
        media_id: UUID,
        stage: Stage,
        agent: str | None,
        *,
        seconds: float | None = None,
        found: int | None = None,
        error: str | None = None,
    ) -> None:
        # now() is the same for the whole transaction and would lose the order of the stages.
        row = {
            "created_at": func.clock_timestamp(),
            "id": uuid7(),
            "log_id": _fresh_id("log"),
            "job_id": job_id(media_id),
            "stage": stage.value,
            "agent_name": agent,
            "status": LogStatus.COMPLETED.value if error is None else LogStatus.FAILED.value,
            "duration_seconds": seconds,
            "error_message": error,
            SqlProcessingLog.extra_metadata: LogNote(found=found).model_dump(mode="json", exclude_none=True),
        }
        await self._session.execute(insert(SqlProcessingLog).values(row))


def _held(media: MediaRef) -> Held:
    return Held(media_id=media.media_id, file_hash=media.file_hash)


def _original_key(media: MediaRef) -> str:
    """The original's address; by its content where the address is too long for the column (L-01)."""
    return media.uri if len(media.uri) <= 500 else f"sha256:{media.file_hash}"


def _fresh_id(prefix: str) -> str:
    return f"{prefix}_{uuid4().hex}"


def _region_row(owner: str, region: SilenceRegion) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "region_id": _fresh_id("region"),
        "job_id": owner,
        "start_time": region.start_s,
        "end_time": region.end_s,
        "duration": region.end_s - region.start_s,
        "silence_type": region.type.value,
        "amplitude_threshold": None if region.type is SilenceType.BLANK_SCREEN else NOISE_DB,
    }


def _transcript_rows(owner: str, found: HighlightsFound) -> list[dict[str, Any]]:
    return [
        {
            "id": uuid7(),
            "segment_id": _fresh_id("trans"),
            "job_id": owner,
            "start_time": segment.start,
            "end_time": segment.end,
            "text": segment.text,
            "confidence": segment.confidence,
            "speaker_id": segment.speaker and segment.speaker[:50],
        }
        for segment in found.transcript
    ]


def _segment_rows(owner: str, found: HighlightsFound) -> list[dict[str, Any]]:
    return [
        {
            "id": uuid7(),
            "segment_id": segment.segment_id,
            "job_id": owner,
            "start_time": segment.start_s,
            "end_time": segment.end_s,
            "duration": segment.end_s - segment.start_s,
            "topic": segment.title,
            "importance_score": segment.importance,
            "keywords": Words(list(segment.keywords)).model_dump(),
            "concepts": Words([]).model_dump(),
            "segment_order": order,
        }
        for order, segment in enumerate(found.segments, start=1)
    ]


def _clip_rows(owner: str, found: HighlightsFound) -> list[dict[str, Any]]:
    return [
        {
            "id": uuid7(),
            "clip_id": clip.clip_id,
            "job_id": owner,
            "content_segment_id": clip.segment_id,
            "title": clip.title,
            "topic": clip.title,
            "importance_score": clip.importance,
            "start_time": clip.start_s,
            "end_time": clip.end_s,
            "duration": clip.end_s - clip.start_s,
            "s3_key": clip.media.key,
            "thumbnail_s3_key": clip.thumbnail and clip.thumbnail.key,
            "subtitle_s3_key": clip.srt.key,
            "clip_order": order,
            "extra_metadata": ClipFiles(vtt_s3_key=clip.vtt.key).model_dump(mode="json"),
        }
        for order, clip in enumerate(found.clips, start=1)
    ]
