"""Keep the state of V2 jobs by that of the jobs that do their work, and refuse invalid transitions."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("""
        CREATE FUNCTION follow_enhancement() RETURNS trigger
        LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            INSERT INTO v2_processing_jobs AS job
                (id, transcript_id, job_type, status, parameters, progress, error_message, completed_at)
            VALUES (
                NEW.id, (NEW.task ->> 'result_id')::uuid, 'enhancement',
                CASE WHEN NEW.status IN ('pending', 'retrying') THEN 'pending'
                     WHEN NEW.status = 'processing' THEN 'running'
                     WHEN NEW.status = 'failed' AND NEW.error_reason = 'cancelled' THEN 'cancelled'
                     ELSE NEW.status END,
                NEW.task -> 'rules', NEW.progress, NEW.error_message, NEW.completed_at)
            ON CONFLICT (id) DO UPDATE SET
                status = EXCLUDED.status, progress = EXCLUDED.progress,
                error_message = EXCLUDED.error_message, completed_at = EXCLUDED.completed_at,
                updated_at = now()
            WHERE (job.status, job.progress, job.error_message)
                IS DISTINCT FROM (EXCLUDED.status, EXCLUDED.progress, EXCLUDED.error_message);
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER follow_enhancement AFTER INSERT OR UPDATE ON transcription_jobs
        FOR EACH ROW WHEN (NEW.kind = 'enhance') EXECUTE FUNCTION follow_enhancement()
    """)
    op.execute("""
        CREATE FUNCTION check_v2_transition() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (OLD.status, NEW.status) NOT IN (
                ('pending', 'running'), ('pending', 'failed'), ('pending', 'cancelled'),
                ('running', 'pending'), ('running', 'completed'), ('running', 'failed'),
                ('running', 'cancelled'), ('failed', 'pending'), ('cancelled', 'pending'))
            THEN
                RAISE check_violation USING MESSAGE =
                    format('A V2 job that is %s cannot become %s.', OLD.status, NEW.status);
            END IF;
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER check_v2_transition BEFORE UPDATE OF status ON v2_processing_jobs
        FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION check_v2_transition()
    """)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute("DROP TRIGGER check_v2_transition ON v2_processing_jobs")
    op.execute("DROP TRIGGER follow_enhancement ON transcription_jobs")
    op.execute("DROP FUNCTION check_v2_transition(), follow_enhancement()")
