"""Runs a service's Alembic tree."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from alembic import command, context
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from phonograph_runtime.errors import PermanentError
from phonograph_runtime.revisions import refuse_too_new
from phonograph_runtime.tables import DeliveryBase


class Operations(Protocol):
    """The part of `alembic.op` that is used here."""

    def create_table(self, table_name: str, *columns: Any) -> Any: ...  # noqa: D102  # Alembic's
    def create_index(self, index_name: str, table_name: str, columns: list[Any], **kw: Any) -> Any: ...  # noqa: D102
    def drop_table(self, table_name: str) -> Any: ...  # noqa: D102
    def execute(self, sqltext: str) -> Any: ...  # noqa: D102


def upgrade(url: str, folder: Path, revision: str = "head") -> None:
    """Bring a service's schema to a revision.

    Raises:
        StaleSchemaError: the database is at a revision that this code does not know.
        PermanentError: there is no such revision.
    """
    _run(url, folder, lambda config: command.upgrade(config, revision))


def downgrade(url: str, folder: Path, revision: str) -> None:
    """Take a service's schema back to a revision; `base` is empty."""
    _run(url, folder, lambda config: command.downgrade(config, revision))


def make_revision(url: str, folder: Path, message: str) -> None:
    """Write a new revision from the difference between the models and the database."""
    _run(url, folder, lambda config: command.revision(config, message=message, autogenerate=True))


def run_environment(metadata: list[MetaData]) -> None:
    """The body of every `env.py`: run the migrations on the connection that the runner opened."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=[*metadata, DeliveryBase.metadata],
        compare_type=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def create_delivery_tables(op: Operations) -> None:
    """Inbox, outbox and dead letters, for a service's first revision."""
    op.create_table(
        "inbox",
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("event_id", sa.String(200), nullable=False),
        _now("received_at"),
        sa.PrimaryKeyConstraint("source", "event_id", name="pk_inbox"),
    )
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"])
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("headers", postgresql.JSONB, nullable=False),
        _now("created_at"),
        _instant("published_at"),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
    )
    waiting = sa.text("published_at IS NULL")
    op.create_index("ix_outbox_waiting", "outbox", ["seq"], postgresql_where=waiting)
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("partition", sa.Integer, nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("key", sa.LargeBinary),
        sa.Column("value", sa.LargeBinary),
        sa.Column("headers", postgresql.JSONB, nullable=False),
        sa.Column("reason", sa.String(100), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        _now("parked_at"),
        _instant("replayed_at"),
        sa.PrimaryKeyConstraint("id", name="pk_dead_letters"),
    )
    op.create_index("ix_dead_letters_topic", "dead_letters", ["topic"])
    op.create_index("ix_dead_letters_parked_at", "dead_letters", ["parked_at"])
    op.create_index(
        "uq_dead_letters_coordinates", "dead_letters", ["topic", "partition", "offset"], unique=True
    )


def drop_delivery_tables(op: Operations) -> None:
    """Back from `create_delivery_tables`."""
    for table in ("dead_letters", "outbox", "inbox"):
        op.drop_table(table)


def create_job_table(op: Operations, name: str) -> None:
    """A service's job table with the columns of `JobColumns`, for its first revision."""
    op.create_table(
        name,
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("media_file_id", sa.Uuid, nullable=False),
        sa.Column("kind", sa.String(50), nullable=False),
        sa.Column("dedupe_key", sa.String(300)),
        sa.Column("status", sa.String(20), server_default="pending", nullable=False),
        sa.Column("priority", sa.Integer, server_default="0", nullable=False),
        sa.Column("task", postgresql.JSONB, nullable=False),
        sa.Column("cause", postgresql.JSONB),
        sa.Column("model_config", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("processing_options", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("progress", sa.Float, server_default="0", nullable=False),
        _now("run_at"),
        _instant("started_at"),
        _instant("completed_at"),
        sa.Column("processing_time", sa.Float),
        sa.Column("error_reason", sa.String(100)),
        sa.Column("error_message", sa.Text),
        sa.Column("retry_count", sa.Integer, server_default="0", nullable=False),
        sa.Column("max_retries", sa.Integer, server_default="3", nullable=False),
        sa.Column("lease_token", sa.Uuid),
        _instant("lease_expires_at"),
        _now("created_at"),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
        sa.UniqueConstraint("dedupe_key", name=f"uq_{name}_dedupe_key"),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'retrying', 'completed', 'failed')", name=f"ck_{name}_status"
        ),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name=f"ck_{name}_progress"),
    )
    op.create_index(f"ix_{name}_media_file_id", name, ["media_file_id"])
    op.create_index(f"ix_{name}_status", name, ["status"])
    unfinished = sa.text("status IN ('pending', 'retrying', 'processing')")
    op.create_index(
        f"ix_{name}_claim", name, [sa.text("priority DESC"), "run_at", "id"], postgresql_where=unfinished
    )


def let_owners_take_turns(op: Operations, name: str) -> None:
    """The columns and indexes by which a job table serves owners in turn, for the second revision."""
    op.execute(
        f"ALTER TABLE {name} ADD COLUMN owner varchar(200) NOT NULL DEFAULT '', "
        "ADD COLUMN turn bigint NOT NULL DEFAULT 0"
    )
    op.execute(f"DROP INDEX ix_{name}_claim, ix_{name}_status")
    unfinished = "WHERE status IN ('pending', 'retrying', 'processing')"
    op.execute(f"CREATE INDEX ix_{name}_claim ON {name} (priority DESC, turn, id) {unfinished}")
    op.execute(f"CREATE INDEX ix_{name}_turn ON {name} (owner, priority, turn) {unfinished}")
    op.execute(f"CREATE INDEX ix_{name}_status ON {name} (status) WHERE status <> 'completed'")


def take_turns_back(op: Operations, name: str) -> None:
    """Back from `let_owners_take_turns`."""
    op.execute(f"DROP INDEX ix_{name}_claim, ix_{name}_turn, ix_{name}_status")
    op.execute(f"ALTER TABLE {name} DROP COLUMN owner, DROP COLUMN turn")
    unfinished = "WHERE status IN ('pending', 'retrying', 'processing')"
    op.execute(f"CREATE INDEX ix_{name}_claim ON {name} (priority DESC, run_at, id) {unfinished}")
    op.execute(f"CREATE INDEX ix_{name}_status ON {name} (status)")


def resolve_dead_letters(op: Operations) -> None:
    """What became of a dead letter, for the second revision."""
    op.execute("ALTER TABLE dead_letters RENAME COLUMN replayed_at TO resolved_at")
    op.execute("ALTER TABLE dead_letters ADD COLUMN resolution varchar(20)")
    op.execute("UPDATE dead_letters SET resolution = 'replayed' WHERE resolved_at IS NOT NULL")
    op.execute(
        "ALTER TABLE dead_letters ADD CONSTRAINT ck_dead_letters_resolution "
        "CHECK (resolution IN ('replayed', 'dropped'))"
    )


def forget_resolutions(op: Operations) -> None:
    """Back from `resolve_dead_letters`."""
    op.execute("ALTER TABLE dead_letters DROP COLUMN resolution")
    op.execute("ALTER TABLE dead_letters RENAME COLUMN resolved_at TO replayed_at")


def tell_letters_by_content(op: Operations) -> None:
    """A topic that was made anew has other records at the same places, for the third revision."""
    op.execute(
        """CREATE UNIQUE INDEX uq_dead_letters_record ON dead_letters
           (topic, partition, "offset", md5(headers::text), md5(value)) NULLS NOT DISTINCT"""
    )
    op.execute("DROP INDEX uq_dead_letters_coordinates")


def tell_letters_by_place(op: Operations) -> None:
    """Back from `tell_letters_by_content`; fails while two letters have one place."""
    op.execute(
        """CREATE UNIQUE INDEX uq_dead_letters_coordinates ON dead_letters (topic, partition, "offset")"""
    )
    op.execute("DROP INDEX uq_dead_letters_record")


def _instant(name: str) -> "sa.Column[Any]":
    return sa.Column(name, sa.TIMESTAMP(timezone=True))


def _now(name: str) -> "sa.Column[Any]":
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False)


def _run(url: str, folder: Path, action: Callable[[Config], object]) -> None:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")

    def migrate(connection: Connection) -> None:
        config.attributes["connection"] = connection
        refuse_too_new(MigrationContext.configure(connection).get_current_revision(), folder)
        try:
            action(config)
        except CommandError as error:
            raise PermanentError(f"{folder.name}: {error}.", reason="bad_revision") from error

    async def connect() -> None:
        engine = create_async_engine(url, poolclass=NullPool)
        try:
            async with engine.connect() as connection:
                await connection.run_sync(migrate)
                await connection.commit()
        finally:
            await engine.dispose()

    asyncio.run(connect())
