"""Add what became of a dead letter."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE dead_letters RENAME COLUMN replayed_at TO resolved_at")
    op.execute("ALTER TABLE dead_letters ADD COLUMN resolution varchar(20)")
    op.execute("UPDATE dead_letters SET resolution = 'replayed' WHERE resolved_at IS NOT NULL")
    op.execute(
        "ALTER TABLE dead_letters ADD CONSTRAINT ck_dead_letters_resolution "
        "CHECK (resolution IN ('replayed', 'dropped'))"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE dead_letters DROP COLUMN resolution")
    op.execute("ALTER TABLE dead_letters RENAME COLUMN resolved_at TO replayed_at")
