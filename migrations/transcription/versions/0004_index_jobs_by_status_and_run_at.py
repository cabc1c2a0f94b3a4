"""Index the jobs that are not completed by status and start time."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # The gauge of a long queue is the planner's estimate, which has to follow a table of millions too.
    op.execute("ALTER TABLE transcription_jobs SET (autovacuum_analyze_scale_factor = 0.01)")
    _replace(
        "ix_transcription_jobs_status", by="ix_transcription_jobs_status_run_at", columns="status, run_at"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE transcription_jobs RESET (autovacuum_analyze_scale_factor)")
    _replace("ix_transcription_jobs_status_run_at", by="ix_transcription_jobs_status", columns="status")


def _replace(old: str, *, by: str, columns: str) -> None:
    # A concurrent statement blocks no running service, however long it waits for older transactions, so a
    # lock timeout would only make it fail. An interrupted build leaves an invalid index: drop it first.
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {by}")
        op.execute(
            f"CREATE INDEX CONCURRENTLY {by} ON transcription_jobs ({columns}) WHERE status <> 'completed'"
        )
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {old}")
