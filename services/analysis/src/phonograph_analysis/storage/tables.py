"""Tables of the schema `analysis`: jobs, and music features by recording and version."""

from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Float, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from phonograph_runtime.tables import JobColumns, RecordingTaskColumns, Timestamps, service_registry


class Base(DeclarativeBase):
    """Tables of this service."""

    registry = service_registry()


class SqlAnalysisJob(JobColumns, Base):
    """Jobs that measure recordings."""

    __tablename__ = "analysis_jobs"


class SqlRecordingTask(RecordingTaskColumns, Base):
    """Recordings that can be analyzed again."""


class SqlAnalysisResult(Timestamps, Base):
    """The measurements on a recording by one build of the algorithms."""

    __tablename__ = "analysis_results"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    media_file_id: Mapped[UUID]
    job_id: Mapped[UUID] = mapped_column(ForeignKey("analysis_jobs.id", ondelete="CASCADE"), unique=True)
    version: Mapped[int]
    """Number of the result among those of its recording, from 1."""
    engine: Mapped[str] = mapped_column(String(50))
    algorithm_build: Mapped[str] = mapped_column(String(100), index=True)
    bpm: Mapped[float | None] = mapped_column(Float)
    bpm_confidence: Mapped[float | None] = mapped_column(Float)
    bpm_candidates: Mapped[list[Any]] = mapped_column(server_default="[]")
    key: Mapped[str | None] = mapped_column(String(3))
    scale: Mapped[str | None] = mapped_column(String(10))
    key_strength: Mapped[float | None] = mapped_column(Float)
    key_profile: Mapped[str | None] = mapped_column(String(20))
    """The key profile that won."""
    key_agreed: Mapped[bool | None]
    """Whether both profiles named this key."""
    loudness_lufs: Mapped[float | None] = mapped_column(Float)
    danceability: Mapped[float | None] = mapped_column(Float)
    timbre: Mapped[dict[str, Any] | None]
    tempo_needs_review: Mapped[bool | None]
    tempo_sections: Mapped[list[Any]] = mapped_column(server_default="[]")
    beats_per_bar: Mapped[int | None]
    key_sections: Mapped[list[Any]] = mapped_column(server_default="[]")
    camelot: Mapped[str | None] = mapped_column(String(3))
    tuning_hz: Mapped[float | None] = mapped_column(Float)
    loudness_range_lu: Mapped[float | None] = mapped_column(Float)
    true_peak_dbtp: Mapped[float | None] = mapped_column(Float)
    onset_rate: Mapped[float | None] = mapped_column(Float)
    energy: Mapped[float | None] = mapped_column(Float)
    spectrum: Mapped[dict[str, Any] | None]
    excerpt_start_s: Mapped[float] = mapped_column(Float)
    excerpt_end_s: Mapped[float] = mapped_column(Float)
    reason: Mapped[str | None] = mapped_column(String(50))
    """Reason code if there is no music at all."""
    reasons: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    document_uri: Mapped[str] = mapped_column(Text)

    __table_args__ = (
        UniqueConstraint("media_file_id", "version"),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("bpm BETWEEN 40 AND 250", name="bpm"),
        CheckConstraint("bpm_confidence BETWEEN 0 AND 1", name="bpm_confidence"),
        CheckConstraint("key_strength BETWEEN 0 AND 1", name="key_strength"),
        CheckConstraint("scale IN ('major', 'minor')", name="scale"),
        CheckConstraint("energy BETWEEN 0 AND 1", name="energy"),
        CheckConstraint("beats_per_bar IN (3, 4)", name="beats_per_bar"),
        CheckConstraint("excerpt_start_s <= excerpt_end_s", name="excerpt"),
    )
