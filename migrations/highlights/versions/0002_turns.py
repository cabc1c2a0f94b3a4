"""Owners take turns; dead letters say what became of them."""

from alembic import op

from phonograph_runtime.migrations import (
    forget_resolutions,
    let_owners_take_turns,
    resolve_dead_letters,
    take_turns_back,
)

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    resolve_dead_letters(op)
    let_owners_take_turns(op, "highlights_jobs")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    take_turns_back(op, "highlights_jobs")
    forget_resolutions(op)
