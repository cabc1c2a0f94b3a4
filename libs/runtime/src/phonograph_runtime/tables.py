"""Tables that every service has: inbox, outbox, dead letters, and the columns of a job table."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Float,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, registry
from sqlalchemy.types import Uuid

from phonograph_events import JobStatus

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
TYPES: dict[Any, Any] = {
    datetime: TIMESTAMP(timezone=True),
    dict[str, Any]: JSONB,
    list[Any]: JSONB,
    UUID: Uuid,
}


def service_registry() -> registry:
    """A registry of a service's own, so that two services in one process never share a class name (T0-04)."""
    return registry(metadata=MetaData(naming_convention=NAMING_CONVENTION), type_annotation_map=TYPES)


class Timestamps:
    """When a row was written and last changed, in UTC."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=1000)
    updated_at: Mapped[datetime] = mapped_column(
        server_default=func.now(), onupdate=func.now(), sort_order=1001
    )


class DeliveryBase(DeclarativeBase):
    """The runtime's own tables; they lie in each service's schema, found by its search path."""

    registry = service_registry()


class SqlInbox(DeliveryBase):
    """Events that took effect: a second delivery finds its row and does nothing."""

    __tablename__ = "inbox"

    source: Mapped[str] = mapped_column(String(200), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class SqlOutbox(DeliveryBase):
    """Records to send, written with the effects they tell of."""

    __tablename__ = "outbox"

    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    topic: Mapped[str] = mapped_column(String(249))
    key: Mapped[bytes | None] = mapped_column(LargeBinary)
    value: Mapped[bytes | None] = mapped_column(LargeBinary)
    headers: Mapped[list[Any]]
    """Pairs of a name and the value in base64."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    published_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_outbox_waiting", "seq", postgresql_where=text("published_at IS NULL")),)


class SqlDeadLetter(DeliveryBase):
    """Records that could not be taken, with everything needed to try again."""

    __tablename__ = "dead_letters"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(String(249), index=True)
    partition: Mapped[int] = mapped_column(Integer)
    offset: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[bytes | None] = mapped_column(LargeBinary)
    value: Mapped[bytes | None] = mapped_column(LargeBinary)
    headers: Mapped[list[Any]]
    reason: Mapped[str] = mapped_column(String(100))
    error: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(Integer)
    parked_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
    resolution: Mapped[str | None] = mapped_column(String(20))
    """What became of it; null while it lies here."""
    resolved_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("resolution IN ('replayed', 'dropped')", name="resolution"),
        # A topic that was made anew has other records at the same places.
        Index(
            "uq_dead_letters_record",
            "topic",
            "partition",
            "offset",
            text("md5(headers::text)"),
            text("md5(value)"),
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
    )


OPEN = "status IN ('pending', 'retrying', 'processing')"
"""Jobs that are not over, in the very words of the indexes: parameters would hide them from the planner."""


def _one_of(column: str, words: type[JobStatus]) -> str:
    return f"{column} IN ({', '.join(repr(word.value) for word in words)})"


def table_name(table: type) -> str:
    """Name of a mapped class's table."""
    name: str = table.__tablename__  # type: ignore[attr-defined]  # every mapped class has it
    return name


class JobColumns(Timestamps):
    """Columns of a service's job table (T1-07 and the lease); the class that uses it names the table."""

    id: Mapped[UUID] = mapped_column(primary_key=True)
    media_file_id: Mapped[UUID] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(50))
    dedupe_key: Mapped[str | None] = mapped_column(String(300), unique=True)
    status: Mapped[str] = mapped_column(String(20), server_default=JobStatus.PENDING.value)
    priority: Mapped[int] = mapped_column(server_default="0")
    owner: Mapped[str] = mapped_column(String(200), server_default="")
    """Whose file it is; owners take turns."""
    turn: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """Its place among the jobs of its priority; see `JobQueue`."""
    task: Mapped[dict[str, Any]]
    """What to do; a pydantic model of the service."""
    cause: Mapped[dict[str, Any] | None]
    """The event that asked for it."""
    model_config: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """Engine and model that did the work."""
    processing_options: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    progress: Mapped[float] = mapped_column(Float, server_default="0")
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    processing_time: Mapped[float | None] = mapped_column(Float)
    """Seconds in the engine."""
    error_reason: Mapped[str | None] = mapped_column(String(100))
    error_message: Mapped[str | None] = mapped_column(Text)
    retry_count: Mapped[int] = mapped_column(server_default="0")
    max_retries: Mapped[int] = mapped_column(server_default="3")
    lease_token: Mapped[UUID | None]
    lease_expires_at: Mapped[datetime | None]

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Any, ...]:
        """Status words, and the index that the claim reads."""
        name = table_name(cls)
        return (
            CheckConstraint(_one_of("status", JobStatus), name="status"),
            CheckConstraint("progress BETWEEN 0 AND 1", name="progress"),
            Index(f"ix_{name}_claim", text("priority DESC"), "turn", "id", postgresql_where=text(OPEN)),
            Index(f"ix_{name}_turn", "owner", "priority", "turn", postgresql_where=text(OPEN)),
            Index(
                f"ix_{name}_status_run_at", "status", "run_at", postgresql_where=text("status <> 'completed'")
            ),
        )


def about_jobs(table: type[JobColumns], statement: str, change: str = "") -> str:
    """A statement about a service's own job table: `{jobs}` its name, `{open}` those that are not over."""
    return statement.format(jobs=table_name(table), open=OPEN, change=change)
