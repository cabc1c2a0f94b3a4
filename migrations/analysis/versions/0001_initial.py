"""Delivery tables, jobs and music features."""

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
    create_job_table(op, "analysis_jobs")
    op.create_table(
        "analysis_results",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("media_file_id", sa.Uuid, nullable=False),
        sa.Column("job_id", sa.Uuid, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("engine", sa.String(50), nullable=False),
        sa.Column("algorithm_build", sa.String(100), nullable=False),
        sa.Column("bpm", sa.Float),
        sa.Column("bpm_confidence", sa.Float),
        sa.Column("bpm_candidates", postgresql.JSONB, server_default="[]", nullable=False),
        sa.Column("key", sa.String(3)),
        sa.Column("scale", sa.String(10)),
        sa.Column("key_strength", sa.Float),
        sa.Column("key_profile", sa.String(20)),
        sa.Column("key_agreed", sa.Boolean),
        sa.Column("loudness_lufs", sa.Float),
        sa.Column("danceability", sa.Float),
        sa.Column("timbre", postgresql.JSONB),
        sa.Column("excerpt_start_s", sa.Float, nullable=False),
        sa.Column("excerpt_end_s", sa.Float, nullable=False),
        sa.Column("reason", sa.String(50)),
        sa.Column("reasons", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("document_uri", sa.Text, nullable=False),
        _instant("created_at"),
        _instant("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_analysis_results"),
        sa.UniqueConstraint("media_file_id", "version", name="uq_analysis_results_media_file_id_version"),
        sa.UniqueConstraint("job_id", name="uq_analysis_results_job_id"),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["analysis_jobs.id"],
            name="fk_analysis_results_job_id_analysis_jobs",
            ondelete="CASCADE",
        ),
        sa.CheckConstraint("version >= 1", name="ck_analysis_results_version"),
        sa.CheckConstraint("bpm BETWEEN 40 AND 250", name="ck_analysis_results_bpm"),
        sa.CheckConstraint("bpm_confidence BETWEEN 0 AND 1", name="ck_analysis_results_bpm_confidence"),
        sa.CheckConstraint("key_strength BETWEEN 0 AND 1", name="ck_analysis_results_key_strength"),
        sa.CheckConstraint("scale IN ('major', 'minor')", name="ck_analysis_results_scale"),
        sa.CheckConstraint("excerpt_start_s <= excerpt_end_s", name="ck_analysis_results_excerpt"),
    )
    op.create_index("ix_analysis_results_algorithm_build", "analysis_results", ["algorithm_build"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for table in ("analysis_results", "analysis_jobs"):
        op.drop_table(table)
    drop_delivery_tables(op)


def _instant(name: str) -> sa.Column:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.func.now(), nullable=False)
