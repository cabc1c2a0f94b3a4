"""Neo4j fails, and events arrive in any order and any number of times: the graph is always the same.

The expected graph is the one that the events produce from an empty graph in the order of their publication.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from neo4j import AsyncDriver
from sqlalchemy import text
from tests.support import graph
from tests.support.histories import generate_events
from tests.support.proxy import BoltCommits, run_proxy
from tests.support.stack import Stack, running, servers

from phonograph_events import Envelope
from phonograph_graph_sync import metrics as graph_metrics
from phonograph_graph_sync.commands import rebuild
from phonograph_graph_sync.constants import CONSUMER
from phonograph_graph_sync.factory import ProcessContext
from phonograph_graph_sync.handlers.events import GraphSink
from phonograph_graph_sync.main import create_app
from phonograph_runtime import metrics
from phonograph_runtime.errors import UnavailableError
from phonograph_runtime.records import ConsumedRecord

SEED = 7
FILES = [pytest.param(15, id="15 files"), pytest.param(250, id="250 files", marks=pytest.mark.chaos)]
TIMEOUT_S = 600
DEADLOCK = "Neo.TransientError.Transaction.DeadlockDetected"

Events = list[Envelope]


@pytest.fixture
async def driver(stack: Stack) -> AsyncIterator[AsyncDriver]:
    async with graph.empty_graph(stack) as opened:
        yield opened


@pytest.fixture
async def context(stack: Stack, driver: AsyncDriver, tmp_path: Path) -> AsyncIterator[ProcessContext]:
    """Resources of one process of the service."""
    opened = ProcessContext.create(graph.settings(stack, tmp_path))
    await opened.clear_offsets()
    yield opened
    await opened.clear_offsets()
    await opened.aclose()


@pytest.fixture(scope="module")
def expected_graphs() -> dict[int, list[str]]:
    """Cache of the expected graphs by number of files."""
    return {}


@pytest.fixture
async def expected(
    files: int, expected_graphs: dict[int, list[str]], context: ProcessContext, driver: AsyncDriver
) -> list[str]:
    """The expected graph; the graph is empty afterwards."""
    if files not in expected_graphs:
        await deliver(GraphSink(context), graph.batches(generate_events(SEED, files), size=500))
        expected_graphs[files] = await graph.dump(driver)
        await reset(context, driver)
    return expected_graphs[files]


async def reset(context: ProcessContext, driver: AsyncDriver) -> None:
    """Empty the graph and delete the positions in PostgreSQL."""
    await graph.wipe(driver)
    await context.clear_offsets()


async def deliver(sink: GraphSink, batches: Sequence[Sequence[ConsumedRecord]]) -> int:
    """Deliver batches as the consumer does, again while Neo4j is unavailable; return the repeated calls."""
    repeated = 0
    for batch in batches:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                try:
                    await sink.apply(batch)
                except UnavailableError:
                    repeated += 1
                    await asyncio.sleep(0.05)
                else:
                    break
    return repeated


def consumed(result: str) -> int:
    """Return the number of events counted so far with a result."""
    (metric,) = metrics.EVENTS_CONSUMED.collect()
    totals = [each for each in metric.samples if each.name.endswith("_total")]
    return int(sum(each.value for each in totals if each.labels["result"] == result))


def retried(code: str) -> int:
    return int(graph_metrics.TX_RETRIES.labels(code)._value.get())


def retry_codes() -> set[str]:
    """Return every error code for which a transaction has been retried so far."""
    (metric,) = graph_metrics.TX_RETRIES.collect()
    return {each.labels["code"] for each in metric.samples}


def twice(events: Events, chance: random.Random) -> Events:
    """Return each event twice, the second time soon after the first or much later."""
    ranked = [(at + late, event) for at, event in enumerate(events) for late in (0, chance.choice((1, 400)))]
    return [event for _, event in sorted(ranked, key=lambda entry: entry[0])]


def deletions_first(events: Events, _: random.Random) -> Events:
    return sorted(events, key=lambda event: event.data.TOPIC not in {"media-deleted", "media-moved"})


def topic_by_topic(events: Events, chance: random.Random) -> Events:
    topics = sorted({event.data.TOPIC for event in events})
    chance.shuffle(topics)
    return sorted(events, key=lambda event: topics.index(event.data.TOPIC))


ORDERS: dict[str, Callable[[Events, random.Random], Events]] = {
    "twice": twice,
    "reversed": lambda events, _: events[::-1],
    "shuffled": lambda events, chance: chance.sample(events, len(events)),
    "deletions_first": deletions_first,
    "topic_by_topic": topic_by_topic,
    "replayed": lambda events, _: [*events, *events],
}


@pytest.mark.parametrize("files", FILES)
@pytest.mark.parametrize("order", ORDERS)
async def test_07_the_order_and_the_number_of_deliveries_do_not_matter(
    files: int, order: str, expected: list[str], context: ProcessContext, driver: AsyncDriver
) -> None:
    """Each delivery has another offset, so that its content has to be compared with that of the graph."""
    events = ORDERS[order](generate_events(SEED, files), random.Random(SEED))
    started = time.monotonic()
    await deliver(GraphSink(context), graph.batches(events, size=300))
    seconds = time.monotonic() - started
    assert await graph.dump(driver) == expected
    print(f"\n07 graph {order}: {len(events)} deliveries in {seconds:.1f} s, {len(expected)} nodes and edges")


@pytest.mark.parametrize("files", FILES)
async def test_07_a_replay_from_offset_0_changes_nothing(
    files: int, expected: list[str], context: ProcessContext, driver: AsyncDriver
) -> None:
    """The offsets are the same, and the graph stores which offsets it contains."""
    batches = graph.batches(generate_events(SEED, files), size=300)
    await deliver(GraphSink(context), batches)
    rows, duplicates = written_rows(), consumed("duplicate")
    await deliver(GraphSink(context), batches)
    duplicates = consumed("duplicate") - duplicates
    assert (written_rows() - rows, duplicates) == (0, sum(map(len, batches)))
    assert await graph.dump(driver) == expected
    print(f"\n07 graph replay: {duplicates} of {duplicates} are duplicates, 0 rows written")


def written_rows() -> int:
    return sum(int(graph_metrics.ROWS.labels(kind)._value.get()) for kind in graph_metrics.ROW_KINDS)


@pytest.mark.parametrize("files", FILES)
async def test_07_two_processes_that_consume_the_same_events_write_them_once(
    stack: Stack,
    files: int,
    expected: list[str],
    context: ProcessContext,
    driver: AsyncDriver,
    tmp_path: Path,
) -> None:
    """After a rebalance, one process may still work on records that are assigned to the other."""
    events = generate_events(SEED, files)
    offsets: dict[tuple[str, int], Iterator[int]] = {}
    records = []
    for event in events:
        partition = int(event.subject[:4], 16) % 3
        offset = next(offsets.setdefault((event.data.TOPIC, partition), count()))
        records.append(graph.received(event, offset, partition))
    other = ProcessContext.create(graph.settings(stack, tmp_path))
    ok, duplicates = consumed("ok"), consumed("duplicate")
    try:
        repeated = await asyncio.gather(
            deliver(GraphSink(context), [records[at : at + 300] for at in range(0, len(records), 300)]),
            deliver(GraphSink(other), [records[at : at + 110] for at in range(0, len(records), 110)]),
        )
    finally:
        await other.aclose()
    assert (consumed("ok") - ok, consumed("duplicate") - duplicates) == (len(events), len(events))
    assert await graph.dump(driver) == expected
    print(f"\n07 graph, two processes: {len(events)} events once each, {sum(repeated)} batches repeated")


@pytest.mark.parametrize("files", FILES)
async def test_06_commits_whose_response_is_lost_are_not_repeated(
    stack: Stack,
    files: int,
    expected: list[str],
    context: ProcessContext,
    driver: AsyncDriver,
    tmp_path: Path,
) -> None:
    batches = graph.batches(generate_events(SEED, files), size=100)
    await deliver(GraphSink(context), [])
    port = urlsplit(stack.addresses.neo4j_uri).port
    assert port is not None
    with run_proxy(port, BoltCommits) as proxy:
        proxied = ProcessContext.create(
            graph.settings(stack, tmp_path, neo4j_uri=f"bolt://127.0.0.1:{proxy.port}")
        )
        sink = GraphSink(proxied)
        duplicates, unconfirmed = consumed("duplicate"), 0
        try:
            for number, batch in enumerate(batches):
                if number % 2:
                    proxy.drop_responses()
                    unconfirmed += len(batch)
                await deliver(sink, [batch])
        finally:
            await proxied.aclose()
        assert proxy.dropped_responses == len(batches) // 2 > 0
    assert consumed("duplicate") - duplicates == unconfirmed
    assert await graph.dump(driver) == expected
    print(
        f"\n06 graph lost responses: {len(batches) // 2} of {len(batches)} commits, "
        f"{unconfirmed} events recognized as duplicates"
    )


@pytest.mark.parametrize("files", [15])
async def test_06_deadlocked_transaction_is_retried(
    files: int, expected: list[str], context: ProcessContext, driver: AsyncDriver
) -> None:
    """Another writer takes its locks in the opposite order; Neo4j spares it, since it has written more."""
    events = generate_events(SEED, files)
    sink = GraphSink(context)
    await deliver(sink, graph.batches(events[:100], size=100))
    first, *_, last = await recordings(driver)
    before = retried(DEADLOCK)
    async with driver.session() as session:
        other = await session.begin_transaction()
        await other.run("UNWIND range(1, 5000) AS n CREATE (:Ballast {n: n})")
        await other.run("MATCH (r:Recording {id: $id}) SET r._lock = true REMOVE r._lock", id=last)
        delivering = asyncio.create_task(deliver(sink, graph.batches(events, size=len(events), first=100)))
        await wait_until_blocked(driver)
        await other.run("MATCH (r:Recording {id: $id}) SET r._lock = true REMOVE r._lock", id=first)
        await other.rollback()
        repeated = await delivering
    assert retried(DEADLOCK) > before
    assert await graph.dump(driver) == expected
    print(f"\n06 graph deadlock: {retried(DEADLOCK) - before} retried, {repeated} batches repeated")


async def recordings(driver: AsyncDriver) -> list[str]:
    result = await driver.execute_query("MATCH (r:Recording) RETURN r.id AS id ORDER BY id")
    return [row["id"] for row in result.records]


async def wait_until_blocked(driver: AsyncDriver) -> None:
    """Wait until a transaction waits for a lock."""
    async with asyncio.timeout(60):
        while True:
            result = await driver.execute_query(
                "SHOW TRANSACTIONS YIELD status WHERE status STARTS WITH 'Blocked'"
            )
            if result.records:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("files", FILES)
async def test_06_terminated_transactions_are_retried(
    files: int, expected: list[str], context: ProcessContext, driver: AsyncDriver
) -> None:
    events = generate_events(SEED, files)
    before = sum(map(retried, retry_codes()))
    delivering = asyncio.create_task(deliver(GraphSink(context), graph.batches(events, size=50)))
    terminated, most = 0, 10
    while not delivering.done():
        await asyncio.sleep(0.02)
        if terminated < most:
            terminated += await terminate(driver)
    repeated = await delivering
    retries = sum(map(retried, retry_codes())) - before
    assert min(terminated, retries + repeated) > 0
    assert await graph.dump(driver) == expected
    print(f"\n06 graph terminated: {terminated} times, {retries} retried, {repeated} batches repeated")


async def terminate(driver: AsyncDriver) -> int:
    """Terminate every transaction that writes now, and return their number."""
    result = await driver.execute_query(
        "SHOW TRANSACTIONS YIELD transactionId, currentQuery"
        " WHERE currentQuery CONTAINS 'UNWIND $rows' AND NOT currentQuery STARTS WITH 'SHOW'"
        " RETURN collect(transactionId) AS ids"
    )
    ids = result.records[0]["ids"]
    if ids:
        await driver.execute_query("TERMINATE TRANSACTIONS $ids", ids=ids)
    return len(ids)


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """Servers that the test may kill."""
    with servers("chaos-graph") as project:
        project.prepare()
        yield Stack(project)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("files", [60])
async def test_06_neo4j_killed_and_restarted_under_load(own: Stack, files: int, tmp_path: Path) -> None:
    """Neo4j is killed twice and stopped once; then the graph is rebuilt, and all topics are replayed."""
    events = generate_events(SEED, files)
    settings = graph.settings(own, tmp_path)
    async with graph.empty_graph(own) as driver:
        context = ProcessContext.create(settings)
        await deliver(GraphSink(context), graph.batches(events, size=500))
        expected = await graph.dump(driver)
        await reset(context, driver)

        app = create_app(settings)
        recoveries = []
        async with running(app, backlog=True):
            producing = asyncio.create_task(publish(own, events, per_s=15))
            for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
                await asyncio.sleep(5)
                recoveries.append(await restart(own, driver, number))
            await producing
            await graph.wait_until_mirrored(own, app.topics, timeout_s=600)
        assert await graph.dump(driver) == expected
        assert await parked(context) == 0

        done = await rebuild(settings)
        assert await graph.dump(driver) == expected
        assert done.events == len(events)

        duplicates = consumed("duplicate")
        await rewind(own, app.topics)
        async with running(create_app(settings), backlog=True):
            await graph.wait_until_mirrored(own, app.topics, timeout_s=600)
        assert consumed("duplicate") - duplicates == len(events)
        assert await graph.dump(driver) == expected
        await context.aclose()
    delays = ", ".join(f"{seconds:.1f}" for seconds in recoveries)
    print(
        f"\n06 graph restarts: {len(events)} events, next batch {delays} s after Neo4j was ready, 0 parked;"
    )
    print(
        f"   rebuilt in {done.seconds} s, replayed from offset 0: {len(expected)} nodes and edges each time"
    )


async def publish(stack: Stack, events: Events, *, per_s: float) -> None:
    """Publish the events in their order at a steady rate."""
    servers_ = stack.addresses.kafka_bootstrap_servers
    async with AIOKafkaProducer(bootstrap_servers=servers_, enable_idempotence=True) as producer:
        for event in events:
            record = event.to_record()
            await producer.send(record.topic, value=record.value, key=record.key, headers=record.headers)
            await asyncio.sleep(1 / per_s)
        await producer.flush()


async def restart(stack: Stack, driver: AsyncDriver, number: signal.Signals) -> float:
    """End Neo4j, start it 3 s later, and return the seconds from its readiness to the next written batch."""
    (pid,) = [process.pid for process in stack.project.stack.status() if process.name == "neo4j"]
    assert pid is not None
    os.kill(pid, number)
    while any(process.name == "neo4j" and process.pid for process in stack.project.stack.status()):
        await asyncio.sleep(0.05)
    await asyncio.sleep(3)
    await asyncio.to_thread(stack.project.stack.up)
    started, before = time.monotonic(), await count_mirrored(driver)
    async with asyncio.timeout(TIMEOUT_S):
        while await count_mirrored(driver) == before:
            await asyncio.sleep(0.1)
    return time.monotonic() - started


async def count_mirrored(driver: AsyncDriver) -> int:
    """Return the number of events in the graph, from its offsets."""
    result = await driver.execute_query(
        "MATCH (k:KafkaOffset {consumer: $consumer}) RETURN coalesce(sum(k.offset + 1), 0) AS events",
        consumer=CONSUMER,
    )
    return int(result.records[0]["events"])


async def parked(context: ProcessContext) -> int:
    async with context.database.transaction() as transaction:
        result = await transaction.session.execute(text("SELECT count(*) FROM dead_letters"))
        return int(result.scalar_one())


async def rewind(stack: Stack, topics: Sequence[str]) -> None:
    """Reset the group to the first offset of every topic; it may have no active member."""
    async with AIOKafkaConsumer(
        *topics,
        bootstrap_servers=stack.addresses.kafka_bootstrap_servers,
        group_id=CONSUMER,
        enable_auto_commit=False,
    ) as consumer:
        async with asyncio.timeout(60):
            while not consumer.assignment():
                await consumer.getmany(timeout_ms=100)
        await consumer.commit(dict.fromkeys(consumer.assignment(), 0))
