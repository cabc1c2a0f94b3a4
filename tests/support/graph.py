"""The graph for tests: settings of graph-sync, events as its consumer receives them, the graph as text."""

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
    """Return the settings of graph-sync on the stack.

    Args:
        stack: the running servers.
        folder: holds the object store.
        **changes: settings that replace the usual ones.
    """
    connection = {
        "neo4j_uri": stack.addresses.neo4j_uri,
        "neo4j_user": stack.addresses.neo4j_user,
        "neo4j_password": stack.addresses.neo4j_password,
    }
    return Settings(**{**stack.settings(Service.GRAPH_SYNC, folder), **connection, **changes})


@asynccontextmanager
async def empty_graph(stack: Stack) -> AsyncIterator[AsyncDriver]:
    """Yield a driver of the graph, which is emptied before and after."""
    addresses = stack.addresses
    auth = (addresses.neo4j_user, addresses.neo4j_password)
    async with AsyncGraphDatabase.driver(addresses.neo4j_uri, auth=auth) as driver:
        await wipe(driver)
        yield driver
        await wipe(driver)


async def wipe(driver: AsyncDriver) -> None:
    """Delete every node, including the stored offsets."""
    async with driver.session() as session:
        await (await session.run(WIPE)).consume()


def received(envelope: Envelope, offset: int, partition: int = 0) -> ConsumedRecord:
    """Return an event as the consumer receives it from Kafka."""
    return ConsumedRecord(delivered(envelope.to_record(), offset, partition=partition), envelope)


def batches(events: Iterable[Envelope], *, size: int, first: int = 0) -> list[list[ConsumedRecord]]:
    """Return the events in the same order, in batches, at offsets that count up from `first`."""
    records = [received(event, first + number) for number, event in enumerate(events)]
    return [records[start : start + size] for start in range(0, len(records), size)]


async def dump(driver: AsyncDriver) -> list[str]:
    """Return the whole graph as sorted lines: nodes with labels and properties, edges with both ends."""
    nodes = await driver.execute_query(
        "MATCH (n) WHERE NOT n:KafkaOffset AND NOT n:GraphState"
        " RETURN elementId(n) AS id, labels(n) AS l, properties(n) AS p"
    )
    edges = await driver.execute_query(
        "MATCH (a)-[e]->(b) RETURN elementId(a) AS a, type(e) AS t, properties(e) AS p, elementId(b) AS b"
    )
    node_lines = {row["id"]: _format(row["l"], row["p"]) for row in nodes.records}
    edge_lines = [
        f"{node_lines[row['a']]} -{_format(row['t'], row['p'])}-> {node_lines[row['b']]}"
        for row in edges.records
    ]
    return sorted([*node_lines.values(), *edge_lines])


def _format(label: Any, properties: dict[str, Any]) -> str:
    return f"{label} {json.dumps(properties, sort_keys=True, default=str)}"


async def wait_until_mirrored(stack: Stack, topics: Sequence[str], *, timeout_s: float = 60) -> None:
    """Wait until graph-sync has committed every event that is on Kafka now.

    Raises:
        TimeoutError: it has not within `timeout_s`.
    """
    servers = stack.addresses.kafka_bootstrap_servers
    async with AIOKafkaConsumer(*topics, bootstrap_servers=servers) as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                committed = await admin.list_consumer_group_offsets(CONSUMER)
                if all(
                    partition in committed and committed[partition].offset >= end
                    for partition, end in ends.items()
                    if end
                ):
                    return
                await asyncio.sleep(0.1)
    finally:
        await admin.close()
