"""Make the transcripts searchable that were stored before the search existed."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # It locks no table, so that services go on; results that they add meanwhile are indexed by the trigger.
    op.execute(
        "SELECT count(index_segments(id, segments, content ->> 'language')) FROM transcription_results"
        " WHERE segments IS NOT NULL"
    )


def downgrade() -> None:
    pass
