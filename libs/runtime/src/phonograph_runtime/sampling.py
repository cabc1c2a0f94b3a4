"""Gauges read from PostgreSQL: what waits, what was parked, how the database itself does."""

from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from phonograph_events import JobStatus
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
"""Of the time that sampling may take: a table can be so large that reading it is a burden."""


def pause_s(took_s: float, interval_s: float) -> float:
    """How long to wait after a sample before the next one."""
    return max(interval_s, took_s / SHARE)


async def sample(database: Database, queue: JobQueue | None) -> None:
    """Read them all once. Raises as `Database.transaction`."""
    async with database.transaction() as transaction:
        session = transaction.session
        pending, oldest_s = (await session.execute(_OUTBOX)).one()
        letters = (await session.execute(_DEAD_LETTERS)).all()
        transaction_s = await session.scalar(_OLDEST_TRANSACTION)
        dead = (await session.execute(_DEAD_TUPLES)).all()
    metrics.OUTBOX_PENDING.set(pending)
    metrics.OUTBOX_OLDEST_AGE_SECONDS.set(oldest_s)
    metrics.DLQ_MESSAGES.clear()
    for topic, reason, count, _ in letters:
        metrics.DLQ_MESSAGES.labels(topic, reason).set(count)
    metrics.DLQ_OLDEST_AGE_SECONDS.set(max((age_s for *_, age_s in letters), default=0.0))
    metrics.DATABASE_OLDEST_TRANSACTION_SECONDS.set(transaction_s or 0.0)
    for table, rows in dead:
        metrics.DATABASE_DEAD_TUPLES.labels(table).set(rows)
    pool = database.engine.pool
    if isinstance(pool, QueuePool):
        metrics.DATABASE_CONNECTIONS.labels("in_use").set(pool.checkedout())
        metrics.DATABASE_CONNECTIONS.labels("idle").set(pool.checkedin())
    if queue is not None:
        counts, age_s = await queue.counts()
        for status in set(JobStatus) - {JobStatus.COMPLETED}:
            metrics.JOBS.labels(status.value).set(counts.get(status.value, 0))
        metrics.JOB_OLDEST_QUEUED_AGE_SECONDS.set(age_s)
