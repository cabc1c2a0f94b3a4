"""Kafka as one command uses it: topics are read and written without a consumer group."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)
from aiokafka.structs import RecordMetadata

from phonograph_cli.errors import MissingTopicError
from phonograph_cli.project import OTLP_ENDPOINT
from phonograph_events import Envelope, Event, EventError, Record, envelope, parse
from phonograph_runtime.errors import AccessRefusedError, UnavailableError
from phonograph_runtime.isolation import IsolatingConsumer
from phonograph_runtime.kafka_access import check_access, client_options
from phonograph_runtime.kafka_security import KafkaSecurity
from phonograph_runtime.tracing import Tracing

StoredRecord: TypeAlias = ConsumerRecord[bytes | None, bytes | None]
Offsets: TypeAlias = Mapping[TopicPartition, int]

NOT_PERMITTED = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)
SOURCE = "cli"
MAX_RECORD_BYTES = 4 * 1024 * 1024
POLL_MS = 500
FETCH_WAIT_MS = 50
"""Longest time for which Kafka holds back the answer to a fetch while there is no record."""
ATTEMPTS = 20
"""Number of lookups before a topic counts as missing; a new one has no leader at first."""
PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event and its place on Kafka."""

    topic: str
    partition: int
    offset: int
    envelope: Envelope

    @property
    def place(self) -> str:
        """The place as `topic/partition/offset`."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class Tail:
    """Records of the topics that a consumer is reading, as they arrive."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def records(self) -> AsyncIterator[StoredRecord]:
        """Yield every record."""
        async for record in self._consumer:
            yield record

    async def events(self) -> AsyncIterator[ReceivedEvent]:
        """Yield events; records that are not events are skipped."""
        async for record in self._consumer:
            event = _to_event(record)
            if event is not None:
                yield event


class KafkaClient:
    """The consumer, the producer and the admin client of one command, each opened when first needed.

    One set of partitions is read at a time, because every method that reads assigns them to the one consumer.
    """

    def __init__(self, servers: str, opened: AsyncExitStack, security: KafkaSecurity | None = None) -> None:
        """Create a client without any connection.

        Args:
            servers: Bootstrap servers of Kafka.
            opened: Closes the connections that the client has opened.
            security: Login and encryption; none if None.
        """
        self.servers = servers
        self.options = {"bootstrap_servers": servers, **client_options(security)}
        """Keyword arguments with which every client of aiokafka connects."""
        self._opened = opened
        self._consumer: AIOKafkaConsumer | None = None
        self._producer: AIOKafkaProducer | None = None
        self._admin: AIOKafkaAdminClient | None = None

    async def admin(self) -> AIOKafkaAdminClient:
        """Return the admin client."""
        if self._admin is None:
            self._admin = AIOKafkaAdminClient(**self.options)
            await self._start(self._admin.start, self._admin.close)
        return self._admin

    async def partitions(self, topics: Iterable[str]) -> list[TopicPartition]:
        """Return every partition of topics.

        Raises:
            MissingTopicError: A topic does not exist or still has no leader.
        """
        wanted = set(topics)
        missing = wanted
        admin = await self.admin()
        for _ in range(ATTEMPTS):
            # All topics are described: naming one that does not exist could create it.
            described = {each["topic"]: each["partitions"] for each in await admin.describe_topics()}
            missing = {topic for topic in wanted if not _has_leaders(described.get(topic, []))}
            if not missing:
                return sorted(
                    TopicPartition(topic, each["partition"]) for topic in wanted for each in described[topic]
                )
            await asyncio.sleep(PAUSE_S)
        names = ", ".join(sorted(missing))
        raise MissingTopicError(f"Kafka has no topic {names}. Create it with: phonograph migrate")

    async def assign(self, partitions: Iterable[TopicPartition]) -> AIOKafkaConsumer:
        """Return the consumer with these partitions, for questions about their offsets.

        It fetches no record, because each partition is paused.
        """
        assigned = list(partitions)
        consumer = await self._started_consumer()
        consumer.assign(assigned)
        consumer.pause(*assigned)
        # A position shows that the fetcher has the new assignment. While it still drops the old one, it
        # would ignore that the consumer is stopped (aiokafka 0.14), and a reset would overtake a seek.
        for partition in assigned:
            await consumer.position(partition)
        return consumer

    async def tail(self, topics: Iterable[str], *, from_beginning: bool = False) -> Tail:
        """Return a tail that yields everything that is published after this method has returned.

        Args:
            topics: Topics to read.
            from_beginning: Yield the records that are already stored first.
        """
        partitions = await self.partitions(topics)
        consumer = await self.assign(partitions)
        find_offsets = consumer.beginning_offsets if from_beginning else consumer.end_offsets
        _seek(consumer, await find_offsets(partitions))
        return Tail(consumer)

    async def read_all(self, topics: Iterable[str]) -> list[StoredRecord]:
        """Return every record of the topics up to now, oldest first."""
        partitions = await self.partitions(topics)
        consumer = await self.assign(partitions)
        begins = await consumer.beginning_offsets(partitions)
        return await _read(consumer, begins, await consumer.end_offsets(partitions))

    async def read_one(self, topic: str, partition: int, offset: int) -> StoredRecord | None:
        """Return the record at a place, or None if Kafka does not have it.

        Args:
            topic: Topic, which must exist.
            partition: Partition, which need not exist.
            offset: Offset of the record.
        """
        place = TopicPartition(topic, partition)
        if place not in await self.partitions([topic]):
            return None
        consumer = await self.assign([place])
        begins, ends = await consumer.beginning_offsets([place]), await consumer.end_offsets([place])
        if not begins[place] <= offset < ends[place]:
            return None
        _seek(consumer, {place: offset})
        record: StoredRecord = await consumer.getone(place)
        return record if record.offset == offset else None

    async def read_between(
        self, topics: Iterable[str], since: datetime, until: datetime
    ) -> list[ReceivedEvent]:
        """Return the events that were written in a span of time, oldest first.

        Args:
            topics: Topics to read; records that are not events are skipped.
            since: Start of the span.
            until: End of the span, exclusive.
        """
        partitions = await self.partitions(topics)
        consumer = await self.assign(partitions)
        first = await consumer.offsets_for_times(dict.fromkeys(partitions, milliseconds(since)))
        after = await consumer.offsets_for_times(dict.fromkeys(partitions, milliseconds(until)))
        ends = await consumer.end_offsets(partitions)
        begins = {partition: found.offset for partition, found in first.items() if found is not None}
        ends |= {partition: found.offset for partition, found in after.items() if found is not None}
        records = await _read(consumer, begins, {partition: ends[partition] for partition in begins})
        return [event for record in records if (event := _to_event(record)) is not None]

    async def publish(self, events: Iterable[Event]) -> list[Envelope]:
        """Publish events of this command; each starts a new correlation."""
        tracing = Tracing(SOURCE, os.environ.get(OTLP_ENDPOINT))
        with ExitStack() as spans:
            envelopes = [spans.enter_context(_traced(tracing, event)) for event in events]
            await self.send(wrapped.to_record() for wrapped in envelopes)
        await tracing.aclose()
        return envelopes

    async def send(self, records: Iterable[Record]) -> list[str]:
        """Send records unchanged and return the place of each as `topic/partition/offset`."""
        producer = await self._started_producer()
        places = await asyncio.gather(*[await _enqueue(producer, record) for record in records])
        return [f"{place.topic}/{place.partition}/{place.offset}" for place in places]

    async def _started_consumer(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            # One that passes over what it cannot read: no command may stop at a broken batch.
            self._consumer = IsolatingConsumer(
                **self.options,
                # Applies where a record was deleted before it was fetched: "latest" would skip the rest.
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                # Kafka answers the requests of a connection in order: the next one waits for this one.
                fetch_max_wait_ms=FETCH_WAIT_MS,
                max_partition_fetch_bytes=MAX_RECORD_BYTES,
            )
            await self._start(self._consumer.start, self._consumer.stop)
        return self._consumer

    async def _started_producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                **self.options,
                enable_idempotence=True,
                compression_type="gzip",
                max_request_size=MAX_RECORD_BYTES,
            )
            await self._start(self._producer.start, self._producer.stop)
        return self._producer

    async def _start(self, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]) -> None:
        # Registered first, because a connection that fails to start must be stopped too.
        self._opened.push_async_callback(stop)
        await start()


@asynccontextmanager
async def connect(servers: str, security: KafkaSecurity | None = None) -> AsyncIterator[KafkaClient]:
    """Connect to Kafka until the end of the block.

    Args:
        servers: Bootstrap servers of Kafka.
        security: Login and encryption; none if None.

    Raises:
        AccessRefusedError: Kafka refuses the login, the certificate or a request.
        UnavailableError: Kafka cannot be reached, or fails.
    """
    try:
        async with AsyncExitStack() as opened:
            yield KafkaClient(servers, opened, security)
    except NOT_PERMITTED as error:
        raise AccessRefusedError(f"Kafka does not permit it: {error}. Ask its administrator.") from error
    except (KafkaError, ConnectionError) as error:
        await check_access(servers, security)
        raise UnavailableError(str(error), server="Kafka") from error


def milliseconds(moment: datetime) -> int:
    """Return a time as Kafka counts it: milliseconds since 1970."""
    return int(moment.timestamp() * 1000)


def _seek(consumer: AIOKafkaConsumer, begins: Offsets) -> None:
    for partition, offset in begins.items():
        consumer.seek(partition, offset)
    consumer.resume(*begins)


async def _read(consumer: AIOKafkaConsumer, begins: Offsets, ends: Offsets) -> list[StoredRecord]:
    _seek(consumer, begins)
    records: list[StoredRecord] = []
    for partition, end in ends.items():
        while await consumer.position(partition) < end:
            for batch in (await consumer.getmany(partition, timeout_ms=POLL_MS)).values():
                records.extend(record for record in batch if record.offset < end)
    return sorted(
        records, key=lambda record: (record.timestamp, record.topic, record.partition, record.offset)
    )


def _has_leaders(partitions: list[dict[str, int]]) -> bool:
    return bool(partitions) and all(each["leader"] >= 0 for each in partitions)


async def _enqueue(producer: AIOKafkaProducer, record: Record) -> Awaitable[RecordMetadata]:
    delivery: Awaitable[RecordMetadata]
    headers = list(record.headers)
    if record.key is None and record.value is None:  # Kafka accepts it, but `send` of aiokafka does not
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=None, headers=headers)
        partitions = await producer.partitions_for(record.topic)
        delivery = await producer.send_batch(batch, record.topic, partition=min(partitions))
    else:
        delivery = await producer.send(record.topic, value=record.value, key=record.key, headers=headers)
    return delivery


@contextmanager
def _traced(tracing: Tracing, event: Event) -> Iterator[Envelope]:
    """Wrap an event under a span that starts a trace, if there is a collector."""
    wrapped = envelope(event, source=SOURCE)
    attributes = {"messaging.destination.name": event.TOPIC, "messaging.message.id": wrapped.id}
    with tracing.step(f"publish {event.TOPIC}", "producer", None, attributes) as step:
        yield wrapped.model_copy(update={"traceparent": step.traceparent})


def _to_event(record: StoredRecord) -> ReceivedEvent | None:
    try:
        wrapped = parse(record.value, record.headers)
    except EventError:
        return None
    return ReceivedEvent(record.topic, record.partition, record.offset, wrapped)
