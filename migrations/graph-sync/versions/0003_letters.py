"""Dead letters are told apart by what is in them too, not by their place alone."""

from alembic import op

from phonograph_runtime.migrations import tell_letters_by_content, tell_letters_by_place

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    tell_letters_by_content(op)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    tell_letters_by_place(op)
