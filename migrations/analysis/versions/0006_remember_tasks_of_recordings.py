"""Remember the task of each recording, so that it can be run again."""

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
        FROM analysis_jobs WHERE kind = 'analysis'
        ORDER BY media_file_id, id
        """
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE recording_tasks")
