"""Name the reference text from which the accuracy of a transcript was computed."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE transcription_results ADD COLUMN accuracy_source varchar(300)")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE transcription_results DROP COLUMN accuracy_source")
