"""The Kafka side of a service, with the only settings under which no event is lost.

Every choice below follows from a measurement in docs/decisions/0001-delivery.md; 0004-faststream.md says what
the framework does and what is done here instead.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, Self

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import ConsumerStoppedError, KafkaError, TopicAlreadyExistsError
from faststream import AckPolicy, Context
from faststream.kafka import KafkaBroker, Topic
from faststream.kafka.message import KafkaAckableMessage
from faststream.message import AckStatus
from prometheus_client import Counter
from typing_extensions import override

from phonograph_events import MAX_MESSAGE_BYTES, TOPICS, TopicConfig
from phonograph_runtime import metrics
from phonograph_runtime.isolation import IsolatingConsumer
from phonograph_runtime.kafka_access import broker_options, client_options
from phonograph_runtime.kafka_security import KafkaSecurity

SESSION_TIMEOUT_MS = 6_000
"""Partitions of a killed copy stay unassigned for this long plus 1–2 s; it is the broker's minimum."""
COMMIT_WITHIN_S = 20.0
"""Time that a rebalance waits for the batch in hand; with 5 s a loaded machine consumed 15 % twice."""
REBALANCE_TIMEOUT_MS = 30_000
REQUEST_TIMEOUT_MS = 60_000  # must exceed the rebalance timeout: JoinGroup is sent under it
GRACE_S = 20.0
STOP_TIMEOUT_S = GRACE_S + 3

logger = structlog.get_logger()

Records = tuple["ConsumerRecord[bytes | None, bytes | None]", ...]
Consume = Callable[[Sequence["ConsumerRecord[bytes | None, bytes | None]"]], Awaitable[None]]


def make_broker(kafka_bootstrap_servers: str, security: KafkaSecurity | None = None) -> KafkaBroker:
    """Return a broker that redelivers a batch after any failure, and leaves validation to the handler."""
    return KafkaBroker(
        kafka_bootstrap_servers.split(","),
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        serializer=None,
        graceful_timeout=GRACE_S,
        logger=logging.getLogger("faststream.kafka"),
        **broker_options(security),
    )


class Assignment(ConsumerRebalanceListener):
    """Follows the rebalances of the group, and lets the batch in hand be committed before each."""

    def __init__(self) -> None:
        self.is_joining = True
        self._idle = asyncio.Event()
        self._idle.set()
        self._committing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def in_hand(self) -> AsyncIterator[None]:
        """Mark the block as the processing of a batch."""
        self._idle.clear()
        try:
            yield
        finally:
            self._idle.set()

    async def commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """Start a commit after the previous one has ended; the next batch need not wait for Kafka.

        Args:
            consumer: The client that holds the partitions.
            offsets: Next offset of each partition.
        """
        await self.wait_for_commit()
        self._committing = asyncio.create_task(_commit(consumer, offsets))

    async def wait_for_commit(self) -> None:
        """Wait until no commit is in progress."""
        if self._committing is not None:
            await asyncio.wait([self._committing])

    async def on_partitions_revoked(self, _revoked: set[TopicPartition]) -> None:
        """Finish and commit the batch in hand; aiokafka calls it before it joins the group again."""
        self.is_joining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMIT_WITHIN_S):
                await self._idle.wait()
                await self.wait_for_commit()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Record the new assignment, which may be empty; aiokafka calls it when the group has agreed."""
        self.is_joining = False
        metrics.CONSUMER_REBALANCES.inc()
        metrics.CONSUMER_ASSIGNED_PARTITIONS.set(len(assigned))


async def _commit(consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
    try:
        await consumer.commit(offsets)
    except KafkaError as error:  # the events are redelivered, and the inbox recognizes them
        metrics.CONSUMER_COMMIT_FAILURES.inc()
        logger.warning("offsets not committed", error=repr(error))


class RecordBatch(KafkaAckableMessage):
    """The records of one poll, as FastStream's message.

    Nothing is decoded here, so creating it cannot fail: FastStream would skip a batch whose parser raises,
    and its own parser raises on a header that is not UTF-8.
    """

    def __init__(self, records: Records, consumer: IsolatingConsumer, assignment: Assignment) -> None:
        """Create the message.

        Args:
            records: At least one record, in the order of the poll.
            consumer: The client that holds the partitions.
            assignment: Commits the offsets.
        """
        super().__init__(raw_message=records, body=records, consumer=consumer)
        self.records = records
        self._ends = consumer.ends
        self._assignment = assignment

    @override
    async def ack(self) -> None:
        """Start to commit the ends of the batch; FastStream's version waits and commits all positions."""
        if self.committed is None:
            await self._assignment.commit(self.consumer, self._ends)
            self.committed = AckStatus.ACKED


class ErrorCounter(logging.Handler):
    """Counts the errors that the Kafka clients only log."""

    def __init__(self, counter: Counter, level: int) -> None:
        super().__init__(level)
        self._counter = counter

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._counter.inc()


def count_client_errors() -> None:
    """Count the errors of the Kafka clients from now on."""
    logging.getLogger("aiokafka").addHandler(ErrorCounter(metrics.CONSUMER_KAFKA_ERRORS, logging.ERROR))


class Subscription:
    """The subscription of a consumer group: one batch is one call, committed after the call has returned.

    An asynchronous context manager; at its end the batch in hand is finished and the group is left.
    """

    def __init__(
        self,
        kafka_bootstrap_servers: str,
        consume: Consume,
        topics: Sequence[str],
        *,
        group: str,
        batch_size: int,
        instance: str | None = None,
        security: KafkaSecurity | None = None,
    ) -> None:
        """Create the subscription; it consumes inside its `async with` block.

        Args:
            kafka_bootstrap_servers: Comma-separated `host:port`.
            consume: Processes one batch; if it raises, the batch is redelivered.
            topics: Names of the topics.
            group: Consumer group.
            batch_size: Most records of a batch.
            instance: Name of this copy that survives restarts (static membership).
            security: Login and encryption; none if None.
        """
        self._broker = make_broker(kafka_bootstrap_servers, security)
        self._assignment = Assignment()
        self._is_stopping = False
        self._subscriber = self._broker.subscriber(
            *(Topic(name, declare=False) for name in topics),  # FastStream would create it with one partition
            parser=self._parse,
            decoder=_decode,
            group_id=group,
            group_instance_id=instance,
            batch=True,
            max_records=batch_size,
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=SESSION_TIMEOUT_MS // 4,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            max_poll_interval_ms=300_000,
            max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
            listener=self._assignment,
        )

        @self._subscriber
        async def handle(records: Records, batch: Annotated[RecordBatch, Context("message")]) -> None:
            async with self._assignment.in_hand():
                await consume(records)
                await batch.ack()  # inside the block, so that a rebalance waits for this commit
                if self._is_stopping:
                    await self._assignment.wait_for_commit()

    async def _parse(self, records: Records) -> RecordBatch:
        consumer = self._consumer
        if consumer is None:
            raise ConsumerStoppedError
        return RecordBatch(records, consumer, self._assignment)

    async def __aenter__(self) -> Self:
        try:
            await self._broker.connect()
            # FastStream has no parameter for the class of its consumer; its own test client sets the builder.
            connection = self._broker.config.broker_config
            builder: Any = connection.builder
            connection.builder = partial(IsolatingConsumer, **builder.keywords)
            await self._broker.start()
        except BaseException:
            await self._stop_broker()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, within a time limit: a client that hangs may never answer."""
        self._is_stopping = True
        await self._stop_broker()
        metrics.CONSUMER_ASSIGNED_PARTITIONS.set(0)

    async def _stop_broker(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_TIMEOUT_S - GRACE_S):
                        await self._assignment.wait_for_commit()
                await self._broker.stop()

    @property
    def is_joining(self) -> bool:
        """Whether the group has not agreed on an assignment yet."""
        return self._assignment.is_joining

    @property
    def _consumer(self) -> IsolatingConsumer | None:
        consumer: IsolatingConsumer | None = self._subscriber.consumer
        return consumer

    def suspect(self, partition: TopicPartition) -> None:
        """Examine what is stored at the position of a partition from which nothing arrives."""
        if self._consumer is not None:
            self._consumer.suspect(partition)

    async def lag(self) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """Return the number of waiting records and the position of each partition of this copy.

        Raises:
            KafkaError: If Kafka does not answer.
        """
        consumer = self._consumer
        partitions = [] if consumer is None else list(consumer.assignment())
        if consumer is None or not partitions:
            return {}, {}
        ends = await consumer.end_offsets(partitions)
        positions = {partition: await consumer.position(partition) for partition in partitions}
        lag = {partition: max(ends[partition] - positions[partition], 0) for partition in partitions}
        return lag, positions


async def _decode(batch: RecordBatch) -> Records:
    """Return the records; `EventConsumer` decodes each by itself, because a bad one must fail no other."""
    return batch.records


async def create_topics(kafka_bootstrap_servers: str, security: KafkaSecurity | None = None) -> list[str]:
    """Create missing topics and their dead-letter topics; return the names of the new ones."""
    admin = AIOKafkaAdminClient(
        bootstrap_servers=kafka_bootstrap_servers,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **client_options(security),
    )
    await admin.start()
    try:
        present = set(await admin.list_topics())
        wanted = [config for topic in TOPICS.values() for config in topic.configs]
        missing = [_new_topic(config) for config in wanted if config.name not in present]
        if missing:
            try:
                await admin.create_topics(missing)
            except TopicAlreadyExistsError:  # another process was quicker
                return []
        return [topic.name for topic in missing]
    finally:
        await admin.close()


def _new_topic(config: TopicConfig) -> NewTopic:
    return NewTopic(
        name=config.name,
        num_partitions=config.partitions,
        replication_factor=1,
        topic_configs=dict(config.config),
    )
