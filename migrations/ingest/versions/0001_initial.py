"""Delivery tables, jobs and the registry of files."""

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
    create_job_table(op, "ingest_jobs")
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
        _instant("created_at"),
        _instant("updated_at"),
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
        _instant("last_seen"),
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
        _instant("created_at"),
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
    for table in ("audio_processing_metadata", "media_locations", "media_files", "ingest_jobs"):
        op.drop_table(table)
    drop_delivery_tables(op)


def _instant(name: str) -> sa.Column:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False)
