"""Remember the inputs of each recording, so that it can be run again."""

from alembic import op

revision = "0005"
down_revision = "0004"
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
        FROM highlights_jobs WHERE kind = 'silence'
        ORDER BY media_file_id, id
        """
    )
    op.execute(
        """
        INSERT INTO recording_tasks (media_file_id, task)
        SELECT DISTINCT ON (media_file_id) media_file_id, jsonb_build_object(
            'media', task -> 'media',
            'transcript', jsonb_build_object(
                'result_id', task -> 'result_id',
                'version', task -> 'version',
                'uri', task -> 'transcript_uri'))
        FROM highlights_jobs WHERE kind = 'segments'
        ORDER BY media_file_id, CAST(task ->> 'version' AS int) DESC
        ON CONFLICT (media_file_id) DO UPDATE SET task = excluded.task
        """
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TABLE recording_tasks")
