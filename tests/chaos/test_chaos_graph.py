"""Neo4j fails, and events come in any order and any number of times: the graph is always the same.

What it should be is what the events leave in an empty graph in the order in which they were published.
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
from tests.support.histories import histories
from tests.support.proxy import Bolt, proxy
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
PATIENCE_S = 600
DEADLOCK = "Neo.TransientError.Transaction.DeadlockDetected"

Events = list[Envelope]
Told = dict[int, list[str]]


@pytest.fixture
async def driver(stack: Stack) -> AsyncIterator[AsyncDriver]:
    async with graph.empty_graph(stack) as opened:
        yield opened


@pytest.fixture
async def context(stack: Stack, driver: AsyncDriver, tmp_path: Path) -> AsyncIterator[ProcessContext]:
    """What one process of the service holds."""
    opened = ProcessContext.create(graph.settings(stack, tmp_path))
    await opened.clear_offsets()
    yield opened
    await opened.clear_offsets()
    await opened.aclose()


@pytest.fixture(scope="module")
def told() -> Told:
    """The graph as it should be, by number of files."""
    return {}


@pytest.fixture
async def wanted(files: int, told: Told, context: ProcessContext, driver: AsyncDriver) -> list[str]:
    """The graph as it should be."""
    if files not in told:
        await deliver(GraphSink(context), graph.batches(histories(SEED, files), size=500))
        told[files] = await graph.dump(driver)
        await start_again(context, driver)
    return told[files]


async def start_again(context: ProcessContext, driver: AsyncDriver) -> None:
    await graph.wipe(driver)
    await context.clear_offsets()


async def deliver(sink: GraphSink, batches: Sequence[Sequence[ConsumedRecord]]) -> int:
    """Hand batches over as the consumer does: again while the graph is away. Gives how often that was."""
    again = 0
    for batch in batches:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await sink.apply(batch)
                except UnavailableError:
                    again += 1
                    await asyncio.sleep(0.05)
                else:
                    break
    return again


def taken(result: str) -> int:
    """Events that were counted so far."""
    (metric,) = metrics.EVENTS_CONSUMED.collect()
    named = [each for each in metric.samples if each.name.endswith("_total")]
    return int(sum(each.value for each in named if each.labels["result"] == result))


def retried(code: str) -> int:
    return int(graph_metrics.TX_RETRIES.labels(code)._value.get())


def codes() -> set[str]:
    """Every reason for which a transaction was tried again so far."""
    (metric,) = graph_metrics.TX_RETRIES.collect()
    return {each.labels["code"] for each in metric.samples}


def twice(events: Events, chance: random.Random) -> Events:
    """The second time soon after the first or much later."""
    places = [(at + late, event) for at, event in enumerate(events) for late in (0, chance.choice((1, 400)))]
    return [event for _, event in sorted(places, key=lambda place: place[0])]


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
    files: int, order: str, wanted: list[str], context: ProcessContext, driver: AsyncDriver
) -> None:
    """At offsets of their own, so that each record has to be compared with what the graph holds."""
    events = ORDERS[order](histories(SEED, files), random.Random(SEED))
    began = time.monotonic()
    await deliver(GraphSink(context), graph.batches(events, size=300))
    seconds = time.monotonic() - began
    assert await graph.dump(driver) == wanted
    print(f"\n07 graph {order}: {len(events)} deliveries in {seconds:.1f} s, {len(wanted)} nodes and edges")


@pytest.mark.parametrize("files", FILES)
async def test_07_a_replay_from_offset_0_changes_nothing(
    files: int, wanted: list[str], context: ProcessContext, driver: AsyncDriver
) -> None:
    """At the same offsets: the graph knows that it holds them."""
    batches = graph.batches(histories(SEED, files), size=300)
    await deliver(GraphSink(context), batches)
    rows, duplicates = written_rows(), taken("duplicate")
    await deliver(GraphSink(context), batches)
    duplicates = taken("duplicate") - duplicates
    assert (written_rows() - rows, duplicates) == (0, sum(map(len, batches)))
    assert await graph.dump(driver) == wanted
    print(f"\n07 graph replay: {duplicates} of {duplicates} known, 0 rows written")


def written_rows() -> int:
    return sum(int(graph_metrics.ROWS.labels(kind)._value.get()) for kind in graph_metrics.KINDS)


@pytest.mark.parametrize("files", FILES)
async def test_07_two_processes_that_take_the_same_events_write_them_once(
    stack: Stack, files: int, wanted: list[str], context: ProcessContext, driver: AsyncDriver, tmp_path: Path
) -> None:
    """After a rebalance one may still be at work on what was given to the other."""
    events = histories(SEED, files)
    numbers: dict[tuple[str, int], Iterator[int]] = {}
    every = []
    for event in events:
        partition = int(event.subject[:4], 16) % 3
        number = next(numbers.setdefault((event.data.TOPIC, partition), count()))
        every.append(graph.received(event, number, partition))
    other = ProcessContext.create(graph.settings(stack, tmp_path))
    ok, duplicates = taken("ok"), taken("duplicate")
    try:
        again = await asyncio.gather(
            deliver(GraphSink(context), [every[at : at + 300] for at in range(0, len(every), 300)]),
            deliver(GraphSink(other), [every[at : at + 110] for at in range(0, len(every), 110)]),
        )
    finally:
        await other.aclose()
    assert (taken("ok") - ok, taken("duplicate") - duplicates) == (len(events), len(events))
    assert await graph.dump(driver) == wanted
    print(f"\n07 graph twice at once: {len(events)} events once each, batches given back {sum(again)} times")


@pytest.mark.parametrize("files", FILES)
async def test_06_commits_whose_answer_is_lost_are_not_done_twice(
    stack: Stack, files: int, wanted: list[str], context: ProcessContext, driver: AsyncDriver, tmp_path: Path
) -> None:
    batches = graph.batches(histories(SEED, files), size=100)
    await deliver(GraphSink(context), [])
    port = urlsplit(stack.addresses.neo4j_uri).port
    assert port is not None
    with proxy(port, Bolt) as between:
        behind = ProcessContext.create(
            graph.settings(stack, tmp_path, neo4j_uri=f"bolt://127.0.0.1:{between.port}")
        )
        sink = GraphSink(behind)
        duplicates, lost = taken("duplicate"), 0
        try:
            for number, batch in enumerate(batches):
                if number % 2:
                    between.lose_answers()
                    lost += len(batch)
                await deliver(sink, [batch])
        finally:
            await behind.aclose()
        assert between.answers_lost == len(batches) // 2 > 0
    assert taken("duplicate") - duplicates == lost
    assert await graph.dump(driver) == wanted
    print(
        f"\n06 graph lost answers: {len(batches) // 2} of {len(batches)} commits, {lost} events known again"
    )


@pytest.mark.parametrize("files", [15])
async def test_06_a_deadlock_is_tried_again(
    files: int, wanted: list[str], context: ProcessContext, driver: AsyncDriver
) -> None:
    """With another writer that takes its locks the other way round, and has more to lose."""
    events = histories(SEED, files)
    sink = GraphSink(context)
    await deliver(sink, graph.batches(events[:100], size=100))
    first, *_, last = await recordings(driver)
    before = retried(DEADLOCK)
    async with driver.session() as session:
        other = await session.begin_transaction()
        await other.run("UNWIND range(1, 5000) AS n CREATE (:Ballast {n: n})")
        await other.run("MATCH (r:Recording {id: $id}) SET r._lock = true REMOVE r._lock", id=last)
        ours = asyncio.create_task(deliver(sink, graph.batches(events, size=len(events), first=100)))
        await until_waiting(driver)
        await other.run("MATCH (r:Recording {id: $id}) SET r._lock = true REMOVE r._lock", id=first)
        await other.rollback()
        again = await ours
    assert retried(DEADLOCK) > before
    assert await graph.dump(driver) == wanted
    print(f"\n06 graph deadlock: {retried(DEADLOCK) - before} tried again, batches given back {again} times")


async def recordings(driver: AsyncDriver) -> list[str]:
    found = await driver.execute_query("MATCH (r:Recording) RETURN r.id AS id ORDER BY id")
    return [row["id"] for row in found.records]


async def until_waiting(driver: AsyncDriver) -> None:
    """Until a transaction waits for a lock."""
    async with asyncio.timeout(60):
        while True:
            found = await driver.execute_query(
                "SHOW TRANSACTIONS YIELD status WHERE status STARTS WITH 'Blocked'"
            )
            if found.records:
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("files", FILES)
async def test_06_transactions_that_are_terminated_are_done_again(
    files: int, wanted: list[str], context: ProcessContext, driver: AsyncDriver
) -> None:
    events = histories(SEED, files)
    before = sum(map(retried, codes()))
    working = asyncio.create_task(deliver(GraphSink(context), graph.batches(events, size=50)))
    terminated, most = 0, 10
    while not working.done():
        await asyncio.sleep(0.02)
        if terminated < most:
            terminated += await terminate(driver)
    again = await working
    retries = sum(map(retried, codes())) - before
    assert min(terminated, retries + again) > 0
    assert await graph.dump(driver) == wanted
    print(f"\n06 graph terminated: {terminated} times, {retries} tried again, {again} batches given back")


async def terminate(driver: AsyncDriver) -> int:
    """End every transaction that writes now."""
    found = await driver.execute_query(
        "SHOW TRANSACTIONS YIELD transactionId, currentQuery"
        " WHERE currentQuery CONTAINS 'UNWIND $rows' AND NOT currentQuery STARTS WITH 'SHOW'"
        " RETURN collect(transactionId) AS ids"
    )
    ids = found.records[0]["ids"]
    if ids:
        await driver.execute_query("TERMINATE TRANSACTIONS $ids", ids=ids)
    return len(ids)


@pytest.fixture(scope="module")
def own() -> Iterator[Stack]:
    """Servers that may be killed."""
    with servers("chaos-graph") as project:
        project.prepare()
        yield Stack(project)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("files", [60])
async def test_06_neo4j_killed_and_restarted_under_load(own: Stack, files: int, tmp_path: Path) -> None:
    """Killed twice and stopped once; then a rebuild and a replay of the whole group, on real Kafka."""
    events = histories(SEED, files)
    settings = graph.settings(own, tmp_path)
    async with graph.empty_graph(own) as driver:
        plain = ProcessContext.create(settings)
        await deliver(GraphSink(plain), graph.batches(events, size=500))
        wanted = await graph.dump(driver)
        await start_again(plain, driver)

        app = create_app(settings)
        recoveries = []
        async with running(app, backlog=True):
            producing = asyncio.create_task(publish(own, events, per_s=15))
            for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
                await asyncio.sleep(5)
                recoveries.append(await restarted(own, driver, how))
            await producing
            await graph.until_mirrored(own, app.topics, timeout_s=600)
        assert await graph.dump(driver) == wanted
        assert await parked(plain) == 0

        done = await rebuild(settings)
        assert await graph.dump(driver) == wanted
        assert done.events == len(events)

        duplicates = taken("duplicate")
        await from_the_start(own, app.topics)
        async with running(create_app(settings), backlog=True):
            await graph.until_mirrored(own, app.topics, timeout_s=600)
        assert taken("duplicate") - duplicates == len(events)
        assert await graph.dump(driver) == wanted
        await plain.aclose()
    soon = ", ".join(f"{seconds:.1f}" for seconds in recoveries)
    print(
        f"\n06 graph restarts: {len(events)} events, written again {soon} s after Neo4j answered, 0 parked;"
    )
    print(f"   rebuilt in {done.seconds} s, replayed from offset 0: {len(wanted)} nodes and edges each time")


async def publish(stack: Stack, events: Events, *, per_s: float) -> None:
    """Steadily, each file's events in their order."""
    servers_ = stack.addresses.kafka_bootstrap_servers
    async with AIOKafkaProducer(bootstrap_servers=servers_, enable_idempotence=True) as producer:
        for event in events:
            record = event.to_record()
            await producer.send(record.topic, value=record.value, key=record.key, headers=record.headers)
            await asyncio.sleep(1 / per_s)
        await producer.flush()


async def restarted(stack: Stack, driver: AsyncDriver, how: signal.Signals) -> float:
    """End Neo4j, leave it away for 3 s, start it; seconds from its first answer to the next written batch."""
    (pid,) = [process.pid for process in stack.project.stack.status() if process.name == "neo4j"]
    assert pid is not None
    os.kill(pid, how)
    while any(process.name == "neo4j" and process.pid for process in stack.project.stack.status()):
        await asyncio.sleep(0.05)
    await asyncio.sleep(3)
    await asyncio.to_thread(stack.project.stack.up)
    began, held = time.monotonic(), await offsets(driver)
    async with asyncio.timeout(PATIENCE_S):
        while await offsets(driver) == held:
            await asyncio.sleep(0.1)
    return time.monotonic() - began


async def offsets(driver: AsyncDriver) -> int:
    """Events in the graph, whichever they are."""
    found = await driver.execute_query(
        "MATCH (k:KafkaOffset {consumer: $consumer}) RETURN coalesce(sum(k.offset + 1), 0) AS events",
        consumer=CONSUMER,
    )
    return int(found.records[0]["events"])


async def parked(context: ProcessContext) -> int:
    async with context.database.transaction() as transaction:
        found = await transaction.session.execute(text("SELECT count(*) FROM dead_letters"))
        return int(found.scalar_one())


async def from_the_start(stack: Stack, topics: Sequence[str]) -> None:
    """Set the group back to the first offset of every topic; nobody of it is at work."""
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
