"""Runs the Alembic revisions of a service."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from phonograph_runtime.errors import PermanentError
from phonograph_runtime.postgres_access import connector, pool_url
from phonograph_runtime.revisions import refuse_too_new
from phonograph_runtime.tables import DeliveryBase


def upgrade(url: str, folder: Path, revision: str = "head") -> None:
    """Bring a service's schema up to a revision.

    Args:
        url: `postgresql+asyncpg://…` of the service's own role.
        folder: The service's folder under `migrations/`.
        revision: The revision to stop at.

    Raises:
        StaleSchemaError: The database is at a revision that this code does not know.
        PermanentError: There is no such revision.
    """
    _run(url, folder, lambda config: command.upgrade(config, revision))


def downgrade(url: str, folder: Path, revision: str) -> None:
    """Take a service's schema back to a revision.

    Args:
        url: As of `upgrade`.
        folder: As of `upgrade`.
        revision: The revision to stop at; `base` leaves an empty schema.

    Raises:
        StaleSchemaError: As `upgrade`.
        PermanentError: As `upgrade`.
    """
    _run(url, folder, lambda config: command.downgrade(config, revision))


def make_revision(url: str, folder: Path, message: str) -> None:
    """Write a new revision from the difference between the models and the database.

    Args:
        url: As of `upgrade`.
        folder: As of `upgrade`.
        message: What the revision does; becomes its docstring and part of its file name.

    Raises:
        StaleSchemaError: As `upgrade`.
        PermanentError: The database is not at the newest revision.
    """
    _run(url, folder, lambda config: command.revision(config, message=message, autogenerate=True))


def run_environment(metadata: list[MetaData]) -> None:
    """Run the revisions on the connection that `_run` opened; the body of every `env.py`."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=[*metadata, DeliveryBase.metadata],
        compare_type=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _run(url: str, folder: Path, action: Callable[[Config], object]) -> None:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")

    def migrate(connection: Connection) -> None:
        config.attributes["connection"] = connection
        refuse_too_new(MigrationContext.configure(connection).get_current_revision(), folder)
        # The query above has begun a transaction. Alembic would run every revision inside it, and an
        # index cannot be built concurrently in one.
        connection.rollback()
        try:
            action(config)
        except CommandError as error:
            raise PermanentError(f"{folder.name}: {error}.", reason="bad_revision") from error

    async def connect() -> None:
        engine = create_async_engine(pool_url(url), async_creator=connector(url), poolclass=NullPool)
        try:
            async with engine.connect() as connection:
                await connection.run_sync(migrate)
                await connection.commit()
        finally:
            await engine.dispose()

    asyncio.run(connect())
