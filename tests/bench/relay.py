"""The outbox relay: its rate with a full outbox, and the time that an event waits in the outbox.

The bare producer has the same records in memory, so that the difference is the cost of reading and marking.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from tests.bench.bench import Bench
from tests.bench.figures import Figure, Goal
from tests.bench.intake import media_ready
from tests.bench.side import Clock, new_topic
from tests.support.scratch import ScratchSettings, rows, scratch_database
from tests.support.stack import Stack

from phonograph_events import Record, envelope
from phonograph_runtime.database import Database, encode_headers
from phonograph_runtime.outbox import OutboxRelay

BATCH = 500
PARTITIONS = 4
DISTINCT = 500
"""Number of different records in the outbox, which are repeated; more would only take longer to prepare."""


def measure(bench: Bench) -> list[Figure]:
    """Measure the events per second, and the time from commit to delivery."""
    events = bench.number("EVENTS", 20_000)
    seconds = bench.number("LATENCY_S", 20)
    speed = bench.compare(__name__, "ours", "bare", events=events)
    waits = bench.side(__name__, "latency", rate=500, seconds=seconds)
    base = bench.base and bench.side(__name__, "latency", checkout=bench.base, rate=500, seconds=seconds)
    return [
        Figure(
            "relay",
            "relay, a full outbox",
            speed.median("ours", "per_s") or 0,
            "events/s",
            speed.median("bare", "per_s"),
            "idempotent producer, same records, nothing to read or mark",
            Goal("ratio", at_least=0.5),
            speed.median("base", "per_s"),
            speed.spread("per_s"),
        ),
        Figure(
            "relay_cpu",
            "relay, processor time of the process",
            speed.median("ours", "cpu_us") or 0,
            "µs/event",
            speed.median("bare", "cpu_us"),
            "the same",
            base=speed.median("base", "cpu_us"),
        ),
        *(
            Figure(
                f"relay_{which}",
                f"commit to delivered at {waits['rate']:.0f}/s, {which}",
                waits[which],
                "ms",
                goal=Goal("value", at_most=250) if which == "p99" else None,
                base=base and base[which],
            )
            for which in ("p50", "p99")
        ),
    ]


def _records(topic: str) -> list[Record]:
    records = [envelope(media_ready(), source="bench").to_record() for _ in range(DISTINCT)]
    return [Record(topic, record.key, record.value, record.headers) for record in records]


@asynccontextmanager
async def _relaying(database: Database, servers: str) -> AsyncIterator[None]:
    listener = database.listen("outbox", "jobs")
    relay = OutboxRelay(database, listener, kafka_bootstrap_servers=servers)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(runner.run()) for runner in (listener, relay)]
        yield
        for task in tasks:
            task.cancel()


def _url(database: Database) -> str:
    return database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


async def _count_records(topic: str, servers: str) -> int:
    async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        return sum((await consumer.end_offsets(partitions)).values())


async def ours(stack: Stack, *, events: int) -> dict[str, float]:
    """Relay a full outbox, from the commit that fills it until every row is marked."""
    topic, clock = await new_topic(stack, partitions=PARTITIONS), Clock()
    distinct = _records(topic)
    async with scratch_database(stack) as (database, settings):
        servers = settings.kafka_bootstrap_servers
        connection = await asyncpg.connect(_url(database))
        async with _relaying(database, servers):
            # The first record is not measured: the relay takes its lock and learns the metadata of the topic.
            await _insert(connection, distinct[:1])
            await _wait_until_empty(connection)
            async with connection.transaction():
                await _insert(connection, (distinct * (events // DISTINCT + 1))[:events])
                await connection.execute("SELECT pg_notify('scratch.outbox', '')")
                clock.start()
            await _wait_until_empty(connection)
            clock.stop()
        ((published,),) = await rows(database, "SELECT count(published_at) FROM outbox")
        await connection.close()
        assert published == events + 1 == await _count_records(topic, servers)
    return clock.speed(events)


async def _insert(connection: "asyncpg.Connection[Any]", records: list[Record]) -> None:
    await connection.copy_records_to_table(
        "outbox",
        records=[(each.topic, each.key, each.value, encode_headers(each.headers)) for each in records],
        columns=["topic", "key", "value", "headers"],
    )


async def _wait_until_empty(connection: "asyncpg.Connection[Any]") -> None:
    while await connection.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE published_at IS NULL)"):
        await asyncio.sleep(0.02)


async def bare(stack: Stack, *, events: int) -> dict[str, float]:
    """Send the same records by a producer with the settings and batches of the relay."""
    topic, clock = await new_topic(stack, partitions=PARTITIONS), Clock()
    distinct = _records(topic)
    servers = stack.addresses.kafka_bootstrap_servers
    async with AIOKafkaProducer(
        bootstrap_servers=servers, enable_idempotence=True, acks="all", linger_ms=5, compression_type="gzip"
    ) as producer:
        await producer.send_and_wait(topic, value=distinct[0].value)
        records = (distinct * (events // DISTINCT + 1))[:events]
        with clock.running():
            for first in range(0, events, BATCH):
                sends = [
                    await producer.send(each.topic, value=each.value, key=each.key, headers=each.headers)
                    for each in records[first : first + BATCH]
                ]
                await asyncio.gather(*sends)
    assert await _count_records(topic, servers) == events + 1
    return clock.speed(events)


async def latency(stack: Stack, *, rate: int, seconds: int) -> dict[str, float]:
    """Measure the milliseconds from the start of a commit until a consumer receives the record.

    The relay runs in a separate process, as in a service; writer and consumer share this one.

    Args:
        stack: the running servers.
        rate: events per second.
        seconds: duration of the measurement.

    Returns:
        Percentiles and maximum in milliseconds, and the reached rate in events per second.
    """
    topic = await new_topic(stack, partitions=PARTITIONS)
    distinct = _records(topic)
    commits_started: dict[int, float] = {}
    waits_ms: list[float] = []
    total = rate * seconds
    async with scratch_database(stack) as (database, settings):
        url = _url(database)
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=settings.kafka_bootstrap_servers,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        async with (
            asyncpg.create_pool(url, min_size=4, max_size=8) as pool,
            _relay_process(url),
            consumer,
            asyncio.timeout(120 + 10 * seconds),
        ):
            await _insert_one(pool, distinct[0], -1)
            await consumer.getone()
            writing = asyncio.create_task(_write_steadily(pool, distinct, commits_started, rate, total))
            while len(waits_ms) < total:
                record = await consumer.getone()
                now = time.perf_counter()
                number = int(dict(record.headers)["number"])
                waits_ms.append((now - commits_started[number]) * 1000)
            reached = total / await writing
    waits_ms = waits_ms[rate:]  # the first second is a warm-up
    quantiles = statistics.quantiles(waits_ms, n=100)
    return {"p50": quantiles[49], "p99": quantiles[98], "max": max(waits_ms), "rate": reached}


async def _write_steadily(
    pool: "asyncpg.Pool[Any]",
    distinct: list[Record],
    commits_started: dict[int, float],
    rate: int,
    total: int,
) -> float:
    """Write `total` records at `rate` per second; return the seconds, which a busy machine exceeds."""
    started, writes = time.perf_counter(), set[asyncio.Task[None]]()

    async def write(number: int) -> None:
        await _insert_one(pool, distinct[number % DISTINCT], number, commits_started)

    for number in range(total):
        await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
        task = asyncio.create_task(write(number))
        writes.add(task)
        task.add_done_callback(writes.discard)
    await asyncio.gather(*writes)
    return time.perf_counter() - started


async def _insert_one(
    pool: "asyncpg.Pool[Any]",
    record: Record,
    number: int,
    commits_started: dict[int, float] | None = None,
) -> None:
    headers = encode_headers([*record.headers, ("number", str(number).encode())])
    async with pool.acquire() as connection:
        if commits_started is not None:
            commits_started[number] = time.perf_counter()
        await connection.fetchval(
            "WITH new AS (INSERT INTO outbox (topic, key, value, headers) VALUES ($1, $2, $3, $4))"
            " SELECT pg_notify('scratch.outbox', '')",
            record.topic,
            record.key,
            record.value,
            headers,
        )


@asynccontextmanager
async def _relay_process(url: str) -> AsyncIterator[None]:
    relay = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.side", __name__, "serve", json.dumps({"url": url})
    )
    try:
        yield
    finally:
        relay.terminate()
        await relay.wait()


async def serve(stack: Stack, *, url: str) -> None:
    """Run a relay until SIGTERM."""
    settings = ScratchSettings(
        database_url=url.replace("postgresql://", "postgresql+asyncpg://"),
        kafka_bootstrap_servers=stack.addresses.kafka_bootstrap_servers,
    )
    database = Database(settings, source="scratch")
    async with _relaying(database, settings.kafka_bootstrap_servers):
        await asyncio.Event().wait()
