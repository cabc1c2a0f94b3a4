"""Tables of the schema `transcription`: jobs, versions of transcripts, exports (C-02)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from phonograph_events import ExportFormat, PipelineVersion
from phonograph_runtime.tables import JobColumns, RecordingTaskColumns, Timestamps, one_of, service_registry


class Base(DeclarativeBase):
    """Tables of this service."""

    registry = service_registry()


class SqlTranscriptionJob(JobColumns, Base):
    """Recordings to transcribe and transcripts to merge (T1-07)."""

    __tablename__ = "transcription_jobs"


class SqlRecordingTask(RecordingTaskColumns, Base):
    """Recordings that can be transcribed again."""


class SqlTranscriptionResult(Timestamps, Base):
    """One version of a transcript (T1-10, T0-09, C-02); a re-run adds a row."""

    __tablename__ = "transcription_results"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("transcription_jobs.id"), index=True)
    media_file_id: Mapped[UUID] = mapped_column(index=True)
    parent_result_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("transcription_results.id", ondelete="CASCADE"), index=True
    )
    pipeline_version: Mapped[str] = mapped_column(String(10), server_default="v1", index=True)
    version: Mapped[int] = mapped_column(server_default="1")
    """Number of the result among those of its recording, from 1 (C-04)."""
    document_uri: Mapped[str] = mapped_column(Text)
    content: Mapped[dict[str, Any]]
    segments: Mapped[list[Any] | None]
    confidence_scores: Mapped[dict[str, Any] | None]
    speaker_info: Mapped[dict[str, Any] | None]
    accuracy: Mapped[float | None] = mapped_column(Float)
    """1 - word error rate, if a reference exists (C-51)."""
    accuracy_source: Mapped[str | None] = mapped_column(String(300))
    """Name of the reference text."""
    accuracy_estimate: Mapped[float | None] = mapped_column(Float)
    word_count: Mapped[int | None]
    processing_time: Mapped[float | None] = mapped_column(Float)
    """Time in the engine, in seconds."""
    engine: Mapped[str] = mapped_column(String(50))
    model_used: Mapped[str | None] = mapped_column(String(100))
    model_config: Mapped[dict[str, Any] | None]
    enhanced_content_v2: Mapped[dict[str, Any] | None]
    diarization_content: Mapped[dict[str, Any] | None]
    merged_content: Mapped[dict[str, Any] | None]
    domain_used: Mapped[str | None] = mapped_column(String(100), index=True)
    speaker_count: Mapped[int | None] = mapped_column(index=True)
    quality_warnings_v2: Mapped[list[Any] | None]
    processing_metadata: Mapped[dict[str, Any] | None]

    __table_args__ = (
        UniqueConstraint("media_file_id", "version"),
        CheckConstraint(one_of("pipeline_version", PipelineVersion), name="pipeline_version"),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint("speaker_count >= 0", name="speaker_count"),
        CheckConstraint("pipeline_version = 'v1' OR parent_result_id IS NOT NULL", name="has_parent"),
        Index(
            "ix_transcription_results_current",
            "media_file_id",
            postgresql_include=["id", "parent_result_id", "pipeline_version", "version"],
        ),
    )


class SqlTranscriptSegment(Base):
    """Segments as the search finds them (T1-18, T1-19); a trigger on `transcription_results` fills them."""

    __tablename__ = "transcript_segments"

    result_id: Mapped[UUID] = mapped_column(
        ForeignKey("transcription_results.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    start_time: Mapped[float] = mapped_column(Float)
    end_time: Mapped[float] = mapped_column(Float)
    speaker: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str] = mapped_column(String(20), index=True)
    """ISO 639-1 code; empty if unknown."""
    confidence: Mapped[float | None] = mapped_column(Float, index=True)
    text: Mapped[str] = mapped_column(Text)
    search: Mapped[Any] = mapped_column(TSVECTOR)

    __table_args__ = (
        Index(
            "ix_transcript_segments_search",
            "search",
            postgresql_using="gin",
            postgresql_with={"gin_pending_list_limit": 512},
        ),
    )


class SqlTranscriptWord(Base):
    """Words of all transcripts, in which the search finds those similar to a mistyped one."""

    __tablename__ = "transcript_words"

    word: Mapped[str] = mapped_column(Text, primary_key=True)
    trigrams: Mapped[list[str]] = mapped_column(ARRAY(Text))

    __table_args__ = (Index("ix_transcript_words_trigrams", "trigrams", postgresql_using="gin"),)


class SqlMergeInputs(Timestamps, Base):
    """The newest transcript without speakers and the newest diarization of each recording."""

    __tablename__ = "transcript_halves"

    media_file_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(server_default="0")
    """Number of results of the recording."""
    result_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("transcription_results.id", ondelete="SET NULL"), index=True
    )
    transcript_uri: Mapped[str | None] = mapped_column(Text)
    language_probability: Mapped[float | None] = mapped_column(Float)
    diarization_job_id: Mapped[UUID | None]
    diarization_engine: Mapped[str | None] = mapped_column(String(50))
    turns_uri: Mapped[str | None] = mapped_column(Text)
    media: Mapped[dict[str, Any] | None]
    """The recording as the diarization reported it; a `phonograph_events.MediaRef`."""
    meeting: Mapped[dict[str, Any] | None]
    """The speakers of the diarization; a `domain.results.Meeting`."""


class SqlV2ProcessingJob(Timestamps, Base):
    """Further processing of a transcript (T0-11); its state follows that of the job that does it (T0-43)."""

    __tablename__ = "v2_processing_jobs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    transcript_id: Mapped[UUID] = mapped_column(
        ForeignKey("transcription_results.id", ondelete="CASCADE"), index=True
    )
    job_type: Mapped[str] = mapped_column(String(50), index=True)
    status: Mapped[str] = mapped_column(String(50), server_default="pending", index=True)
    parameters: Mapped[dict[str, Any] | None]
    progress: Mapped[float] = mapped_column(Float, server_default="0")
    error_message: Mapped[str | None] = mapped_column(Text)
    result_data: Mapped[dict[str, Any] | None]
    completed_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')", name="status"
        ),
        CheckConstraint("progress BETWEEN 0 AND 1", name="progress"),
    )


class SqlExport(Base):
    """Files exported from a transcript (T0-18, C-03)."""

    __tablename__ = "exports"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    transcript_id: Mapped[UUID] = mapped_column(
        ForeignKey("transcription_results.id", ondelete="CASCADE"), index=True
    )
    format: Mapped[str] = mapped_column(String(10))
    file_path: Mapped[str] = mapped_column(Text)
    """URI in the object store."""
    file_size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (CheckConstraint(one_of("format", ExportFormat), name="format"),)
