"""What the runtime's batches and workers gain, each against a named baseline in the same run.

Speeds depend on the machine and on what else it does; the ratios are worth comparing. Nothing is asserted on
time, but each measurement checks that its work was done.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert
from tests.support.scratch import SqlScratchJob, Sum, delivered, rows, scratch_database
from tests.support.stack import Stack

from phonograph_events import JobRetryRequested, MusicAnalyzed, Record, envelope
from phonograph_events.examples import EXAMPLES
from phonograph_runtime.consumer import EventConsumer, HandlerSink
from phonograph_runtime.database import Database, Transaction
from phonograph_runtime.jobs import JobQueue
from phonograph_runtime.outbox import RELAY_BATCH, OutboxRelay

pytestmark = pytest.mark.bench

ROUNDS = 3
CONSUMER_BATCH = 500
JOBS = 150
EFFECTS = Table("effects", MetaData(), Column("id", Integer, primary_key=True), Column("note", Text))

Speed = Callable[[], Awaitable[float]]
"""Does a piece of work and gives its speed, per second."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Speeds of ours and of the baseline, round by round."""

    what: str
    ours: list[float]
    baseline: str
    theirs: list[float]

    def line(self) -> str:
        """A row of the table."""
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        ratios = [a / b for a, b in zip(self.ours, self.theirs, strict=True)]
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        speeds = f"{self.what:<36}{ours:>8,.0f}/s  {self.baseline:<36}{theirs:>8,.0f}/s"
        return f"{speeds}{ours / theirs:>8.1f}  {spread}"


@pytest.fixture(scope="module")
def figures() -> Iterator[list[Figure]]:
    """Takes the figures; prints them as one table at the end."""
    taken: list[Figure] = []
    yield taken
    head = f"{'ours':<36}{'median':>10}  {'baseline':<36}{'median':>10}{'ratio':>8}  of {ROUNDS} rounds"
    print("\n", head, *(figure.line() for figure in taken), sep="\n")  # noqa: T201  # the table is the result


async def compare(what: str, ours: Speed, baseline: str, theirs: Speed) -> Figure:
    """Measure both in turn, after a first round that does not count."""
    rounds = [(await ours(), await theirs()) for _ in range(ROUNDS + 1)][1:]
    return Figure(what, [a for a, _ in rounds], baseline, [b for _, b in rounds])


def record() -> Record:
    """A small event."""
    event = JobRetryRequested(media_id=uuid4(), job_id=uuid4(), service="nobody")
    return envelope(event, source="bench").to_record()


async def test_batches_against_one_event_a_transaction(stack: Stack, figures: list[Figure]) -> None:
    async def effect(event: JobRetryRequested, transaction: Transaction) -> None:
        await transaction.session.execute(insert(EFFECTS).values(note=str(event.job_id)))

    async with scratch_database(stack) as (database, _):
        async with database.engine.begin() as connection:
            await connection.run_sync(EFFECTS.metadata.create_all)
        consumer = EventConsumer(database, HandlerSink(database, {JobRetryRequested: effect}))
        offsets = count()

        async def consume(events: int, size: int) -> float:
            records = [delivered(record(), next(offsets)) for _ in range(events)]
            started = time.perf_counter()
            for first in range(0, events, size):
                await consumer.consume(records[first : first + size])
            return events / (time.perf_counter() - started)

        figure = await compare(
            f"consumer: {CONSUMER_BATCH} events a transaction",
            lambda: consume(4 * CONSUMER_BATCH, CONSUMER_BATCH),
            "one event a transaction",
            lambda: consume(CONSUMER_BATCH, 1),
        )
        ((seen, effects),) = await rows(
            database, "SELECT (SELECT count(*) FROM inbox), (SELECT count(*) FROM effects)"
        )
        assert seen == effects == next(offsets)
    figures.append(figure)


@asynccontextmanager
async def relaying(database: Database, servers: str) -> AsyncIterator[None]:
    """A relay at work until the block ends."""
    listener = database.listen("outbox", "jobs")
    relay = OutboxRelay(database, listener, kafka_bootstrap_servers=servers)
    tasks = [asyncio.create_task(part.run()) for part in (listener, relay)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_relay_against_sending_one_by_one(stack: Stack, figures: list[Figure]) -> None:
    """The baseline has no outbox to read and to mark: it only waits for each acknowledgement."""
    servers = stack.addresses.kafka_bootstrap_servers
    producing = AIOKafkaProducer(
        bootstrap_servers=servers, enable_idempotence=True, acks="all", compression_type="gzip"
    )
    async with (
        scratch_database(stack) as (database, _),
        relaying(database, servers),
        producing as producer,
    ):
        events = 4 * RELAY_BATCH

        async def relayed() -> float:
            async with database.transaction() as transaction:
                await transaction.send([record() for _ in range(events)])
            started = time.perf_counter()
            while await rows(database, "SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1"):
                await asyncio.sleep(0.005)
            return events / (time.perf_counter() - started)

        async def one_by_one() -> float:
            records = [record() for _ in range(RELAY_BATCH)]
            started = time.perf_counter()
            for each in records:
                await producer.send_and_wait(each.topic, value=each.value, key=each.key, headers=each.headers)
            return len(records) / (time.perf_counter() - started)

        figure = await compare(
            f"relay: {RELAY_BATCH} outbox rows a batch", relayed, "send_and_wait, no outbox", one_by_one
        )
        ((published,),) = await rows(database, "SELECT count(published_at) FROM outbox")
        assert published == (ROUNDS + 1) * events
    figures.append(figure)


async def test_four_workers_against_one(stack: Stack, figures: list[Figure]) -> None:
    """The queue alone, in one process: claim, then completion and result in one transaction; no engine."""
    (result,) = (event for event in EXAMPLES if isinstance(event, MusicAnalyzed))
    async with scratch_database(stack) as (database, _):
        queue = JobQueue(
            database, SqlScratchJob, lease=timedelta(minutes=1), retry_delay=timedelta(seconds=1)
        )

        async def drain() -> None:
            while (job := await queue.claim()) is not None:
                async with database.transaction(job.cause) as transaction:
                    await queue.complete(transaction, job)
                    await transaction.publish(result.model_copy(update={"job": job.summary()}))

        async def work(workers: int) -> float:
            async with database.transaction() as transaction:
                for _ in range(JOBS):
                    await transaction.enqueue("add", Sum(numbers=[1]), media_id=uuid4())
            started = time.perf_counter()
            await asyncio.gather(*(drain() for _ in range(workers)))
            return JOBS / (time.perf_counter() - started)

        figure = await compare("jobs: 4 workers", lambda: work(4), "1 worker", lambda: work(1))
        jobs = 2 * (ROUNDS + 1) * JOBS
        assert await queue.counts() == ({"completed": jobs}, 0.0)
        ((results,),) = await rows(
            database, f"SELECT count(*) FROM outbox WHERE topic = '{MusicAnalyzed.TOPIC}'"
        )
        assert results == jobs
    figures.append(figure)
