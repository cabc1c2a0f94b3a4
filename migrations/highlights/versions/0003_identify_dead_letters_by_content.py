"""Identify a dead letter by its content as well as its coordinates."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # A topic that was deleted and created again has other records at the same coordinates.
    op.execute(
        """CREATE UNIQUE INDEX uq_dead_letters_record ON dead_letters
           (topic, partition, "offset", md5(headers::text), md5(value)) NULLS NOT DISTINCT"""
    )
    op.execute("DROP INDEX uq_dead_letters_coordinates")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # Fails as long as two dead letters have the same coordinates.
    op.execute(
        """CREATE UNIQUE INDEX uq_dead_letters_coordinates ON dead_letters (topic, partition, "offset")"""
    )
    op.execute("DROP INDEX uq_dead_letters_record")
