"""Reading and writing topics from the command line, without a consumer group."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.structs import RecordMetadata

from phonograph_cli.project import OTLP_ENDPOINT
from phonograph_events import Envelope, Event, EventError, Record, make_envelope, parse
from phonograph_runtime.tracing import Tracing

Begin = Literal["earliest", "latest"]
Client = TypeVar("Client", AIOKafkaConsumer, AIOKafkaProducer)

SOURCE = "cli"
MAX_RECORD_BYTES = 4 * 1024 * 1024
ATTEMPTS = 20
PAUSE_S = 0.25


class MissingTopicError(Exception):
    """Kafka lacks topics that are needed."""

    def __init__(self, topics: Iterable[str]) -> None:
        super().__init__(f"Kafka has no topic {', '.join(sorted(topics))}.")


@dataclass(frozen=True, slots=True)
class Seen:
    """An event and where it lies."""

    topic: str
    partition: int
    offset: int
    envelope: Envelope


class Tail:
    """Follows topics from a fixed point on."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def records(self) -> AsyncIterator["ConsumerRecord[bytes | None, bytes | None]"]:
        """Every record as it comes."""
        async for record in self._consumer:
            yield record

    async def events(self) -> AsyncIterator[Seen]:
        """Events as they come; records that are none are passed over."""
        async for record in self._consumer:
            seen = _seen(record)
            if seen is not None:
                yield seen


@asynccontextmanager
async def tail(servers: str, topics: Iterable[str], *, from_beginning: bool = False) -> AsyncIterator[Tail]:
    """Open a tail; everything published after this has returned will be seen."""
    begin: Begin = "earliest" if from_beginning else "latest"
    async with reading(servers, topics, begin) as (consumer, partitions):
        for partition in partitions:
            await consumer.position(partition)
        yield Tail(consumer)


async def read_all(servers: str, topics: Iterable[str]) -> list["ConsumerRecord[bytes | None, bytes | None]"]:
    """Every record of the topics up to now, oldest first."""
    async with reading(servers, topics, "earliest") as (consumer, partitions):
        ends = await consumer.end_offsets(partitions)
        records: list[ConsumerRecord[bytes | None, bytes | None]] = []
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for batch in (await consumer.getmany(timeout_ms=500)).values():
                    records.extend(batch)
    return sorted(
        records, key=lambda record: (record.timestamp, record.topic, record.partition, record.offset)
    )


async def read_one(
    servers: str, topic: str, partition: int, offset: int
) -> "ConsumerRecord[bytes | None, bytes | None] | None":
    """The record at a place; null when Kafka has removed it."""
    place = TopicPartition(topic, partition)
    async with reading(servers, [topic], "earliest") as (consumer, places):
        if place not in places or offset < (await consumer.beginning_offsets([place]))[place]:
            return None
        if offset >= (await consumer.end_offsets([place]))[place]:
            return None
        await consumer.position(place)  # the reset that a new consumer begins with overtakes a seek
        consumer.seek(place, offset)
        record: ConsumerRecord[bytes | None, bytes | None] = await consumer.getone(place)
    return record if record.offset == offset else None


async def read_between(servers: str, topics: Iterable[str], since: datetime, until: datetime) -> list[Seen]:
    """Events that were written in a span of time, oldest first; records that are none are passed over."""
    async with reading(servers, topics, "earliest") as (consumer, partitions):
        begins = await consumer.offsets_for_times(dict.fromkeys(partitions, _milliseconds(since)))
        ends = await consumer.offsets_for_times(dict.fromkeys(partitions, _milliseconds(until)))
        newest = await consumer.end_offsets(partitions)
        found: list[ConsumerRecord[bytes | None, bytes | None]] = []
        for partition, begin in begins.items():
            if begin is None:
                continue
            end = ends[partition]
            stop = newest[partition] if end is None else end.offset
            await consumer.position(partition)  # the reset that a new consumer begins with overtakes a seek
            consumer.seek(partition, begin.offset)
            while await consumer.position(partition) < stop:
                for batch in (await consumer.getmany(partition, timeout_ms=500)).values():
                    found.extend(record for record in batch if record.offset < stop)
    found.sort(key=lambda record: (record.timestamp, record.topic, record.partition, record.offset))
    return [seen for record in found if (seen := _seen(record)) is not None]


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


async def publish(servers: str, events: Iterable[Event]) -> list[Envelope]:
    """Publish events of this command; each begins a correlation of its own."""
    tracing = Tracing(SOURCE, os.environ.get(OTLP_ENDPOINT))
    with ExitStack() as spans:
        envelopes = [spans.enter_context(_traced(tracing, event)) for event in events]
        await send(servers, [wrapped.to_record() for wrapped in envelopes])
    await tracing.aclose()
    return envelopes


@contextmanager
def _traced(tracing: Tracing, event: Event) -> Iterator[Envelope]:
    """An event under a span that begins a trace, where there is a collector."""
    wrapped = make_envelope(event, source=SOURCE)
    about = {"messaging.destination.name": event.TOPIC, "messaging.message.id": wrapped.id}
    with tracing.step(f"publish {event.TOPIC}", "producer", None, about) as step:
        yield wrapped.model_copy(update={"traceparent": step.traceparent})


async def send(servers: str, records: Iterable[Record]) -> list[str]:
    """Send records as they are; gives the place of each, `topic/partition/offset`."""
    producer = AIOKafkaProducer(
        bootstrap_servers=servers,
        enable_idempotence=True,
        compression_type="gzip",
        max_request_size=MAX_RECORD_BYTES,
    )
    async with _started(producer):
        places = await asyncio.gather(*[await _hand_over(producer, record) for record in records])
    return [f"{place.topic}/{place.partition}/{place.offset}" for place in places]


async def _hand_over(producer: AIOKafkaProducer, record: Record) -> Awaitable[RecordMetadata]:
    arrival: Awaitable[RecordMetadata]
    headers = list(record.headers)
    if record.key is None and record.value is None:  # Kafka takes it, aiokafka's `send` does not
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=None, headers=headers)
        partitions = await producer.partitions_for(record.topic)
        arrival = await producer.send_batch(batch, record.topic, partition=min(partitions))
    else:
        arrival = await producer.send(record.topic, value=record.value, key=record.key, headers=headers)
    return arrival


@asynccontextmanager
async def reading(
    servers: str, topics: Iterable[str], begin: Begin = "earliest"
) -> AsyncIterator[tuple[AIOKafkaConsumer, list[TopicPartition]]]:
    """A consumer without a group, given every partition of its topics.

    Raises:
        MissingTopicError: a topic is not there, or its leader is not elected yet after a while.
    """
    wanted = set(topics)
    for _ in range(ATTEMPTS):
        # Asked first: a consumer of a topic that is not there takes 40 s to say so.
        async with _started(AIOKafkaConsumer(bootstrap_servers=servers)) as asking:
            missing = wanted - await asking.topics()
        if not missing:
            consumer = AIOKafkaConsumer(
                *wanted,
                bootstrap_servers=servers,
                auto_offset_reset=begin,  # the reset that a new consumer begins with overtakes a seek
                enable_auto_commit=False,
                max_partition_fetch_bytes=MAX_RECORD_BYTES,
            )
            async with _started(consumer):
                partitions = sorted(consumer.assignment())
                missing = wanted - {partition.topic for partition in partitions}
                if not missing:
                    yield consumer, partitions
                    return
        await asyncio.sleep(PAUSE_S)
    raise MissingTopicError(missing)


@asynccontextmanager
async def _started(client: Client) -> AsyncIterator[Client]:
    """As `async with client`, which leaves one open that did not start."""
    try:
        await client.start()
        yield client
    finally:
        await client.stop()


def _seen(record: "ConsumerRecord[bytes | None, bytes | None]") -> Seen | None:
    try:
        return Seen(record.topic, record.partition, record.offset, parse(record.value, record.headers))
    except EventError:
        return None
