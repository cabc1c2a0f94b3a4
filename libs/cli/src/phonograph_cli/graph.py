"""The connection of one command to the graph."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from phonograph_runtime.errors import UnavailableError
from phonograph_runtime.imports import import_alone

if TYPE_CHECKING:
    from neo4j import AsyncDriver

    from phonograph_devstack import Addresses

CONNECTION_TIMEOUT_S = 10


@asynccontextmanager
async def connect(addresses: "Addresses") -> AsyncIterator["AsyncDriver"]:
    """Connect to the graph until the end of the block.

    Raises:
        UnavailableError: Neo4j cannot be reached.
    """
    import_alone("neo4j", without=("numpy", "pandas", "pyarrow"))

    from neo4j import AsyncGraphDatabase
    from neo4j.exceptions import DriverError, Neo4jError

    login = (addresses.neo4j_user, addresses.neo4j_password)
    try:
        async with AsyncGraphDatabase.driver(
            addresses.neo4j_uri, auth=login, connection_timeout=CONNECTION_TIMEOUT_S
        ) as driver:
            yield driver
    except (DriverError, Neo4jError) as error:
        raise UnavailableError(str(error), server="Neo4j") from error
