"""Delivery tables, jobs, transcripts in versions, exports."""

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
    create_job_table(op, "transcription_jobs")
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
    ):
        op.drop_table(table)
    drop_delivery_tables(op)


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
        _instant("created_at"),
        _instant("updated_at"),
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
        _instant("created_at"),
        _instant("updated_at"),
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
        _instant("created_at"),
        _instant("updated_at"),
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
        _instant("created_at"),
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
    """The table that readers of 0.1.0 to 0.2.0 know (C-02, C-03, C-04)."""
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


def _instant(name: str) -> sa.Column:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False)
