"""Tables that every service has: inbox, outbox, dead letters, and the columns of a job table."""

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
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
    """Return a registry for one service: services in one process may use equal class names (T0-04)."""
    return registry(metadata=MetaData(naming_convention=NAMING_CONVENTION), type_annotation_map=TYPES)


class Timestamps:
    """Times at which a row was written and last changed, in UTC."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), sort_order=1000)
    updated_at: Mapped[datetime] = mapped_column(
        server_default=func.now(), onupdate=func.now(), sort_order=1001
    )


class DeliveryBase(DeclarativeBase):
    """Base of the runtime's own tables, which exist in the schema of each service."""

    registry = service_registry()


class SqlInbox(DeliveryBase):
    """Events that took effect: a second delivery finds its row and has no effect."""

    __tablename__ = "inbox"

    source: Mapped[str] = mapped_column(String(200), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    received_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)


class SqlOutbox(DeliveryBase):
    """Records to be sent, written in the transaction of the effects that they report."""

    __tablename__ = "outbox"

    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    topic: Mapped[str] = mapped_column(String(249))
    key: Mapped[bytes | None] = mapped_column(LargeBinary)
    value: Mapped[bytes | None] = mapped_column(LargeBinary)
    headers: Mapped[list[Any]]
    """Pairs of name and value; see `encode_headers`."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    published_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_outbox_waiting", "seq", postgresql_where=text("published_at IS NULL")),)


class SqlDeadLetter(DeliveryBase):
    """Records that could not be processed, with everything that a replay needs."""

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
    """What became of it; None while it is unresolved."""
    resolved_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("resolution IN ('replayed', 'dropped')", name="resolution"),
        # A topic that was deleted and created again has other records at the same offsets.
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
"""Condition of unfinished jobs, worded as in the indexes: parameters would hide it from the planner."""


def one_of(column: str, values: Iterable[StrEnum]) -> str:
    """Return the SQL condition that a column has one of the values of an enumeration."""
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


def table_name(table: type) -> str:
    """Return the name of the table of a mapped class."""
    name: str = vars(table)["__tablename__"]
    return name


class JobColumns(Timestamps):
    """Columns of the job table of a service (T1-07, with the lease); a subclass names the table."""

    id: Mapped[UUID] = mapped_column(primary_key=True)
    media_file_id: Mapped[UUID] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(50))
    dedupe_key: Mapped[str | None] = mapped_column(String(300), unique=True)
    status: Mapped[str] = mapped_column(String(20), server_default=JobStatus.PENDING.value)
    priority: Mapped[int] = mapped_column(server_default="0")
    owner: Mapped[str] = mapped_column(String(200), server_default="")
    """Owner of the file; jobs of different owners are served in turn."""
    fair_rank: Mapped[int] = mapped_column("turn", BigInteger, server_default="0")
    """Its rank among the jobs of its priority; see `Transaction.enqueue`."""
    task: Mapped[dict[str, Any]]
    """Input of the job; the JSON of a pydantic model of the service."""
    cause: Mapped[dict[str, Any] | None]
    """The event that requested the job."""
    model_config: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """What did the work: engine, model and their settings; empty until the job is completed."""
    processing_options: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """What was asked: the options of the recording or of the request to run again."""
    progress: Mapped[float] = mapped_column(Float, server_default="0")
    run_at: Mapped[datetime] = mapped_column(server_default=func.now())
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    processing_time: Mapped[float | None] = mapped_column(Float)
    """Time in the engine, in seconds."""
    error_reason: Mapped[str | None] = mapped_column(String(100))
    error_message: Mapped[str | None] = mapped_column(Text)
    retry_count: Mapped[int] = mapped_column(server_default="0")
    max_retries: Mapped[int] = mapped_column(server_default="3")
    lease_token: Mapped[UUID | None]
    lease_expires_at: Mapped[datetime | None]

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Any, ...]:
        """Return the allowed statuses, and the indexes of claim, enqueue and gauges."""
        name = table_name(cls)
        return (
            CheckConstraint(one_of("status", JobStatus), name="status"),
            CheckConstraint("progress BETWEEN 0 AND 1", name="progress"),
            Index(f"ix_{name}_claim", text("priority DESC"), "turn", "id", postgresql_where=text(OPEN)),
            Index(f"ix_{name}_turn", "owner", "priority", "turn", postgresql_where=text(OPEN)),
            Index(
                f"ix_{name}_status_run_at", "status", "run_at", postgresql_where=text("status <> 'completed'")
            ),
        )


class RecordingTaskColumns:
    """Table of the recordings that a service knows, each with its task, from which it can be run again.

    It has recordings whose profile leaves the service out, too, and outlasts the jobs.
    """

    __tablename__ = "recording_tasks"

    media_file_id: Mapped[UUID] = mapped_column(primary_key=True)
    task: Mapped[dict[str, Any]]
    """Input of the jobs of the recording; the JSON of a pydantic model of the service."""


def job_sql(table: type[JobColumns], statement: str, change: str = "") -> str:
    """Return a statement about the job table of a service.

    Args:
        table: Mapped class of the job table.
        statement: SQL with `{jobs}` for the table, `{open}` for the condition `OPEN` and `{change}`.
        change: Assignments of an UPDATE, in place of `{change}`.
    """
    return statement.format(jobs=table_name(table), open=OPEN, change=change)
