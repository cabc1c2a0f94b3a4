"""Index the proposed file names without case, so that no two files of a folder get one name."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_INDEX = "ix_rename_proposals_proposed_filename"


def upgrade() -> None:
    # A concurrent statement blocks no running service, however long it waits for older transactions, so a
    # lock timeout would only make it fail. An interrupted build leaves an invalid index: drop it first.
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_INDEX}")
        op.execute(f"CREATE INDEX CONCURRENTLY {_INDEX} ON rename_proposals (lower(proposed_filename))")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_INDEX}")
