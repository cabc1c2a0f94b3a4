"""Tables of the schema `tracklist`: the music catalog (K-01 to K-07)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from phonograph_runtime.tables import JobColumns, RecordingTaskColumns, Timestamps, one_of, service_registry
from phonograph_tracklist.domain.metadata import ExtractionMethod, ValueType
from phonograph_tracklist.domain.status import ProposalStatus, RecordingStatus

_NOT_DELETED = text("status <> 'deleted'")


class Base(DeclarativeBase):
    """Base of the tables of this service."""

    registry = service_registry()


class SqlTracklistJob(JobColumns, Base):
    """Jobs that find the tracklist of a recording."""

    __tablename__ = "tracklist_jobs"


class SqlRecordingTask(RecordingTaskColumns, Base):
    """Recordings whose tracklist can be searched for again."""


class SqlRecording(Timestamps, Base):
    """A recording: one row per file and owner (K-01, C-13); its id is the media id (K-21).

    The unique indexes are those of K-02, per owner; they replace plain ones on the same columns (C-40).
    """

    __tablename__ = "recordings"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(200))
    file_path: Mapped[str] = mapped_column(String(1024))
    file_name: Mapped[str] = mapped_column(String(255))
    file_hash: Mapped[str] = mapped_column(String(64))
    secondary_hash: Mapped[str | None] = mapped_column(String(32))
    file_size: Mapped[int | None] = mapped_column(BigInteger)
    status: Mapped[str] = mapped_column(String(50), server_default=RecordingStatus.PENDING.value, index=True)
    mime_type: Mapped[str | None] = mapped_column(String(100))
    last_modified: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    """When its result was published; None until then."""
    music_result_id: Mapped[UUID | None]
    """The analysis whose features are among the metadata."""
    result_version: Mapped[int] = mapped_column(server_default="0")
    """Number of its results so far."""
    correlation_id: Mapped[UUID | None]

    __table_args__ = (
        CheckConstraint(one_of("status", RecordingStatus), name="status"),
        Index("ix_recordings_created_at", "created_at"),
        Index(
            "uq_recordings_file_hash",
            "file_hash",
            "owner",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        Index(
            "uq_recordings_file_path",
            "file_path",
            "owner",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=_NOT_DELETED,
        ),
    )


class SqlMetadata(Timestamps, Base):
    """A fact about a recording (K-03, C-45, C-48)."""

    __tablename__ = "metadata"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    recording_id: Mapped[UUID] = mapped_column(ForeignKey("recordings.id", ondelete="CASCADE"), index=True)
    key: Mapped[str] = mapped_column(String(100), index=True)
    value: Mapped[str | None] = mapped_column(Text)
    value_type: Mapped[str] = mapped_column(String(50), server_default=ValueType.STRING.value)
    extraction_method: Mapped[str] = mapped_column(String(50), server_default=ExtractionMethod.TAG.value)
    confidence: Mapped[float] = mapped_column(Float, server_default="1")
    correlation_id: Mapped[UUID | None]

    __table_args__ = (
        CheckConstraint(one_of("value_type", ValueType), name="value_type"),
        Index("uq_metadata_recording_id_key", "recording_id", "key", unique=True),
        # An index entry has at most 2,704 bytes, and a tag may be longer.
        Index("ix_metadata_key_value", "key", text("substr(value, 1, 255)")),
    )


class SqlTracklist(Timestamps, Base):
    """A tracklist (K-04); of several of one recording, one is current (C-41)."""

    __tablename__ = "tracklists"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    recording_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("recordings.id", ondelete="SET NULL"), index=True
    )
    is_current: Mapped[bool] = mapped_column(server_default="true")
    version: Mapped[int] = mapped_column(server_default="1")
    """Version of the result that it belongs to."""
    title: Mapped[str] = mapped_column(String(500), index=True)
    artist: Mapped[str | None] = mapped_column(String(255), index=True)
    source_url: Mapped[str | None] = mapped_column(String(1024))
    source_type: Mapped[str | None] = mapped_column(String(100), index=True)
    tracks: Mapped[list[Any]] = mapped_column(server_default="[]")
    """A list of `phonograph_events.documents.Track` (C-47)."""
    extra_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")
    track_count: Mapped[int] = mapped_column(server_default="0")
    total_duration: Mapped[int | None]
    """In seconds, rounded half up (C-15)."""
    correlation_id: Mapped[UUID | None]

    __table_args__ = (
        Index("ix_tracklists_tracks", "tracks", postgresql_using="gin"),
        Index("ix_tracklists_metadata", "metadata", postgresql_using="gin"),
        Index(
            "uq_tracklists_current",
            "recording_id",
            unique=True,
            postgresql_where=text("is_current AND recording_id IS NOT NULL"),
        ),
    )


class SqlRenameProposal(Timestamps, Base):
    """A proposal of a better file name (K-05)."""

    __tablename__ = "rename_proposals"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    recording_id: Mapped[UUID] = mapped_column(ForeignKey("recordings.id", ondelete="CASCADE"), index=True)
    current_filename: Mapped[str] = mapped_column(String(255))
    proposed_filename: Mapped[str] = mapped_column(String(255))
    proposal_reason: Mapped[str | None] = mapped_column(Text)
    metadata_used: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    confidence_score: Mapped[float] = mapped_column(Float, server_default="0", index=True)
    status: Mapped[str] = mapped_column(String(50), server_default=ProposalStatus.PENDING.value, index=True)
    correlation_id: Mapped[UUID | None]

    __table_args__ = (
        CheckConstraint(one_of("status", ProposalStatus), name="status"),
        CheckConstraint("octet_length(proposed_filename) BETWEEN 1 AND 255", name="proposed_filename"),
        CheckConstraint("confidence_score BETWEEN 0 AND 1", name="confidence_score"),
        Index("ix_rename_proposals_proposed_filename", text("lower(proposed_filename)")),
        Index(
            "uq_rename_proposals_recording_id_names",
            "recording_id",
            "current_filename",
            "proposed_filename",
            unique=True,
        ),
    )
