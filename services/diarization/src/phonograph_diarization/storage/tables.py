"""Tables of the schema `diarization`: meetings with their speakers (M-01), voices of people (T0-10)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Index, String, Text, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from phonograph_diarization.domain.meeting import ArtifactType, MeetingStatus
from phonograph_events import IdentityState
from phonograph_runtime.tables import JobColumns, RecordingTaskColumns, Timestamps, one_of, service_registry


class Base(DeclarativeBase):
    """Tables of this service."""

    registry = service_registry()


class SqlDiarizationJob(JobColumns, Base):
    """Recordings to diarize."""

    __tablename__ = "diarization_jobs"


class SqlRecordingTask(RecordingTaskColumns, Base):
    """Recordings that can be diarized again."""


class SqlFile(Base):
    """A recording with what meetings need of it (M-02); its id is the media id."""

    __tablename__ = "files"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    content_fp: Mapped[str | None] = mapped_column(String(128), index=True)
    mime: Mapped[str | None] = mapped_column(String(100))
    duration: Mapped[float | None] = mapped_column(Float)
    """Seconds (C-15)."""
    size: Mapped[int | None] = mapped_column(BigInteger)
    owner: Mapped[str | None] = mapped_column(String(200), index=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    identity_version: Mapped[int] = mapped_column(server_default="0")
    """Number of changes of who its speakers are."""


class SqlMeeting(Base):
    """One diarization of a recording (M-03, C-22, C-23)."""

    __tablename__ = "meetings"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    file_id: Mapped[UUID] = mapped_column(ForeignKey("files.id", ondelete="CASCADE"), index=True)
    version: Mapped[int]
    """Number of the meeting among those of its recording, from 1."""
    status: Mapped[str] = mapped_column(String(50), index=True)
    language: Mapped[str | None] = mapped_column(String(10))
    engine: Mapped[str | None] = mapped_column(String(50))
    model_used: Mapped[str | None] = mapped_column(String(200))
    speaker_count: Mapped[int | None]
    reason: Mapped[str | None] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(one_of("status", MeetingStatus), name="status"),
        CheckConstraint("speaker_count >= 0", name="speaker_count"),
        Index("uq_meetings_file_id_version", "file_id", "version", unique=True),
        Index(
            "uq_meetings_file_id_open",
            "file_id",
            unique=True,
            postgresql_where=text("status IN ('pending', 'processing')"),
        ),
    )


class SqlUserProfile(Base):
    """A person, known by name and, with consent, by voice (M-06, C-24); T0-42: names are unique per owner."""

    __tablename__ = "user_profiles"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(200), index=True)
    display_name: Mapped[str] = mapped_column(String(255))
    consent: Mapped[bool] = mapped_column(server_default="false")
    """Whether voiceprints may be kept."""
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_by: Mapped[str | None] = mapped_column(String(200))
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())

    __table_args__ = (
        Index(
            "uq_user_profiles_owner_display_name",
            "owner",
            "display_name",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
    )


class SqlSpeakerProfile(Timestamps, Base):
    """A voiceprint of a person by one model; a person may have several (T0-10, C-06, C-24)."""

    __tablename__ = "speaker_profiles"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[str | None] = mapped_column(String(200))
    """Owner of the profile (T0-21)."""
    user_profile_id: Mapped[UUID | None] = mapped_column(ForeignKey("user_profiles.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(255))
    characteristics: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    embedding: Mapped[str] = mapped_column(Text)
    """Base64 of little-endian float32."""
    model_id: Mapped[str] = mapped_column(String(200))
    dim: Mapped[int]
    sample_count: Mapped[int] = mapped_column(server_default="0")
    """Number of speakers from whose voices it was made."""

    __table_args__ = (
        CheckConstraint("dim > 0", name="dim"),
        CheckConstraint("sample_count >= 0", name="sample_count"),
        Index("ix_speaker_profiles_name", "name"),
        Index("ix_speaker_profiles_user_id", "user_id"),
        Index("ix_speaker_profiles_user_profile_id", "user_profile_id"),
    )


class SqlSpeaker(Base):
    """A speaker of a meeting; without a person until one is suggested or named (M-05, M-13, C-25)."""

    __tablename__ = "speakers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    meeting_id: Mapped[UUID] = mapped_column(ForeignKey("meetings.id", ondelete="CASCADE"))
    cluster_id: Mapped[str] = mapped_column(String(50))
    """Label of the speaker in the turns: S1, S2, …"""
    user_profile_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("user_profiles.id", ondelete="SET NULL"), index=True
    )
    confidence: Mapped[float | None] = mapped_column(Float)
    """Cosine similarity of the suggestion."""
    state: Mapped[str] = mapped_column(String(20), server_default=IdentityState.UNKNOWN.value)
    decided_by: Mapped[str | None] = mapped_column(String(200))
    decided_at: Mapped[datetime | None]
    seconds: Mapped[float] = mapped_column(Float)
    turns: Mapped[list[Any]] = mapped_column(server_default="[]")
    """Start and end of each turn in seconds: a later meeting finds the same speakers by them."""
    embedding: Mapped[str | None] = mapped_column(Text)
    """Base64 of little-endian float32; the profile of a person named later is made from it. NULL if there was
    too little speech, or the person is forgotten."""
    model_id: Mapped[str | None] = mapped_column(String(200))
    dim: Mapped[int | None]

    __table_args__ = (
        CheckConstraint("confidence BETWEEN -1 AND 1", name="confidence"),
        CheckConstraint(one_of("state", IdentityState), name="state"),
        CheckConstraint("seconds >= 0", name="seconds"),
        Index("ix_speakers_meeting_id", "meeting_id"),
        Index("uq_speakers_meeting_id_cluster_id", "meeting_id", "cluster_id", unique=True),
        # No person speaks with two voices in one meeting.
        Index(
            "uq_speakers_meeting_id_user_profile_id",
            "meeting_id",
            "user_profile_id",
            unique=True,
            postgresql_where=text("user_profile_id IS NOT NULL"),
        ),
    )


class SqlRefusedMatch(Base):
    """A suggestion that a user refused: it is never made again for this voice."""

    __tablename__ = "refused_matches"

    speaker_id: Mapped[UUID] = mapped_column(ForeignKey("speakers.id", ondelete="CASCADE"), primary_key=True)
    user_profile_id: Mapped[UUID] = mapped_column(
        ForeignKey("user_profiles.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    refused_by: Mapped[str] = mapped_column(String(200))
    refused_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SqlIdentityDecision(Base):
    """A decision about a person, with its user and time; without names, as it outlives a forgotten person."""

    __tablename__ = "identity_decisions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    decision: Mapped[str] = mapped_column(String(30))
    user_profile_id: Mapped[UUID] = mapped_column(index=True)
    speaker_id: Mapped[UUID | None]
    other_profile_id: Mapped[UUID | None]
    """The other person of a merge or split."""
    score: Mapped[float | None] = mapped_column(Float)
    decided_by: Mapped[str] = mapped_column(String(200))
    event_id: Mapped[str | None] = mapped_column(String(200))
    """Id of the request."""
    decided_at: Mapped[datetime] = mapped_column(server_default=func.now())


class SqlArtifact(Base):
    """A document of a meeting in the object store (M-07, M-08)."""

    __tablename__ = "artifacts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    meeting_id: Mapped[UUID] = mapped_column(ForeignKey("meetings.id", ondelete="CASCADE"), index=True)
    type: Mapped[str] = mapped_column(String(50))
    s3_key: Mapped[str] = mapped_column(String(500))
    meta: Mapped[dict[str, Any]] = mapped_column(server_default="{}")

    __table_args__ = (CheckConstraint(one_of("type", ArtifactType), name="type"),)


class SqlCacheEntry(Base):
    """A value with an optional time of expiry (M-09, C-27). No code uses the table."""

    __tablename__ = "cache"

    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
    ttl: Mapped[datetime | None] = mapped_column(index=True)
