"""Add the columns of the fair job queue, and what became of a dead letter."""

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
    op.execute(
        "ALTER TABLE transcription_jobs ADD COLUMN owner varchar(200) NOT NULL DEFAULT '', "
        "ADD COLUMN turn bigint NOT NULL DEFAULT 0"
    )
    op.execute("DROP INDEX ix_transcription_jobs_claim, ix_transcription_jobs_status")
    op.execute(
        "CREATE INDEX ix_transcription_jobs_claim ON transcription_jobs (priority DESC, turn, id) "
        "WHERE status IN ('pending', 'retrying', 'processing')"
    )
    op.execute(
        "CREATE INDEX ix_transcription_jobs_turn ON transcription_jobs (owner, priority, turn) "
        "WHERE status IN ('pending', 'retrying', 'processing')"
    )
    op.execute(
        "CREATE INDEX ix_transcription_jobs_status ON transcription_jobs (status) WHERE status <> 'completed'"
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "DROP INDEX ix_transcription_jobs_claim, ix_transcription_jobs_turn, ix_transcription_jobs_status"
    )
    op.execute("ALTER TABLE transcription_jobs DROP COLUMN owner, DROP COLUMN turn")
    op.execute(
        "CREATE INDEX ix_transcription_jobs_claim ON transcription_jobs (priority DESC, run_at, id) "
        "WHERE status IN ('pending', 'retrying', 'processing')"
    )
    op.execute("CREATE INDEX ix_transcription_jobs_status ON transcription_jobs (status)")
    op.execute("ALTER TABLE dead_letters DROP COLUMN resolution")
    op.execute("ALTER TABLE dead_letters RENAME COLUMN resolved_at TO replayed_at")
