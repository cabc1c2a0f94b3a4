"""Intake: from a filled topic through the runtime into three tables, up to the committed offset.

The runtime decodes and validates each event, writes its inbox row, and calls a handler that adds one job and
publishes one event. The bare loop writes the same columns of the same three rows for each record, most of
them constant, and reads only two headers and the key.
The time is measured from the first received batch until the last offset is committed.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from pydantic import BaseModel
from tests.bench.bench import Bench
from tests.bench.figures import Figure, Goal
from tests.bench.side import Clock, new_topic
from tests.support.scratch import rows, scratch_database
from tests.support.stack import Stack

from phonograph_events import Cause, JobProgressed, JobStatus, MediaReady, MediaRef, Service, envelope
from phonograph_events.examples import EXAMPLES
from phonograph_runtime.broker import Subscription
from phonograph_runtime.consumer import EventConsumer, HandlerSink
from phonograph_runtime.database import Database, Transaction, cause_to_json, encode_headers

PARTITIONS = 4
BATCH = 500
POLL_MS = 200


class MediaTask(BaseModel):
    """A task like those of the services."""

    media: MediaRef


def measure(bench: Bench) -> list[Figure]:
    """Measure the events per second."""
    events = bench.number("EVENTS", 20_000)
    topic = bench.side(__name__, "fill", events=events)
    rounds = bench.compare(__name__, "ours", "bare", topic=topic, events=events)
    return [
        Figure(
            "intake",
            "intake, one process",
            rounds.median("ours", "per_s") or 0,
            "events/s",
            rounds.median("bare", "per_s"),
            "getmany, 3 × unnest in one asyncpg transaction a batch, commit",
            Goal("ratio", at_least=0.5),
            rounds.median("base", "per_s"),
            rounds.spread("per_s"),
        ),
        Figure(
            "intake_cpu",
            "intake, processor time of the process",
            rounds.median("ours", "cpu_us") or 0,
            "µs/event",
            rounds.median("bare", "cpu_us"),
            "the same",
            base=rounds.median("base", "cpu_us"),
        ),
    ]


def media_ready() -> MediaReady:
    """Return an event of the usual size about a new file."""
    (example,) = (event for event in EXAMPLES if isinstance(event, MediaReady))
    media_id = uuid4()
    return example.model_copy(
        update={"media_id": media_id, "media": example.media.model_copy(update={"media_id": media_id})}
    )


def progressed(media_id: UUID) -> JobProgressed:
    """Return the event that the handler publishes."""
    return JobProgressed(
        media_id=media_id,
        job_id=media_id,
        service=Service.ANALYSIS,
        status=JobStatus.PROCESSING,
        progress=0.0,
        stage="started",
        attempt=1,
    )


async def fill(stack: Stack, *, events: int) -> str:
    """Create a topic, publish `events` events to it, and return its name."""
    servers = stack.addresses.kafka_bootstrap_servers
    topic = await new_topic(stack, partitions=PARTITIONS)
    async with AIOKafkaProducer(bootstrap_servers=servers, compression_type="gzip", linger_ms=20) as producer:
        sends = []
        for _ in range(events):
            record = envelope(media_ready(), source="bench").to_record()
            sends.append(
                await producer.send(topic, value=record.value, key=record.key, headers=record.headers)
            )
        await asyncio.gather(*sends)
    return topic


async def ours(stack: Stack, *, topic: str, events: int) -> dict[str, float]:
    """Consume the topic by the runtime, as a service does."""

    async def handle(event: MediaReady, transaction: Transaction) -> None:
        await transaction.enqueue("look", MediaTask(media=event.media), media=event.media)
        await transaction.publish(progressed(event.media_id))

    clock, consumed, all_consumed = Clock(), 0, asyncio.Event()
    async with scratch_database(stack) as (database, settings):
        consumer = EventConsumer(database, HandlerSink(database, {MediaReady: handle}))

        async def consume(records: Sequence["ConsumerRecord[bytes | None, bytes | None]"]) -> None:
            nonlocal consumed
            if consumed == 0:
                clock.start()
            await consumer.consume(records)
            consumed += len(records)
            if consumed >= events:
                all_consumed.set()

        async with Subscription(
            settings.kafka_bootstrap_servers, consume, [topic], group=f"bench-{uuid4()}", batch_size=BATCH
        ) as subscription:
            await all_consumed.wait()
            await _wait_until_committed(subscription._subscriber.consumer, topic, events)
            clock.stop()
        await _check(database, events)
    return clock.speed(events)


async def _wait_until_committed(consumer: Any, topic: str, events: int) -> None:
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    while sum([await consumer.committed(partition) or 0 for partition in partitions]) < events:
        await asyncio.sleep(0.001)


async def bare(stack: Stack, *, topic: str, events: int) -> dict[str, float]:
    """Consume the topic by the libraries alone, without decoding the events."""
    clock, consumed = Clock(), 0
    sample = envelope(progressed(uuid4()), source="bench").to_record()
    value, headers = sample.value, encode_headers(sample.headers)
    task = MediaTask(media=media_ready().media).model_dump_json()
    cause = json.dumps(cause_to_json(Cause(str(uuid4()), str(uuid4()))))
    async with scratch_database(stack) as (database, settings):
        url = settings.database_url.get_secret_value().replace("+asyncpg", "")
        connection = await asyncpg.connect(url)
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=settings.kafka_bootstrap_servers,
            group_id=f"bench-{uuid4()}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        async with consumer:
            while consumed < events:
                fetched = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH)
                records = [record for batch in fetched.values() for record in batch]
                if not records:
                    continue
                if consumed == 0:
                    clock.start()
                consumed += len(records)
                await _write(connection, records, sample.topic, value, headers, task, cause)
                await consumer.commit()
            clock.stop()
        await connection.close()
        await _check(database, events)
    return clock.speed(events)


async def _write(
    connection: "asyncpg.Connection[Any]",
    records: Sequence["ConsumerRecord[bytes, bytes]"],
    topic: str,
    value: bytes,
    headers: str,
    task: str,
    cause: str,
) -> None:
    attributes = [dict(record.headers) for record in records]
    async with connection.transaction():
        await connection.fetch(
            "INSERT INTO inbox (source, event_id) SELECT * FROM unnest($1::text[], $2::text[])"
            " ON CONFLICT DO NOTHING RETURNING source, event_id",
            [each["ce_source"].decode() for each in attributes],
            [each["ce_id"].decode() for each in attributes],
        )
        await connection.execute(
            "INSERT INTO scratch_jobs"
            " (id, media_file_id, kind, dedupe_key, owner, turn, task, cause, max_retries)"
            " SELECT id, media_file_id, 'look', 'look|' || media_file_id, 'an owner', turn, task, cause, 2"
            " FROM unnest($1::uuid[], $2::uuid[], $3::jsonb[], $4::jsonb[]) WITH ORDINALITY"
            " AS job (id, media_file_id, task, cause, turn)",
            [uuid4() for _ in records],
            [UUID(record.key.decode()) for record in records],
            [task] * len(records),
            [cause] * len(records),
        )
        await connection.execute(
            "INSERT INTO outbox (topic, key, value, headers)"
            " SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::jsonb[])",
            [topic] * len(records),
            [record.key for record in records],
            [value] * len(records),
            [headers] * len(records),
        )
        await connection.execute("SELECT pg_notify('bench.outbox', '')")


async def _check(database: Database, events: int) -> None:
    (counts,) = await rows(
        database,
        "SELECT (SELECT count(*) FROM inbox), (SELECT count(DISTINCT media_file_id) FROM scratch_jobs),"
        " (SELECT count(DISTINCT key) FROM outbox)",
    )
    assert tuple(counts) == (events,) * 3, f"{events} events left {tuple(counts)} rows"
