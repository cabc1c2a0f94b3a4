"""The checkout of a command, the addresses of the running servers, and one connection to each.

A command calls `run` once, with a coroutine that opens each connection once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from phonograph_cli.console import report_errors

if TYPE_CHECKING:
    from neo4j import AsyncDriver

    from phonograph_cli.kafka import KafkaClient
    from phonograph_cli.project import Project
    from phonograph_cli.recordings import RecordingReader
    from phonograph_devstack import Addresses

T = TypeVar("T")


def project(report: Callable[[str], None] = lambda _line: None) -> "Project":
    """Return the checkout that this command works on."""
    from phonograph_cli.project import Project

    return Project.here(report=report)


def addresses() -> "Addresses":
    """Return the addresses of the running servers; end the command if the stack is not up."""
    with report_errors():
        return project().stack.addresses()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the work of a command; a failure ends the command with a sentence and an exit code."""
    from phonograph_runtime.logs import log_to_standard_error

    log_to_standard_error()
    with report_errors():
        return asyncio.run(work)


def connect_kafka() -> AbstractAsyncContextManager["KafkaClient"]:
    """Connect to the Kafka of the running stack."""
    from phonograph_cli import kafka

    return kafka.connect(addresses().kafka_bootstrap_servers)


def connect_graph() -> AbstractAsyncContextManager["AsyncDriver"]:
    """Connect to the Neo4j of the running stack."""
    from phonograph_cli import graph

    return graph.connect(addresses())


@asynccontextmanager
async def open_recordings() -> AsyncIterator["RecordingReader"]:
    """Open the graph and the object store of the running stack for reading."""
    from phonograph_cli.recordings import RecordingReader

    async with connect_graph() as driver:
        yield RecordingReader(driver, project().objects)
