"""Create the delivery tables, the job table and the registry of media files."""

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
    op.create_table(
        "media_files",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("owner", sa.String(200)),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("file_size", sa.BigInteger),
        sa.Column("duration", sa.Float),
        sa.Column("kind", sa.String(10)),
        sa.Column("mime_type", sa.String(100)),
        sa.Column("source_path", sa.Text, nullable=False),
        sa.Column("local_path", sa.Text),
        sa.Column("file_hash", sa.String(64)),
        sa.Column("secondary_hash", sa.String(32)),
        sa.Column("content_fp", sa.String(128)),
        sa.Column("silent", sa.Boolean, server_default="false", nullable=False),
        sa.Column("file_metadata", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("profile", sa.String(20), nullable=False),
        sa.Column("priority", sa.Integer, server_default="0", nullable=False),
        sa.Column("options", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("download_error", sa.Text),
        sa.Column("error_reason", sa.String(100)),
        _now("created_at"),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_media_files"),
        sa.CheckConstraint(
            "status IN ('pending', 'downloading', 'processing', 'ready', 'failed')",
            name="ck_media_files_status",
        ),
        sa.CheckConstraint(
            "status <> 'ready' OR file_hash IS NOT NULL", name="ck_media_files_ready_is_hashed"
        ),
    )
    op.create_index("ix_media_files_status", "media_files", ["status"])
    op.create_index("ix_media_files_file_hash", "media_files", ["file_hash"])
    op.create_index(
        "uq_media_files_owner_file_hash",
        "media_files",
        ["owner", "file_hash"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("file_hash IS NOT NULL"),
    )
    op.create_index(
        "uq_media_files_owner_content_fp",
        "media_files",
        ["owner", "content_fp"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("content_fp IS NOT NULL AND NOT silent"),
    )
    op.create_table(
        "media_locations",
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("owner", sa.String(200), server_default="", nullable=False),
        sa.Column("media_file_id", sa.Uuid, nullable=False),
        _now("last_seen"),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("uri", "owner", name="pk_media_locations"),
        sa.ForeignKeyConstraint(
            ["media_file_id"],
            ["media_files.id"],
            name="fk_media_locations_media_file_id_media_files",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_media_locations_media_file_id", "media_locations", ["media_file_id"])
    op.create_table(
        "audio_processing_metadata",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("media_file_id", sa.Uuid, nullable=False),
        sa.Column("original_format", sa.String(100), nullable=False),
        sa.Column("original_sample_rate", sa.Integer),
        sa.Column("original_channels", sa.Integer),
        sa.Column("processed_format", sa.String(20), server_default="wav", nullable=False),
        sa.Column("processed_sample_rate", sa.Integer, server_default="16000", nullable=False),
        sa.Column("processed_channels", sa.Integer, server_default="1", nullable=False),
        sa.Column("preprocessing_time_seconds", sa.Float, nullable=False),
        sa.Column("chunk_count", sa.Integer, server_default="1", nullable=False),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_audio_processing_metadata"),
        sa.UniqueConstraint("media_file_id", name="uq_audio_processing_metadata_media_file_id"),
        sa.ForeignKeyConstraint(
            ["media_file_id"],
            ["media_files.id"],
            name="fk_audio_processing_metadata_media_file_id_media_files",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in (
        "audio_processing_metadata",
        "media_locations",
        "media_files",
        "ingest_jobs",
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
        "ingest_jobs",
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
        sa.PrimaryKeyConstraint("id", name="pk_ingest_jobs"),
        sa.UniqueConstraint("dedupe_key", name="uq_ingest_jobs_dedupe_key"),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'retrying', 'completed', 'failed')",
            name="ck_ingest_jobs_status",
        ),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name="ck_ingest_jobs_progress"),
    )
    op.create_index("ix_ingest_jobs_media_file_id", "ingest_jobs", ["media_file_id"])
    op.create_index("ix_ingest_jobs_status", "ingest_jobs", ["status"])
    op.create_index(
        "ix_ingest_jobs_claim",
        "ingest_jobs",
        [sa.text("priority DESC"), "run_at", "id"],
        postgresql_where=sa.text("status IN ('pending', 'retrying', 'processing')"),
    )


def _now(name: str) -> sa.Column:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False)
