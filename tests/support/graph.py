"""The graph for tests: the service's settings, events as it takes them from Kafka, the graph as lines."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from neo4j import AsyncDriver, AsyncGraphDatabase
from tests.support.scratch import delivered
from tests.support.stack import Stack

from phonograph_events import Envelope, Service
from phonograph_graph_sync.config import Settings
from phonograph_graph_sync.constants import CONSUMER
from phonograph_runtime.records import ConsumedRecord

WIPE = "MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 1000 ROWS"


def settings(stack: Stack, folder: Path, **changes: Any) -> Settings:
    """Settings of the service on the stack."""
    told = {
        "neo4j_uri": stack.addresses.neo4j_uri,
        "neo4j_user": stack.addresses.neo4j_user,
        "neo4j_password": stack.addresses.neo4j_password,
    }
    return Settings(**{**stack.settings(Service.GRAPH_SYNC, folder), **told, **changes})


@asynccontextmanager
async def empty_graph(stack: Stack) -> AsyncIterator[AsyncDriver]:
    """Connections to the graph, which is empty before and after."""
    addresses = stack.addresses
    auth = (addresses.neo4j_user, addresses.neo4j_password)
    async with AsyncGraphDatabase.driver(addresses.neo4j_uri, auth=auth) as driver:
        await wipe(driver)
        yield driver
        await wipe(driver)


async def wipe(driver: AsyncDriver) -> None:
    """Remove everything, the offsets too."""
    async with driver.session() as session:
        await (await session.run(WIPE)).consume()


def received(envelope: Envelope, offset: int, partition: int = 0) -> ConsumedRecord:
    """An event as it comes from Kafka."""
    return ConsumedRecord(delivered(envelope.to_record(), offset, partition=partition), envelope)


def batches(events: Iterable[Envelope], *, size: int, first: int = 0) -> list[list[ConsumedRecord]]:
    """Events in the order in which they are given, at offsets that count up from `first`."""
    every = [received(event, first + number) for number, event in enumerate(events)]
    return [every[at : at + size] for at in range(0, len(every), size)]


async def dump(driver: AsyncDriver) -> list[str]:
    """The whole graph as sorted lines: labels, properties, and edges with the keys of both ends."""
    nodes = await driver.execute_query(
        "MATCH (n) WHERE NOT n:KafkaOffset AND NOT n:GraphState"
        " RETURN elementId(n) AS id, labels(n) AS l, properties(n) AS p"
    )
    edges = await driver.execute_query(
        "MATCH (a)-[e]->(b) RETURN elementId(a) AS a, type(e) AS t, properties(e) AS p, elementId(b) AS b"
    )
    lines = {row["id"]: _line(row["l"], row["p"]) for row in nodes.records}
    between = [f"{lines[row['a']]} -{_line(row['t'], row['p'])}-> {lines[row['b']]}" for row in edges.records]
    return sorted([*lines.values(), *between])


def _line(label: Any, properties: dict[str, Any]) -> str:
    return f"{label} {json.dumps(properties, sort_keys=True, default=str)}"


async def until_mirrored(stack: Stack, topics: Sequence[str], *, timeout_s: float = 60) -> None:
    """Wait until the service has committed every event that is on Kafka now."""
    servers = stack.addresses.kafka_bootstrap_servers
    async with AIOKafkaConsumer(*topics, bootstrap_servers=servers) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                taken = await admin.list_consumer_group_offsets(CONSUMER)
                if all(place in taken and taken[place].offset >= end for place, end in ends.items() if end):
                    return
                await asyncio.sleep(0.1)
    finally:
        await admin.close()
