"""Tables of the schema `ingest`: the registry of all files (C-01)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Index, String, Text, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from phonograph_runtime.tables import JobColumns, Timestamps, service_registry


class Base(DeclarativeBase):
    """Tables of this service."""

    registry = service_registry()


class SqlIngestJob(JobColumns, Base):
    """Jobs that read and register files."""

    __tablename__ = "ingest_jobs"


class SqlMediaFile(Timestamps, Base):
    """One row per file and owner (T1-04, C-01, C-13)."""

    __tablename__ = "media_files"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(200))
    filename: Mapped[str] = mapped_column(String(255))
    file_size: Mapped[int | None] = mapped_column(BigInteger)
    duration: Mapped[float | None] = mapped_column(Float)
    """Seconds."""
    kind: Mapped[str | None] = mapped_column(String(10))
    mime_type: Mapped[str | None] = mapped_column(String(100))
    source_path: Mapped[str] = mapped_column(Text)
    local_path: Mapped[str | None] = mapped_column(Text)
    """URI of the 16 kHz rendition."""
    file_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    secondary_hash: Mapped[str | None] = mapped_column(String(32))
    content_fp: Mapped[str | None] = mapped_column(String(128))
    silent: Mapped[bool] = mapped_column(server_default="false")
    file_metadata: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    profile: Mapped[str] = mapped_column(String(20))
    priority: Mapped[int] = mapped_column(server_default="0")
    options: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    status: Mapped[str] = mapped_column(String(20), index=True)
    download_error: Mapped[str | None] = mapped_column(Text)
    error_reason: Mapped[str | None] = mapped_column(String(100))

    __table_args__ = (
        CheckConstraint(
            "status IN ('pending', 'downloading', 'processing', 'ready', 'failed')", name="status"
        ),
        CheckConstraint("status <> 'ready' OR file_hash IS NOT NULL", name="ready_is_hashed"),
        Index(
            "uq_media_files_owner_file_hash",
            "owner",
            "file_hash",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("file_hash IS NOT NULL"),
        ),
        Index(
            "uq_media_files_owner_content_fp",
            "owner",
            "content_fp",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("content_fp IS NOT NULL AND NOT silent"),
        ),
    )


class SqlMediaLocation(Base):
    """URIs under which the content of a file was found (C-13)."""

    __tablename__ = "media_locations"

    uri: Mapped[str] = mapped_column(Text, primary_key=True)
    owner: Mapped[str] = mapped_column(String(200), primary_key=True, server_default="")
    media_file_id: Mapped[UUID] = mapped_column(ForeignKey("media_files.id", ondelete="CASCADE"), index=True)
    last_seen: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]


class SqlAudioProcessingMetadata(Base):
    """The formats of a file and of its rendition (T0-17, C-28)."""

    __tablename__ = "audio_processing_metadata"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    media_file_id: Mapped[UUID] = mapped_column(ForeignKey("media_files.id", ondelete="CASCADE"), unique=True)
    original_format: Mapped[str] = mapped_column(String(100))
    original_sample_rate: Mapped[int | None]
    original_channels: Mapped[int | None]
    processed_format: Mapped[str] = mapped_column(String(20), server_default="wav")
    processed_sample_rate: Mapped[int] = mapped_column(server_default="16000")
    processed_channels: Mapped[int] = mapped_column(server_default="1")
    preprocessing_time_seconds: Mapped[float] = mapped_column(Float)
    chunk_count: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
