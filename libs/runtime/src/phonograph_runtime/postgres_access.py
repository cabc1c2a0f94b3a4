"""Connections to PostgreSQL from its URLs, whose parameters for TLS only the driver itself understands."""

import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from asyncpg.exceptions import ClientConfigurationError

from phonograph_runtime.errors import AccessRefusedError

CONNECT_TIMEOUT_S = 10


def driver_url(url: str) -> str:
    """Return the URL as asyncpg reads it, with `sslmode`, `sslrootcert`, `sslcert` and `sslkey`."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


def pool_url(url: str) -> str:
    """Return the URL for SQLAlchemy, which would refuse the parameters; use it with `connector`."""
    return url.partition("?")[0]


def connector(url: str, **options: Any) -> "Callable[[], Awaitable[asyncpg.Connection[asyncpg.Record]]]":
    """Return a function that connects, as `create_async_engine` takes it.

    Args:
        url: URL of the database.
        options: Options of `asyncpg.connect`.
    """

    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(driver_url(url), timeout=CONNECT_TIMEOUT_S, **options)

    return connect


async def connect_once(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Connect for a few statements.

    Raises:
        AccessRefusedError: If the login or a certificate is refused; the message says what to correct.
        OSError: If PostgreSQL does not answer.
    """
    parts = urlsplit(url)
    place = f"{parts.hostname}:{parts.port or 5432}"
    try:
        return await connector(url)()
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise AccessRefusedError(
            f"PostgreSQL at {place} refuses the login of {parts.username}: {error}. Check its URL."
        ) from error
    except ssl.SSLError as error:
        raise AccessRefusedError(
            f"PostgreSQL at {place} and this machine agree on no TLS: {error}. Check sslmode and sslrootcert."
        ) from error
    except ClientConfigurationError as error:
        raise AccessRefusedError(f"The URL of PostgreSQL at {place} is wrong: {error}.") from error
