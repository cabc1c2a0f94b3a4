"""Tables of the schema `highlights`: lectures and what the service finds in them (L-26)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Index, String, Text, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from phonograph_highlights.domain.regions import SilenceType
from phonograph_highlights.domain.status import LayoutType, LogStatus, ProcessingStage, RecordingStatus
from phonograph_runtime.tables import JobColumns, RecordingTaskColumns, one_of, service_registry


class Base(DeclarativeBase):
    """Tables of this service."""

    registry = service_registry()


def _job_reference(*, unique: bool = False) -> Mapped[str]:
    return mapped_column(
        String(100),
        ForeignKey("jobs.job_id", ondelete="CASCADE"),
        index=not unique or None,
        unique=unique or None,
    )


class SqlHighlightsJob(JobColumns, Base):
    """Jobs of the service, with their leases."""

    __tablename__ = "highlights_jobs"


class SqlRecordingTask(RecordingTaskColumns, Base):
    """Recordings whose highlights can be found again."""


class SqlJob(Base):
    """One row per recording (L-01, C-16, C-17)."""

    __tablename__ = "jobs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(String(100), unique=True)
    filename: Mapped[str] = mapped_column(String(255))
    file_size: Mapped[int] = mapped_column(BigInteger)
    content_type: Mapped[str] = mapped_column(String(100))
    original_s3_key: Mapped[str] = mapped_column(String(500))
    video_duration: Mapped[float | None] = mapped_column(Float)
    """Length in seconds, also of sound alone."""
    video_metadata: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    status: Mapped[str] = mapped_column(String(20), server_default=RecordingStatus.QUEUED.value, index=True)
    error_message: Mapped[str | None] = mapped_column(Text)
    celery_task_id: Mapped[str | None] = mapped_column(String(100), index=True)
    """Id of the event that requested the work (C-44)."""
    current_stage: Mapped[str | None] = mapped_column(String(50))
    progress_percent: Mapped[float] = mapped_column(Float, server_default="0")
    progress_message: Mapped[str | None] = mapped_column(String(500))
    eta_seconds: Mapped[int | None]
    extra_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    completed_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(one_of("status", RecordingStatus), name="status"),
        CheckConstraint(one_of("current_stage", ProcessingStage), name="current_stage"),
        CheckConstraint("progress_percent BETWEEN 0 AND 100", name="progress_percent"),
    )


class SqlTranscript(Base):
    """Segments of the transcript that the highlights derive from (L-03)."""

    __tablename__ = "transcripts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    segment_id: Mapped[str] = mapped_column(String(100), unique=True)
    job_id: Mapped[str] = _job_reference()
    start_time: Mapped[float] = mapped_column(Float, index=True)
    end_time: Mapped[float] = mapped_column(Float)
    text: Mapped[str] = mapped_column(Text)
    confidence: Mapped[float | None] = mapped_column(Float)
    speaker_id: Mapped[str | None] = mapped_column(String(50))
    """Id of the speaker in the diarization service, once it is known who speaks; it leads to the person."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),)


class SqlSilenceRegion(Base):
    """Regions without sound, picture or both (L-04)."""

    __tablename__ = "silence_regions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    region_id: Mapped[str] = mapped_column(String(100), unique=True)
    job_id: Mapped[str] = _job_reference()
    start_time: Mapped[float] = mapped_column(Float, index=True)
    end_time: Mapped[float] = mapped_column(Float)
    duration: Mapped[float] = mapped_column(Float)
    silence_type: Mapped[str] = mapped_column(String(20))
    amplitude_threshold: Mapped[float | None] = mapped_column(Float)
    """In dB full scale; NULL if only the picture is missing."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (CheckConstraint(one_of("silence_type", SilenceType), name="silence_type"),)


class SqlLayoutAnalysis(Base):
    """Arrangement of screen and camera, at most one row per recording (L-06).

    The table exists in the schema only: nothing writes it.
    """

    __tablename__ = "layout_analysis"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    layout_id: Mapped[str] = mapped_column(String(100), unique=True)
    job_id: Mapped[str] = _job_reference(unique=True)
    screen_region: Mapped[dict[str, Any]]
    camera_region: Mapped[dict[str, Any]]
    split_ratio: Mapped[float] = mapped_column(Float)
    layout_type: Mapped[str] = mapped_column(String(30))
    confidence_score: Mapped[float | None] = mapped_column(Float)
    sample_frame_time: Mapped[float | None] = mapped_column(Float)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        CheckConstraint(one_of("layout_type", LayoutType), name="layout_type"),
        CheckConstraint("confidence_score BETWEEN 0 AND 1", name="confidence_score"),
    )


class SqlContentSegment(Base):
    """Topics in their order (L-09)."""

    __tablename__ = "content_segments"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    segment_id: Mapped[str] = mapped_column(String(100), unique=True)
    job_id: Mapped[str] = _job_reference()
    start_time: Mapped[float] = mapped_column(Float, index=True)
    end_time: Mapped[float] = mapped_column(Float)
    duration: Mapped[float] = mapped_column(Float)
    topic: Mapped[str] = mapped_column(String(500))
    description: Mapped[str | None] = mapped_column(Text)
    importance_score: Mapped[float] = mapped_column(Float, index=True)
    keywords: Mapped[list[Any]] = mapped_column(server_default="[]")
    concepts: Mapped[list[Any]] = mapped_column(server_default="[]")
    segment_order: Mapped[int] = mapped_column(index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (CheckConstraint("importance_score BETWEEN 0 AND 1", name="importance_score"),)


class SqlClip(Base):
    """One clip per topic (L-10, L-11, C-20)."""

    __tablename__ = "clips"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    clip_id: Mapped[str] = mapped_column(String(100), unique=True)
    job_id: Mapped[str] = _job_reference()
    content_segment_id: Mapped[str | None] = mapped_column(
        String(100), ForeignKey("content_segments.segment_id", ondelete="SET NULL")
    )
    title: Mapped[str] = mapped_column(String(500))
    topic: Mapped[str | None] = mapped_column(String(500))
    importance_score: Mapped[float | None] = mapped_column(Float, index=True)
    start_time: Mapped[float] = mapped_column(Float)
    end_time: Mapped[float] = mapped_column(Float)
    duration: Mapped[float] = mapped_column(Float)
    s3_key: Mapped[str] = mapped_column(String(500))
    thumbnail_s3_key: Mapped[str | None] = mapped_column(String(500))
    subtitle_s3_key: Mapped[str | None] = mapped_column(String(500))
    clip_order: Mapped[int | None] = mapped_column(index=True)
    extra_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        CheckConstraint("importance_score BETWEEN 0 AND 1", name="importance_score"),
        Index(
            "uq_clips_content_segment_id",
            "content_segment_id",
            unique=True,
            postgresql_where=text("content_segment_id IS NOT NULL"),
        ),
    )


class SqlProcessingLog(Base):
    """Steps in the processing of a recording, with their times (L-12)."""

    __tablename__ = "processing_logs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    log_id: Mapped[str] = mapped_column(String(100), unique=True)
    job_id: Mapped[str] = _job_reference()
    stage: Mapped[str] = mapped_column(String(50), index=True)
    agent_name: Mapped[str | None] = mapped_column(String(100))
    status: Mapped[str] = mapped_column(String(20))
    duration_seconds: Mapped[float | None] = mapped_column(Float)
    error_message: Mapped[str | None] = mapped_column(Text)
    extra_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)

    __table_args__ = (
        CheckConstraint(one_of("stage", ProcessingStage), name="stage"),
        CheckConstraint(one_of("status", LogStatus), name="status"),
    )
