"""Add sections of tempo and key, bars, tuning, range and peak of the loudness, onsets, energy, spectrum."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLE = "analysis_results"


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in (
        sa.Column("tempo_needs_review", sa.Boolean),
        sa.Column("tempo_sections", postgresql.JSONB, server_default="[]", nullable=False),
        sa.Column("beats_per_bar", sa.Integer),
        sa.Column("key_sections", postgresql.JSONB, server_default="[]", nullable=False),
        sa.Column("camelot", sa.String(3)),
        sa.Column("tuning_hz", sa.Float),
        sa.Column("loudness_range_lu", sa.Float),
        sa.Column("true_peak_dbtp", sa.Float),
        sa.Column("onset_rate", sa.Float),
        sa.Column("energy", sa.Float),
        sa.Column("spectrum", postgresql.JSONB),
    ):
        op.add_column(TABLE, column)
    op.create_check_constraint("ck_analysis_results_energy", TABLE, "energy BETWEEN 0 AND 1")
    op.create_check_constraint("ck_analysis_results_beats_per_bar", TABLE, "beats_per_bar IN (3, 4)")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for column in (
        "tempo_needs_review",
        "tempo_sections",
        "beats_per_bar",
        "key_sections",
        "camelot",
        "tuning_hz",
        "loudness_range_lu",
        "true_peak_dbtp",
        "onset_rate",
        "energy",
        "spectrum",
    ):
        op.drop_column(TABLE, column)
