"""Connections that PostgreSQL refuses: the service waits, whatever the reason."""

import asyncio
import struct

import pytest
from tests.support.scratch import ScratchSettings

from phonograph_runtime.database import Database
from phonograph_runtime.errors import UnavailableError


@pytest.mark.parametrize(
    ("sqlstate", "message"),
    [
        ("57P03", "the database system is starting up"),
        ("57P03", "the database system is in recovery mode"),
        ("53300", "sorry, too many clients already"),
        ("28P01", "password authentication failed"),
    ],
)
async def test_refused_connection_means_that_postgresql_is_unavailable(sqlstate: str, message: str) -> None:
    """A server refuses connections while it starts after a crash, in which it may stay for minutes."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        fields = f"SFATAL\0VFATAL\0C{sqlstate}\0M{message}\0\0".encode()
        writer.write(b"E" + struct.pack(">i", 4 + len(fields)) + fields)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    async with server:
        settings = ScratchSettings(
            database_url=f"postgresql+asyncpg://phonograph@127.0.0.1:{port}/scratch?sslmode=disable",
            kafka_bootstrap_servers="127.0.0.1:1",
            object_store_url="file:///nowhere",
        )
        database = Database(settings, source="scratch")
        with pytest.raises(UnavailableError, match=message) as raised:
            async with database.transaction():
                pass
        assert raised.value.server == "PostgreSQL"
        await database.aclose()
