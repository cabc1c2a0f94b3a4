"""Dead letters say what became of them."""

from alembic import op

from phonograph_runtime.migrations import forget_resolutions, resolve_dead_letters

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    resolve_dead_letters(op)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    forget_resolutions(op)
