"""The highlights store, in PostgreSQL."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel, RootModel
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_events import MediaRef, Stream, uuid7
from phonograph_events.documents import TranscriptSegment
from phonograph_highlights.constants import SILENCE_ENGINE
from phonograph_highlights.domain.highlights import (
    AttributedHighlights,
    HighlightsResult,
    SilenceResult,
    recording_job_id,
)
from phonograph_highlights.domain.regions import SilenceRegion
from phonograph_highlights.domain.status import LogStatus, ProcessingStage, RecordingStatus
from phonograph_highlights.domain.tasks import AttributeTask, SegmentTask, SpokenTranscript
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
"""Progress of a recording after the first stage."""


class RecordingMetadata(BaseModel):
    """Shape of `jobs.metadata`: the recording, and what the stored results derive from."""

    media_id: UUID
    file_hash: str
    silence_uri: str | None = None
    document_uri: str | None = None
    reason: str | None = None
    version: int = 0
    """Version of the published highlights; 0 before the first."""
    transcript_id: UUID | None = None
    transcript_version: int = 0
    engine: str | None = None
    """Engine that found the segments."""
    spoken_transcript: SpokenTranscript | None = None
    """The newest v4 transcript."""


class ClipMetadata(BaseModel):
    """Shape of `clips.metadata`: the subtitles that have no column of their own."""

    vtt_s3_key: str


class LogMetadata(BaseModel):
    """Shape of `processing_logs.metadata`."""

    found: int | None = None
    """Number of regions, segments or clips that the stage found."""


class Words(RootModel[list[str]]):
    """Shape of `content_segments.keywords` and `.concepts`."""


class SqlHighlightsStore:
    """See `phonograph_highlights.domain.ports.HighlightsStore`."""

    def __init__(self, session: AsyncSession, *, event_id: str | None = None) -> None:
        """Create the store.

        Args:
            session: Session of the transaction.
            event_id: The event that adds recordings.
        """
        self._session = session
        self._event_id = event_id

    async def add_recording(self, media: MediaRef, video: Stream | None) -> None:
        """See `HighlightsStore.add_recording`."""
        video_metadata = {} if video is None else video.model_dump(mode="json", exclude_none=True)
        metadata = RecordingMetadata(media_id=media.media_id, file_hash=media.file_hash)
        row = {
            "id": uuid7(),
            "job_id": recording_job_id(media.media_id),
            "filename": media.file_name,
            "file_size": media.file_size,
            "content_type": media.mime_type[:100],
            "original_s3_key": _original_key(media),
            "video_duration": media.duration_s,
            "video_metadata": video_metadata,
            "celery_task_id": self._event_id and self._event_id[:100],
            "current_stage": ProcessingStage.SILENCE_DETECTION.value,
            SqlJob.extra_metadata: metadata.model_dump(mode="json"),
        }
        statement = insert(SqlJob).values(row)
        if video_metadata:
            # A transcript may have added the row before; only `media-ready` describes the video.
            statement = statement.on_conflict_do_update(
                index_elements=["job_id"], set_={"video_metadata": video_metadata, "updated_at": func.now()}
            )
        else:
            statement = statement.on_conflict_do_nothing(index_elements=["job_id"])
        await self._session.execute(statement)

    async def save_silence(self, media: MediaRef, result: SilenceResult, *, seconds: float | None) -> None:
        """See `HighlightsStore.save_silence`."""
        metadata = await self._lock_recording(media.media_id)
        await self._add_processing_log(
            media.media_id,
            ProcessingStage.SILENCE_DETECTION,
            SILENCE_ENGINE,
            seconds=seconds,
            found=len(result.regions),
        )
        if metadata.version > 1:
            return
        await self._replace_regions(media.media_id, result.regions)
        uri = result.document_uri
        await self._update_recording(
            metadata.model_copy(update={"silence_uri": uri, "document_uri": uri, "version": 1}),
            status=RecordingStatus.RUNNING.value,
            current_stage=ProcessingStage.TRANSCRIPTION.value,
            progress_percent=SILENCE_PERCENT,
            progress_message="Silence found, waiting for the transcript",
        )

    async def silence_uri(self, media_id: UUID) -> str | None:
        """See `HighlightsStore.silence_uri`."""
        statement = select(SqlJob.extra_metadata).where(SqlJob.job_id == recording_job_id(media_id))
        metadata = (await self._session.scalars(statement)).one_or_none()
        return None if metadata is None else RecordingMetadata.model_validate(metadata).silence_uri

    async def save_highlights(self, task: SegmentTask, result: HighlightsResult) -> int | None:
        """See `HighlightsStore.save_highlights`."""
        media_id = task.media.media_id
        metadata = await self._lock_recording(media_id)
        if metadata.transcript_version > task.version:
            return None
        await self._replace_highlights(media_id, result)
        await self._log_segmentation(media_id, result)
        # Version 1 is the first stage, even if it has not completed yet.
        version = max(metadata.version, 1) + 1
        changes = {
            "document_uri": result.document_uri,
            "reason": result.reason,
            "version": version,
            "transcript_id": task.result_id,
            "transcript_version": task.version,
            "engine": result.engine,
        }
        await self._update_recording(
            metadata.model_copy(update=changes),
            status=RecordingStatus.COMPLETED.value,
            current_stage=ProcessingStage.COMPLETE.value,
            progress_percent=100.0,
            progress_message=None,
            error_message=None,
            completed_at=func.now(),
        )
        return version

    async def save_spoken_transcript(self, media: MediaRef, transcript: SpokenTranscript) -> None:
        """See `HighlightsStore.save_spoken_transcript`."""
        metadata = await self._lock_recording(media.media_id)
        stored = metadata.spoken_transcript
        if stored is None or stored.version < transcript.version:
            await self._update_recording(metadata.model_copy(update={"spoken_transcript": transcript}))

    async def attribution(self, media: MediaRef) -> AttributeTask | None:
        """See `HighlightsStore.attribution`."""
        metadata = await self._lock_recording(media.media_id)
        transcript = metadata.spoken_transcript
        if transcript is None or metadata.document_uri is None:
            return None
        if transcript.parent_result_id != metadata.transcript_id:
            return None
        return AttributeTask(
            media=media,
            transcript=transcript,
            highlights_uri=metadata.document_uri,
            engine=metadata.engine,
            reason=metadata.reason,
        )

    async def save_speakers(self, task: AttributeTask, result: AttributedHighlights) -> int | None:
        """See `HighlightsStore.save_speakers`."""
        media_id = task.media.media_id
        metadata = await self._lock_recording(media_id)
        if metadata.transcript_id != task.transcript.parent_result_id:
            return None
        if metadata.spoken_transcript != task.transcript:
            return None
        job_id = recording_job_id(media_id)
        await self._session.execute(delete(SqlTranscript).where(SqlTranscript.job_id == job_id))
        await self._insert(SqlTranscript, _transcript_rows(job_id, result.transcript))
        changes = {"document_uri": result.document_uri, "version": metadata.version + 1}
        await self._update_recording(metadata.model_copy(update=changes))
        return metadata.version + 1

    async def mark_failed(self, media: MediaRef, stage: ProcessingStage, message: str) -> None:
        """See `HighlightsStore.mark_failed`."""
        await self._add_processing_log(media.media_id, stage, None, error=message)
        await self._session.execute(
            update(SqlJob)
            .where(
                SqlJob.job_id == recording_job_id(media.media_id),
                SqlJob.status != RecordingStatus.COMPLETED.value,
            )
            .values(
                status=RecordingStatus.FAILED.value,
                current_stage=stage.value,
                error_message=message,
                completed_at=func.now(),
            )
        )

    async def versions(self) -> dict[str, dict[str, int]]:
        """See `HighlightsStore.versions`."""
        segments = await self._session.scalars(select(SqlContentSegment.segment_id))
        clips = await self._session.scalars(select(SqlClip.clip_id))
        return {"segment": dict.fromkeys(segments, 1), "clip": dict.fromkeys(clips, 1)}

    async def _lock_recording(self, media_id: UUID) -> RecordingMetadata:
        """Return the metadata; the row stays locked, so that no stage overwrites a later one."""
        statement = (
            select(SqlJob.extra_metadata).where(SqlJob.job_id == recording_job_id(media_id)).with_for_update()
        )
        return RecordingMetadata.model_validate((await self._session.scalars(statement)).one())

    async def _update_recording(self, metadata: RecordingMetadata, **values: Any) -> None:
        await self._session.execute(
            update(SqlJob)
            .where(SqlJob.job_id == recording_job_id(metadata.media_id))
            .values({**values, SqlJob.extra_metadata: metadata.model_dump(mode="json")})
        )

    async def _replace_highlights(self, media_id: UUID, result: HighlightsResult) -> None:
        job_id = recording_job_id(media_id)
        # Clips refer to segments: they are deleted before them and inserted after them.
        for table in (SqlClip, SqlContentSegment, SqlTranscript):
            await self._session.execute(delete(table).where(table.job_id == job_id))
        await self._replace_regions(media_id, result.regions)
        await self._insert(SqlTranscript, _transcript_rows(job_id, result.transcript))
        await self._insert(SqlContentSegment, _segment_rows(job_id, result))
        await self._insert(SqlClip, _clip_rows(job_id, result))

    async def _replace_regions(self, media_id: UUID, regions: Sequence[SilenceRegion]) -> None:
        job_id = recording_job_id(media_id)
        await self._session.execute(delete(SqlSilenceRegion).where(SqlSilenceRegion.job_id == job_id))
        await self._insert(SqlSilenceRegion, [_region_row(job_id, region) for region in regions])

    async def _insert(self, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
        if rows:
            await self._session.execute(insert(table), rows)

    async def _log_segmentation(self, media_id: UUID, result: HighlightsResult) -> None:
        """Add rows to `processing_logs` for the stages of a segmentation job, in their order."""
        counts = {
            ProcessingStage.SEGMENTATION: len(result.segments),
            ProcessingStage.COMPILATION: len(result.clips),
        }
        for name, seconds in result.stage_seconds.items():
            stage = ProcessingStage(name)
            await self._add_processing_log(
                media_id, stage, result.engine, seconds=seconds, found=counts.get(stage)
            )
        for warning in result.warnings:
            await self._add_processing_log(
                media_id, ProcessingStage.COMPILATION, result.engine, error=warning
            )
        await self._add_processing_log(media_id, ProcessingStage.COMPLETE, result.engine)

    async def _add_processing_log(
        self,
        media_id: UUID,
        stage: ProcessingStage,
        agent: str | None,
        *,
        seconds: float | None = None,
        found: int | None = None,
        error: str | None = None,
    ) -> None:
        metadata = LogMetadata(found=found)
        row = {
            # now() is the same for the whole transaction and would lose the order of the stages.
            "created_at": func.clock_timestamp(),
            "id": uuid7(),
            "log_id": _new_id("log"),
            "job_id": recording_job_id(media_id),
            "stage": stage.value,
            "agent_name": agent,
            "status": LogStatus.COMPLETED.value if error is None else LogStatus.FAILED.value,
            "duration_seconds": seconds,
            "error_message": error,
            SqlProcessingLog.extra_metadata: metadata.model_dump(mode="json", exclude_none=True),
        }
        await self._session.execute(insert(SqlProcessingLog).values(row))


def _original_key(media: MediaRef) -> str:
    """Return the URI of the original, or its hash if the URI is too long for the column (L-01)."""
    return media.uri if len(media.uri) <= 500 else f"sha256:{media.file_hash}"


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid4().hex}"


def _region_row(job_id: str, region: SilenceRegion) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "region_id": _new_id("region"),
        "job_id": job_id,
        "start_time": region.start_s,
        "end_time": region.end_s,
        "duration": region.end_s - region.start_s,
        "silence_type": region.type.value,
        "amplitude_threshold": region.noise_db,
    }


def _transcript_rows(job_id: str, transcript: Sequence[TranscriptSegment]) -> list[dict[str, Any]]:
    return [
        {
            "id": uuid7(),
            "segment_id": _new_id("trans"),
            "job_id": job_id,
            "start_time": segment.start,
            "end_time": segment.end,
            "text": segment.text,
            "confidence": segment.confidence,
            "speaker_id": segment.speaker and segment.speaker[:50],
        }
        for segment in transcript
    ]


def _segment_rows(job_id: str, result: HighlightsResult) -> list[dict[str, Any]]:
    return [
        {
            "id": uuid7(),
            "segment_id": segment.segment_id,
            "job_id": job_id,
            "start_time": segment.start_s,
            "end_time": segment.end_s,
            "duration": segment.end_s - segment.start_s,
            "topic": segment.topic.title,
            "importance_score": segment.topic.importance,
            "keywords": Words(list(segment.topic.keywords)).model_dump(),
            "concepts": Words([]).model_dump(),
            "segment_order": order,
        }
        for order, segment in enumerate(result.segments, start=1)
    ]


def _clip_rows(job_id: str, result: HighlightsResult) -> list[dict[str, Any]]:
    return [
        {
            "id": uuid7(),
            "clip_id": clip.clip_id,
            "job_id": job_id,
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
            "extra_metadata": ClipMetadata(vtt_s3_key=clip.vtt.key).model_dump(mode="json"),
        }
        for order, clip in enumerate(result.clips, start=1)
    ]
