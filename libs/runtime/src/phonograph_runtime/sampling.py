"""Gauges that are read from PostgreSQL: outbox, dead letters, jobs, and the health of the database."""

from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from phonograph_runtime import metrics
from phonograph_runtime.database import Database
from phonograph_runtime.jobs import JobQueue

_OUTBOX = text("""
    SELECT count(*), CAST(coalesce(extract(epoch FROM now() - min(created_at)), 0) AS float)
    FROM outbox WHERE published_at IS NULL
""")
_DEAD_LETTERS = text("""
    SELECT topic, reason, count(*), CAST(extract(epoch FROM now() - min(parked_at)) AS float)
    FROM dead_letters WHERE resolution IS NULL GROUP BY topic, reason
""")
_OLDEST_TRANSACTION = text("""
    SELECT CAST(coalesce(max(extract(epoch FROM now() - xact_start)), 0) AS float)
    FROM pg_stat_activity WHERE usename = current_user
""")
_DEAD_TUPLES = text("SELECT relname, n_dead_tup FROM pg_stat_user_tables WHERE schemaname = current_schema()")

SHARE = 0.05
"""Largest part of the time that sampling may take.

Outbox and dead letters are counted one by one, and every index still holds the rows that VACUUM could not
remove: after a long outage, or under a long transaction, a sample can take seconds.
"""


def pause_s(took_s: float, interval_s: float) -> float:
    """Return how long to wait after a sample before the next one."""
    return max(interval_s, took_s / SHARE)


async def sample(database: Database, queue: JobQueue | None) -> None:
    """Set every gauge once. Raises as `Database.transaction`."""
    async with database.transaction() as transaction:
        session = transaction.session
        pending, oldest_s = (await session.execute(_OUTBOX)).one()
        dead_letters = (await session.execute(_DEAD_LETTERS)).all()
        transaction_s = await session.scalar(_OLDEST_TRANSACTION)
        dead_tuples = (await session.execute(_DEAD_TUPLES)).all()
    metrics.OUTBOX_PENDING.set(pending)
    metrics.OUTBOX_OLDEST_AGE_SECONDS.set(oldest_s)
    metrics.DLQ_MESSAGES.clear()
    for topic, reason, count, _ in dead_letters:
        metrics.DLQ_MESSAGES.labels(topic, reason).set(count)
    metrics.DLQ_OLDEST_AGE_SECONDS.set(max((age_s for *_, age_s in dead_letters), default=0.0))
    metrics.DATABASE_OLDEST_TRANSACTION_SECONDS.set(transaction_s or 0.0)
    for table, rows in dead_tuples:
        metrics.DATABASE_DEAD_TUPLES.labels(table).set(rows)
    pool = database.engine.pool
    if isinstance(pool, QueuePool):
        metrics.DATABASE_CONNECTIONS.labels("in_use").set(pool.checkedout())
        metrics.DATABASE_CONNECTIONS.labels("idle").set(pool.checkedin())
    if queue is not None:
        counts, age_s = await queue.counts()
        for status, jobs in counts.items():
            metrics.JOBS.labels(status).set(jobs)
        metrics.JOB_OLDEST_QUEUED_AGE_SECONDS.set(age_s)
