"""Create the delivery tables, the job table and the seven lecture tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STAGES = (
    "'uploading', 'silence_detection', 'transcription', 'layout_analysis', "
    "'content_analysis', 'segmentation', 'compilation', 'complete'"
)


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _create_delivery_tables()
    _create_job_table()
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("job_id", sa.String(100), nullable=False),
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("file_size", sa.BigInteger, nullable=False),
        sa.Column("content_type", sa.String(100), nullable=False),
        sa.Column("original_s3_key", sa.String(500), nullable=False),
        sa.Column("video_duration", sa.Float),
        sa.Column("video_metadata", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("status", sa.String(20), server_default="queued", nullable=False),
        sa.Column("error_message", sa.Text),
        sa.Column("celery_task_id", sa.String(100)),
        sa.Column("current_stage", sa.String(50)),
        sa.Column("progress_percent", sa.Float, server_default="0", nullable=False),
        sa.Column("progress_message", sa.String(500)),
        sa.Column("eta_seconds", sa.Integer),
        sa.Column("metadata", postgresql.JSONB, server_default="{}", nullable=False),
        _now("created_at"),
        _now("updated_at"),
        sa.Column("completed_at", sa.TIMESTAMP(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("job_id", name="uq_jobs_job_id"),
        sa.CheckConstraint("status IN ('queued', 'running', 'completed', 'failed')", name="ck_jobs_status"),
        sa.CheckConstraint(f"current_stage IN ({STAGES})", name="ck_jobs_current_stage"),
        sa.CheckConstraint("progress_percent BETWEEN 0 AND 100", name="ck_jobs_progress_percent"),
    )
    _indexes("jobs", "status", "celery_task_id", "created_at")
    op.create_table(
        "transcripts",
        *_child("transcripts", "segment_id"),
        sa.Column("start_time", sa.Float, nullable=False),
        sa.Column("end_time", sa.Float, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("confidence", sa.Float),
        sa.Column("speaker_id", sa.String(50)),
        _now("created_at"),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name="ck_transcripts_confidence"),
    )
    _indexes("transcripts", "job_id", "start_time")
    op.create_table(
        "silence_regions",
        *_child("silence_regions", "region_id"),
        sa.Column("start_time", sa.Float, nullable=False),
        sa.Column("end_time", sa.Float, nullable=False),
        sa.Column("duration", sa.Float, nullable=False),
        sa.Column("silence_type", sa.String(20), nullable=False),
        sa.Column("amplitude_threshold", sa.Float),
        _now("created_at"),
        sa.CheckConstraint(
            "silence_type IN ('audio_silence', 'blank_screen', 'both')",
            name="ck_silence_regions_silence_type",
        ),
    )
    _indexes("silence_regions", "job_id", "start_time")
    op.create_table(
        "layout_analysis",
        *_child("layout_analysis", "layout_id"),
        sa.Column("screen_region", postgresql.JSONB, nullable=False),
        sa.Column("camera_region", postgresql.JSONB, nullable=False),
        sa.Column("split_ratio", sa.Float, nullable=False),
        sa.Column("layout_type", sa.String(30), nullable=False),
        sa.Column("confidence_score", sa.Float),
        sa.Column("sample_frame_time", sa.Float),
        _now("created_at"),
        sa.UniqueConstraint("job_id", name="uq_layout_analysis_job_id"),
        sa.CheckConstraint(
            "layout_type IN "
            "('side_by_side', 'picture_in_picture', 'full_screen', 'split_vertical', 'custom')",
            name="ck_layout_analysis_layout_type",
        ),
        sa.CheckConstraint("confidence_score BETWEEN 0 AND 1", name="ck_layout_analysis_confidence_score"),
    )
    op.create_table(
        "content_segments",
        *_child("content_segments", "segment_id"),
        sa.Column("start_time", sa.Float, nullable=False),
        sa.Column("end_time", sa.Float, nullable=False),
        sa.Column("duration", sa.Float, nullable=False),
        sa.Column("topic", sa.String(500), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("importance_score", sa.Float, nullable=False),
        sa.Column("keywords", postgresql.JSONB, server_default="[]", nullable=False),
        sa.Column("concepts", postgresql.JSONB, server_default="[]", nullable=False),
        sa.Column("segment_order", sa.Integer, nullable=False),
        _now("created_at"),
        sa.CheckConstraint("importance_score BETWEEN 0 AND 1", name="ck_content_segments_importance_score"),
    )
    _indexes("content_segments", "job_id", "start_time", "importance_score", "segment_order")
    op.create_table(
        "clips",
        *_child("clips", "clip_id"),
        sa.Column("content_segment_id", sa.String(100)),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("topic", sa.String(500)),
        sa.Column("importance_score", sa.Float),
        sa.Column("start_time", sa.Float, nullable=False),
        sa.Column("end_time", sa.Float, nullable=False),
        sa.Column("duration", sa.Float, nullable=False),
        sa.Column("s3_key", sa.String(500), nullable=False),
        sa.Column("thumbnail_s3_key", sa.String(500)),
        sa.Column("subtitle_s3_key", sa.String(500)),
        sa.Column("clip_order", sa.Integer),
        sa.Column("metadata", postgresql.JSONB, server_default="{}", nullable=False),
        _now("created_at"),
        sa.ForeignKeyConstraint(
            ["content_segment_id"],
            ["content_segments.segment_id"],
            name="fk_clips_content_segment_id_content_segments",
            ondelete="SET NULL",
        ),
        sa.CheckConstraint("importance_score BETWEEN 0 AND 1", name="ck_clips_importance_score"),
    )
    _indexes("clips", "job_id", "importance_score", "clip_order")
    op.create_index(
        "uq_clips_content_segment_id",
        "clips",
        ["content_segment_id"],
        unique=True,
        postgresql_where=sa.text("content_segment_id IS NOT NULL"),
    )
    op.create_table(
        "processing_logs",
        *_child("processing_logs", "log_id"),
        sa.Column("stage", sa.String(50), nullable=False),
        sa.Column("agent_name", sa.String(100)),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("duration_seconds", sa.Float),
        sa.Column("error_message", sa.Text),
        sa.Column("metadata", postgresql.JSONB, server_default="{}", nullable=False),
        _now("created_at"),
        sa.CheckConstraint(f"stage IN ({STAGES})", name="ck_processing_logs_stage"),
        sa.CheckConstraint("status IN ('started', 'completed', 'failed')", name="ck_processing_logs_status"),
    )
    _indexes("processing_logs", "job_id", "stage", "created_at")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in (
        "processing_logs",
        "clips",
        "content_segments",
        "layout_analysis",
        "silence_regions",
        "transcripts",
        "jobs",
        "highlights_jobs",
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
        "highlights_jobs",
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
        sa.PrimaryKeyConstraint("id", name="pk_highlights_jobs"),
        sa.UniqueConstraint("dedupe_key", name="uq_highlights_jobs_dedupe_key"),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'retrying', 'completed', 'failed')",
            name="ck_highlights_jobs_status",
        ),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name="ck_highlights_jobs_progress"),
    )
    op.create_index("ix_highlights_jobs_media_file_id", "highlights_jobs", ["media_file_id"])
    op.create_index("ix_highlights_jobs_status", "highlights_jobs", ["status"])
    op.create_index(
        "ix_highlights_jobs_claim",
        "highlights_jobs",
        [sa.text("priority DESC"), "run_at", "id"],
        postgresql_where=sa.text("status IN ('pending', 'retrying', 'processing')"),
    )


def _child(table: str, public_id: str) -> list[sa.Column | sa.Constraint]:
    """Return the keys of a table whose rows are deleted with their job (L-16)."""
    return [
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column(public_id, sa.String(100), nullable=False),
        sa.Column("job_id", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint(public_id, name=f"uq_{table}_{public_id}"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.job_id"], name=f"fk_{table}_job_id_jobs", ondelete="CASCADE"
        ),
    ]


def _indexes(table: str, *columns: str) -> None:
    for column in columns:
        op.create_index(f"ix_{table}_{column}", table, [column])


def _now(name: str) -> sa.Column:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False)
