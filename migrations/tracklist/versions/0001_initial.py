"""Delivery tables, jobs and the music catalogue."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from phonograph_runtime.migrations import create_delivery_tables, create_job_table, drop_delivery_tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    create_delivery_tables(op)
    create_job_table(op, "tracklist_jobs")
    _create_recordings()
    _create_metadata()
    _create_tracklists()
    _create_rename_proposals()
    _create_recording_stats()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP FUNCTION refresh_recording_stats()")
    op.execute("DROP MATERIALIZED VIEW recording_stats")
    for table in ("rename_proposals", "tracklists", "metadata", "recordings", "tracklist_jobs"):
        op.drop_table(table)
    drop_delivery_tables(op)


def _create_recordings() -> None:
    op.create_table(
        "recordings",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("owner", sa.String(200)),
        sa.Column("file_path", sa.String(1024), nullable=False),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("file_hash", sa.String(64), nullable=False),
        sa.Column("secondary_hash", sa.String(32)),
        sa.Column("file_size", sa.BigInteger),
        sa.Column("status", sa.String(50), server_default="pending", nullable=False),
        sa.Column("mime_type", sa.String(100)),
        sa.Column("last_modified", sa.TIMESTAMP(timezone=True)),
        sa.Column("completed_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("music_result_id", sa.Uuid),
        sa.Column("correlation_id", sa.Uuid),
        *_timestamps(),
        sa.PrimaryKeyConstraint("id", name="pk_recordings"),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'completed', 'failed', 'deleted')",
            name="ck_recordings_status",
        ),
    )
    op.create_index("ix_recordings_status", "recordings", ["status"])
    op.create_index("ix_recordings_created_at", "recordings", ["created_at"])
    op.create_index(
        "uq_recordings_file_hash",
        "recordings",
        ["file_hash", "owner"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    op.create_index(
        "uq_recordings_file_path",
        "recordings",
        ["file_path", "owner"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("status <> 'deleted'"),
    )


def _create_metadata() -> None:
    op.create_table(
        "metadata",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("recording_id", sa.Uuid, nullable=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("value", sa.Text),
        sa.Column("value_type", sa.String(50), server_default="string", nullable=False),
        sa.Column("extraction_method", sa.String(50), server_default="tag", nullable=False),
        sa.Column("confidence", sa.Float, server_default="1", nullable=False),
        sa.Column("correlation_id", sa.Uuid),
        *_timestamps(),
        sa.PrimaryKeyConstraint("id", name="pk_metadata"),
        sa.ForeignKeyConstraint(
            ["recording_id"],
            ["recordings.id"],
            name="fk_metadata_recording_id_recordings",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "value_type IN ('string', 'int', 'float', 'bool', 'json')", name="ck_metadata_value_type"
        ),
    )
    op.create_index("ix_metadata_recording_id", "metadata", ["recording_id"])
    op.create_index("ix_metadata_key", "metadata", ["key"])
    op.create_index("uq_metadata_recording_id_key", "metadata", ["recording_id", "key"], unique=True)
    op.create_index("ix_metadata_key_value", "metadata", ["key", sa.text("substr(value, 1, 255)")])


def _create_tracklists() -> None:
    op.create_table(
        "tracklists",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("recording_id", sa.Uuid),
        sa.Column("is_current", sa.Boolean, server_default="true", nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("artist", sa.String(255)),
        sa.Column("source_url", sa.String(1024)),
        sa.Column("source_type", sa.String(100)),
        sa.Column("tracks", postgresql.JSONB, server_default="[]", nullable=False),
        sa.Column("metadata", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("track_count", sa.Integer, server_default="0", nullable=False),
        sa.Column("total_duration", sa.Integer),
        sa.Column("correlation_id", sa.Uuid),
        *_timestamps(),
        sa.PrimaryKeyConstraint("id", name="pk_tracklists"),
        sa.ForeignKeyConstraint(
            ["recording_id"],
            ["recordings.id"],
            name="fk_tracklists_recording_id_recordings",
            ondelete="SET NULL",
        ),
    )
    for column in ("recording_id", "title", "artist", "source_type"):
        op.create_index(f"ix_tracklists_{column}", "tracklists", [column])
    for column in ("tracks", "metadata"):
        op.create_index(f"ix_tracklists_{column}", "tracklists", [column], postgresql_using="gin")
    op.create_index(
        "uq_tracklists_current",
        "tracklists",
        ["recording_id"],
        unique=True,
        postgresql_where=sa.text("is_current AND recording_id IS NOT NULL"),
    )


def _create_rename_proposals() -> None:
    op.create_table(
        "rename_proposals",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("recording_id", sa.Uuid, nullable=False),
        sa.Column("current_filename", sa.String(255), nullable=False),
        sa.Column("proposed_filename", sa.String(255), nullable=False),
        sa.Column("proposal_reason", sa.Text),
        sa.Column("metadata_used", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("confidence_score", sa.Float, server_default="0", nullable=False),
        sa.Column("status", sa.String(50), server_default="pending", nullable=False),
        sa.Column("correlation_id", sa.Uuid),
        *_timestamps(),
        sa.PrimaryKeyConstraint("id", name="pk_rename_proposals"),
        sa.ForeignKeyConstraint(
            ["recording_id"],
            ["recordings.id"],
            name="fk_rename_proposals_recording_id_recordings",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'approved', 'rejected', 'applied', 'failed')",
            name="ck_rename_proposals_status",
        ),
        sa.CheckConstraint(
            "octet_length(proposed_filename) BETWEEN 1 AND 255", name="ck_rename_proposals_proposed_filename"
        ),
        sa.CheckConstraint("confidence_score BETWEEN 0 AND 1", name="ck_rename_proposals_confidence_score"),
    )
    for column in ("recording_id", "status", "confidence_score"):
        op.create_index(f"ix_rename_proposals_{column}", "rename_proposals", [column])
    op.create_index(
        "uq_rename_proposals_recording_id_names",
        "rename_proposals",
        ["recording_id", "current_filename", "proposed_filename"],
        unique=True,
    )


def _create_recording_stats() -> None:
    op.execute(
        """
        CREATE MATERIALIZED VIEW recording_stats AS
        SELECT date_trunc('month', created_at, 'UTC') AS month,
               status,
               count(*) AS count,
               avg(file_size) AS avg_file_size
        FROM recordings
        GROUP BY 1, 2
        """
    )
    # REFRESH ... CONCURRENTLY needs a unique index.
    op.create_index("uq_recording_stats_month_status", "recording_stats", ["month", "status"], unique=True)
    op.execute(
        """
        CREATE FUNCTION refresh_recording_stats() RETURNS void LANGUAGE sql SET search_path FROM CURRENT
        AS $$ REFRESH MATERIALIZED VIEW CONCURRENTLY recording_stats $$
        """
    )


def _timestamps() -> list[sa.Column]:
    return [
        sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False)
        for name in ("created_at", "updated_at")
    ]
