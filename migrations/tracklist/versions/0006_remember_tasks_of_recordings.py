"""Remember the task of each recording, and number its results."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "CREATE TABLE recording_tasks ("
        "media_file_id uuid CONSTRAINT pk_recording_tasks PRIMARY KEY, task jsonb NOT NULL)"
    )
    op.execute(
        """
        INSERT INTO recording_tasks (media_file_id, task)
        SELECT DISTINCT ON (media_file_id) media_file_id, task
        FROM tracklist_jobs WHERE kind = 'tracklist'
        ORDER BY media_file_id, id
        """
    )
    op.execute("ALTER TABLE recordings ADD result_version integer NOT NULL DEFAULT 0")
    op.execute("UPDATE recordings SET result_version = 1 WHERE completed_at IS NOT NULL")
    op.execute("ALTER TABLE tracklists ADD version integer NOT NULL DEFAULT 1")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("ALTER TABLE tracklists DROP version")
    op.execute("ALTER TABLE recordings DROP result_version")
    op.execute("DROP TABLE recording_tasks")
