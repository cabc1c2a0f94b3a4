"""Deletes expired rows, a batch at a time, so that no lock is held for long."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Interval, TextClause, bindparam, delete, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from phonograph_runtime import metrics
from phonograph_runtime.database import Database
from phonograph_runtime.dead_letters import DROPPED, resolve
from phonograph_runtime.errors import UnavailableError
from phonograph_runtime.jitter import jitter
from phonograph_runtime.settings import ServiceSettings
from phonograph_runtime.tables import SqlDeadLetter, SqlInbox, SqlOutbox

BATCH = 1000
PAUSE_S = 0.05
"""Pause between two batches: the service itself and vacuum come first."""
INTERVAL_S = 6 * 3600.0
INBOX, OUTBOX, DEAD_LETTERS = SqlInbox.__tablename__, SqlOutbox.__tablename__, SqlDeadLetter.__tablename__

logger = structlog.get_logger()


class Retention:
    """Deletes expired rows. Copies of a service may do it at the same time: they skip each other's rows."""

    def __init__(self, database: Database, settings: ServiceSettings) -> None:
        self._database = database
        self._settings = settings
        self._jobs: str | None = getattr(database.job_table, "__tablename__", None)

    async def run(self) -> None:
        """Delete expired rows every few hours until cancelled."""
        for table in filter(None, (INBOX, OUTBOX, DEAD_LETTERS, self._jobs)):
            metrics.RETENTION_DELETED.labels(table)
        while True:
            try:
                await self.sweep()
            except (UnavailableError, SQLAlchemyError, OSError) as error:
                logger.warning("retention interrupted", error=str(error))
            await asyncio.sleep(jitter(INTERVAL_S, 0.1))

    async def sweep(self) -> dict[str, int]:
        """Delete the rows that have expired; return the number of deleted rows by table."""
        removed = {
            INBOX: await self._delete_inbox(),
            OUTBOX: await self._delete_outbox(),
            DEAD_LETTERS: await self._delete_dead_letters(),
        }
        if self._jobs is not None:
            removed[self._jobs] = await self._delete_finished_jobs(self._jobs)
        if any(removed.values()):
            logger.info("expired rows deleted", **removed)
        return removed

    async def _delete_inbox(self) -> int:
        removed = 0
        while True:
            async with self._database.transaction() as transaction:
                parameters = {"keep": self._settings.keep_inbox, "most": BATCH}
                gone = len((await transaction.session.execute(_INBOX, parameters)).all())
            metrics.RETENTION_DELETED.labels(INBOX).inc(gone)
            removed += gone
            if gone < BATCH:
                return removed
            await asyncio.sleep(PAUSE_S)

    async def _delete_dead_letters(self) -> int:
        """Delete old dead letters; an unresolved one is dropped first, its record is still on its topic."""
        dead_letter, removed = SqlDeadLetter, 0
        old = (
            func.coalesce(dead_letter.resolved_at, dead_letter.parked_at)
            < func.now() - self._settings.keep_dead_letters
        )
        batch = (
            select(dead_letter.id, dead_letter.resolution)
            .where(old)
            .order_by(dead_letter.parked_at)
            .limit(BATCH)
        ).with_for_update(skip_locked=True)
        while True:
            async with self._database.transaction() as transaction:
                found = (await transaction.session.execute(batch)).all()
                unresolved = [row.id for row in found if row.resolution is None]
                await resolve(transaction, unresolved, DROPPED)
                await transaction.session.execute(
                    delete(dead_letter).where(dead_letter.id.in_([row.id for row in found]))
                )
            if unresolved:
                logger.warning("expired dead letters dropped", count=len(unresolved))
            metrics.RETENTION_DELETED.labels(DEAD_LETTERS).inc(len(found))
            removed += len(found)
            if len(found) < BATCH:
                return removed
            await asyncio.sleep(PAUSE_S)

    async def _delete_outbox(self) -> int:
        statement = _in_order(OUTBOX, "seq", ended="published_at")
        return await self._walk(OUTBOX, statement, self._settings.keep_outbox, -1)

    async def _delete_finished_jobs(self, table: str) -> int:
        async with self._database.transaction() as transaction:
            references = (await transaction.session.execute(_REFERENCES, {"table": table})).all()
        unused = [
            f"NOT EXISTS (SELECT FROM {child} AS child WHERE child.{column} = {table}.{key})"
            for child, column, key in references
        ]
        finished = "CASE WHEN status IN ('completed', 'failed') THEN completed_at END"
        statement = _in_order(table, "id", ended=finished, unless_kept=" AND ".join(["true", *unused]))
        return await self._walk(table, statement, self._settings.keep_jobs, UUID(int=0))

    async def _walk(self, table: str, statement: TextClause, keep: timedelta, place: Any) -> int:
        """Scan a table in the order in which its rows were created, up to a batch of recent ones."""
        removed, more = 0, True
        while more:
            async with self._database.transaction() as transaction:
                parameters = {"place": place, "keep": keep}
                gone, more, place = (await transaction.session.execute(statement, parameters)).one()
            metrics.RETENTION_DELETED.labels(table).inc(gone)
            removed += gone
            await asyncio.sleep(PAUSE_S if more else 0)
        return removed


def _in_order(table: str, key: str, *, ended: str, unless_kept: str = "true") -> TextClause:
    """Return the statement that deletes one batch of rows that ended long ago.

    It scans the primary key, which grows with time: an index on the time of the end would cost every event a
    write. A row cannot have ended before it was created, so the scan can stop at recently created rows.
    """
    statement = f"""
        WITH batch AS MATERIALIZED (
            SELECT {key}, created_at, {ended} < now() - :keep AND {unless_kept} AS old
            FROM {table} WHERE {key} > :place ORDER BY {key} LIMIT {BATCH}),
        locked AS (
            SELECT {key} FROM {table} WHERE {key} = ANY(ARRAY(SELECT {key} FROM batch WHERE old))
            FOR UPDATE SKIP LOCKED),
        gone AS (DELETE FROM {table} WHERE {key} = ANY(ARRAY(SELECT {key} FROM locked)) RETURNING 1)
        SELECT (SELECT count(*) FROM gone),
               count(*) = {BATCH} AND min(created_at) < now() - :keep,
               (SELECT {key} FROM batch ORDER BY {key} DESC LIMIT 1)
        FROM batch
    """  # noqa: S608  # names of our own tables
    return text(statement).bindparams(bindparam("keep", type_=Interval))


_INBOX = text("""
    DELETE FROM inbox WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM inbox WHERE received_at < now() - :keep
        ORDER BY received_at LIMIT :most FOR UPDATE SKIP LOCKED))
    RETURNING 1
""").bindparams(bindparam("keep", type_=Interval))
_REFERENCES = text("""
    SELECT CAST(link.conrelid::regclass AS text), quote_ident(child.attname), quote_ident(parent.attname)
    FROM pg_constraint AS link
    JOIN pg_attribute AS child ON child.attrelid = link.conrelid AND child.attnum = link.conkey[1]
    JOIN pg_attribute AS parent ON parent.attrelid = link.confrelid AND parent.attnum = link.confkey[1]
    WHERE link.contype = 'f' AND link.confrelid = CAST(CAST(:table AS text) AS regclass)
""")
