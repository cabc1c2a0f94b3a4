"""Create the delivery tables, the job table and the music catalog."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _create_delivery_tables()
    _create_job_table()
    _create_recordings()
    _create_metadata()
    _create_tracklists()
    _create_rename_proposals()
    _create_recording_stats()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP FUNCTION refresh_recording_stats()")
    op.execute("DROP MATERIALIZED VIEW recording_stats")
    for table in (
        "rename_proposals",
        "tracklists",
        "metadata",
        "recordings",
        "tracklist_jobs",
        "dead_letters",
        "outbox",
        "inbox",
    ):
        op.drop_table(table)


def _create_delivery_tables() -> None:
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
        sa.Column("published_at", sa.TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
    )
    op.create_index("ix_outbox_waiting", "outbox", ["seq"], postgresql_where=sa.text("published_at IS NULL"))
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
        sa.Column("replayed_at", sa.TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_dead_letters"),
    )
    op.create_index("ix_dead_letters_topic", "dead_letters", ["topic"])
    op.create_index("ix_dead_letters_parked_at", "dead_letters", ["parked_at"])
    op.create_index(
        "uq_dead_letters_coordinates", "dead_letters", ["topic", "partition", "offset"], unique=True
    )


def _create_job_table() -> None:
    op.create_table(
        "tracklist_jobs",
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
        sa.Column("started_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("completed_at", sa.TIMESTAMP(timezone=True)),
        sa.Column("processing_time", sa.Float),
        sa.Column("error_reason", sa.String(100)),
        sa.Column("error_message", sa.Text),
        sa.Column("retry_count", sa.Integer, server_default="0", nullable=False),
        sa.Column("max_retries", sa.Integer, server_default="3", nullable=False),
        sa.Column("lease_token", sa.Uuid),
        sa.Column("lease_expires_at", sa.TIMESTAMP(timezone=True)),
        _now("created_at"),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_tracklist_jobs"),
        sa.UniqueConstraint("dedupe_key", name="uq_tracklist_jobs_dedupe_key"),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'retrying', 'completed', 'failed')",
            name="ck_tracklist_jobs_status",
        ),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name="ck_tracklist_jobs_progress"),
    )
    op.create_index("ix_tracklist_jobs_media_file_id", "tracklist_jobs", ["media_file_id"])
    op.create_index("ix_tracklist_jobs_status", "tracklist_jobs", ["status"])
    op.create_index(
        "ix_tracklist_jobs_claim",
        "tracklist_jobs",
        [sa.text("priority DESC"), "run_at", "id"],
        postgresql_where=sa.text("status IN ('pending', 'retrying', 'processing')"),
    )


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
    return [_now("created_at"), _now("updated_at")]


def _now(name: str) -> sa.Column:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False)
