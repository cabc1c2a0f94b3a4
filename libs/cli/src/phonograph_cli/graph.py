"""The connection of one command to the graph."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phonograph_runtime.errors import AccessRefusedError, UnavailableError
from phonograph_runtime.imports import import_alone
from phonograph_runtime.neo4j_access import describe_refusal, driver_options

if TYPE_CHECKING:
    from neo4j import AsyncDriver

    from phonograph_devstack import Addresses

CONNECTION_TIMEOUT_S = 10


@asynccontextmanager
async def connect(addresses: "Addresses", ca_file: Path | None = None) -> AsyncIterator["AsyncDriver"]:
    """Connect to the graph until the end of the block.

    Args:
        addresses: Address, user and password.
        ca_file: Certificate authority of Neo4j as PEM; the authorities of the system if None.

    Raises:
        AccessRefusedError: Neo4j refuses the login, or its certificate cannot be verified.
        UnavailableError: Neo4j cannot be reached.
    """
    import_alone("neo4j", without=("numpy", "pandas", "pyarrow"))

    from neo4j import AsyncGraphDatabase
    from neo4j.exceptions import DriverError, Neo4jError

    login = (addresses.neo4j_user, addresses.neo4j_password)
    uri, options = driver_options(addresses.neo4j_uri, ca_file)
    try:
        async with AsyncGraphDatabase.driver(
            uri, auth=login, connection_timeout=CONNECTION_TIMEOUT_S, **options
        ) as driver:
            yield driver
    except (DriverError, Neo4jError) as error:
        refusal = describe_refusal(error)
        if refusal is not None:
            raise AccessRefusedError(f"Neo4j at {addresses.neo4j_uri} {refusal}") from error
        raise UnavailableError(str(error), server="Neo4j") from error
