"""Create the delivery tables, the job table, versioned transcripts and exports."""

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
    _create_results()
    _create_halves()
    _create_v2_jobs()
    _create_exports()
    _create_view()


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP VIEW transcripts")
    for table in (
        "exports",
        "v2_processing_jobs",
        "transcript_halves",
        "transcription_results",
        "transcription_jobs",
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
        "transcription_jobs",
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
        sa.PrimaryKeyConstraint("id", name="pk_transcription_jobs"),
        sa.UniqueConstraint("dedupe_key", name="uq_transcription_jobs_dedupe_key"),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'retrying', 'completed', 'failed')",
            name="ck_transcription_jobs_status",
        ),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name="ck_transcription_jobs_progress"),
    )
    op.create_index("ix_transcription_jobs_media_file_id", "transcription_jobs", ["media_file_id"])
    op.create_index("ix_transcription_jobs_status", "transcription_jobs", ["status"])
    op.create_index(
        "ix_transcription_jobs_claim",
        "transcription_jobs",
        [sa.text("priority DESC"), "run_at", "id"],
        postgresql_where=sa.text("status IN ('pending', 'retrying', 'processing')"),
    )


def _create_results() -> None:
    name = "transcription_results"
    op.create_table(
        name,
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("job_id", sa.Uuid, nullable=False),
        sa.Column("media_file_id", sa.Uuid, nullable=False),
        sa.Column("parent_result_id", sa.Uuid),
        sa.Column("pipeline_version", sa.String(10), server_default="v1", nullable=False),
        sa.Column("version", sa.Integer, server_default="1", nullable=False),
        sa.Column("document_uri", sa.Text, nullable=False),
        sa.Column("content", postgresql.JSONB, nullable=False),
        sa.Column("segments", postgresql.JSONB),
        sa.Column("confidence_scores", postgresql.JSONB),
        sa.Column("speaker_info", postgresql.JSONB),
        sa.Column("accuracy", sa.Float),
        sa.Column("accuracy_estimate", sa.Float),
        sa.Column("word_count", sa.Integer),
        sa.Column("processing_time", sa.Float),
        sa.Column("engine", sa.String(50), nullable=False),
        sa.Column("model_used", sa.String(100)),
        sa.Column("model_config", postgresql.JSONB),
        sa.Column("enhanced_content_v2", postgresql.JSONB),
        sa.Column("diarization_content", postgresql.JSONB),
        sa.Column("merged_content", postgresql.JSONB),
        sa.Column("domain_used", sa.String(100)),
        sa.Column("speaker_count", sa.Integer),
        sa.Column("quality_warnings_v2", postgresql.JSONB),
        sa.Column("processing_metadata", postgresql.JSONB),
        _now("created_at"),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_transcription_results"),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["transcription_jobs.id"],
            name="fk_transcription_results_job_id_transcription_jobs",
        ),
        sa.ForeignKeyConstraint(
            ["parent_result_id"],
            ["transcription_results.id"],
            name="fk_transcription_results_parent_result_id_transcription_results",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "pipeline_version IN ('v1', 'v2', 'v3', 'v4')",
            name="ck_transcription_results_pipeline_version",
        ),
        sa.CheckConstraint("version >= 1", name="ck_transcription_results_version"),
        sa.CheckConstraint("speaker_count >= 0", name="ck_transcription_results_speaker_count"),
        sa.CheckConstraint(
            "pipeline_version = 'v1' OR parent_result_id IS NOT NULL",
            name="ck_transcription_results_has_parent",
        ),
        sa.UniqueConstraint(
            "media_file_id", "version", name="uq_transcription_results_media_file_id_version"
        ),
    )
    for column in (
        "job_id",
        "media_file_id",
        "parent_result_id",
        "pipeline_version",
        "domain_used",
        "speaker_count",
    ):
        op.create_index(f"ix_{name}_{column}", name, [column])


def _create_halves() -> None:
    op.create_table(
        "transcript_halves",
        sa.Column("media_file_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.Integer, server_default="0", nullable=False),
        sa.Column("result_id", sa.Uuid),
        sa.Column("transcript_uri", sa.Text),
        sa.Column("language_probability", sa.Float),
        sa.Column("diarization_job_id", sa.Uuid),
        sa.Column("diarization_engine", sa.String(50)),
        sa.Column("turns_uri", sa.Text),
        sa.Column("media", postgresql.JSONB),
        _now("created_at"),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("media_file_id", name="pk_transcript_halves"),
        sa.ForeignKeyConstraint(
            ["result_id"],
            ["transcription_results.id"],
            name="fk_transcript_halves_result_id_transcription_results",
            ondelete="SET NULL",
        ),
    )
    op.create_index("ix_transcript_halves_result_id", "transcript_halves", ["result_id"])


def _create_v2_jobs() -> None:
    name = "v2_processing_jobs"
    op.create_table(
        name,
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("transcript_id", sa.Uuid, nullable=False),
        sa.Column("job_type", sa.String(50), nullable=False),
        sa.Column("status", sa.String(50), server_default="pending", nullable=False),
        sa.Column("parameters", postgresql.JSONB),
        sa.Column("progress", sa.Float, server_default="0", nullable=False),
        sa.Column("error_message", sa.Text),
        sa.Column("result_data", postgresql.JSONB),
        sa.Column("completed_at", sa.TIMESTAMP(timezone=True)),
        _now("created_at"),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_v2_processing_jobs"),
        sa.ForeignKeyConstraint(
            ["transcript_id"],
            ["transcription_results.id"],
            name="fk_v2_processing_jobs_transcript_id_transcription_results",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'completed', 'failed', 'cancelled')",
            name="ck_v2_processing_jobs_status",
        ),
        sa.CheckConstraint("progress BETWEEN 0 AND 1", name="ck_v2_processing_jobs_progress"),
    )
    for column in ("transcript_id", "job_type", "status"):
        op.create_index(f"ix_{name}_{column}", name, [column])


def _create_exports() -> None:
    op.create_table(
        "exports",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("transcript_id", sa.Uuid, nullable=False),
        sa.Column("format", sa.String(10), nullable=False),
        sa.Column("file_path", sa.Text, nullable=False),
        sa.Column("file_size", sa.BigInteger),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_exports"),
        sa.ForeignKeyConstraint(
            ["transcript_id"],
            ["transcription_results.id"],
            name="fk_exports_transcript_id_transcription_results",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint(
            "format IN ('json', 'txt', 'srt', 'vtt', 'md', 'summary')", name="ck_exports_format"
        ),
    )
    op.create_index("ix_exports_transcript_id", "exports", ["transcript_id"])


def _create_view() -> None:
    """Create the view that readers of releases 0.1.0 to 0.2.0 know as a table (C-02, C-03, C-04)."""
    op.execute("""
        CREATE VIEW transcripts AS
        SELECT id,
               media_file_id,
               pipeline_version AS version,
               content ->> 'text' AS text_content,
               enhanced_content_v2 ->> 'enhanced_text' AS enhanced_content,
               segments,
               content AS raw_content,
               accuracy,
               processing_time AS processing_time_seconds,
               ARRAY(SELECT DISTINCT warning ->> 'code'
                     FROM jsonb_array_elements(quality_warnings_v2) AS warning
                     ORDER BY 1) AS quality_warnings,
               created_at,
               updated_at
        FROM transcription_results
    """)


def _now(name: str) -> sa.Column:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False)
