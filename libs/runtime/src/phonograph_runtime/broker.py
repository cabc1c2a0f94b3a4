"""The Kafka side of a service, with the only settings under which nothing is lost.

Every choice below is a measured fact; docs/decisions/0001-delivery.md has the table.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.message import AckStatus, StreamMessage
from prometheus_client import Counter
from typing_extensions import override

from phonograph_events import MAX_MESSAGE_BYTES, TOPICS, TopicConfig
from phonograph_runtime import metrics

SESSION_TIMEOUT_MS = 6_000
"""A killed copy's partitions rest for so long and 1–2 s more; brokers allow no less."""
COMMIT_WITHIN_S = 20.0
"""A batch in hand is finished before its partitions go: with 5 s a machine under load took 15 % again."""
REBALANCE_TIMEOUT_MS = 30_000
REQUEST_TIMEOUT_MS = 60_000  # must exceed the rebalance timeout: JoinGroup is sent under it
GRACE_S = 20.0
STOP_TIMEOUT_S = GRACE_S + 5

_log = structlog.get_logger()

Consume = Callable[[Sequence["ConsumerRecord[bytes | None, bytes | None]"]], Awaitable[None]]


def make_broker(kafka_bootstrap_servers: str) -> KafkaBroker:
    """A broker that hands raw records to the runtime: one bad body or header must not fail its batch."""
    return KafkaBroker(
        kafka_bootstrap_servers.split(","),
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        parser=_unread,
        decoder=_raw,
        graceful_timeout=GRACE_S,
        logger=logging.getLogger("faststream.kafka"),
    )


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Notices when partitions are taken away and given out again, and lets a batch be committed before."""

    def __init__(self) -> None:
        self.joining = True
        self._idle = asyncio.Event()
        self._idle.set()
        self._committing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def in_hand(self) -> AsyncIterator[None]:
        """A batch is taken inside of this block."""
        self._idle.clear()
        try:
            yield
        finally:
            self._idle.set()

    async def commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """Begin to commit, after what was begun before: the next batch need not wait for Kafka."""
        await self.committed()
        self._committing = asyncio.create_task(_commit(consumer, offsets))

    async def committed(self) -> None:
        """Wait until nothing is being committed."""
        if self._committing is not None:
            await asyncio.wait([self._committing])

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:  # noqa: ARG002  # aiokafka's
        """Called before the group is joined: what is not committed by then comes again."""
        self.joining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMIT_WITHIN_S):
                await self._idle.wait()
                await self.committed()

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Called once the group agrees; there may be nothing left for this copy."""
        self.joining = False
        metrics.CONSUMER_REBALANCES.inc()
        metrics.CONSUMER_ASSIGNED_PARTITIONS.set(len(assigned))


async def _commit(consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
    try:
        await consumer.commit(offsets)
    except KafkaError as error:  # what is not committed comes again, and the inbox knows it
        metrics.CONSUMER_COMMIT_FAILURES.inc()
        _log.warning("offsets not committed", error=repr(error))


class ErrorCounter(logging.Handler):
    """Counts what Kafka's clients only log."""

    def __init__(self, counter: Counter, level: int) -> None:
        super().__init__(level)
        self._counter = counter

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._counter.inc()


def count_errors() -> None:
    """Count errors of the Kafka clients from now on."""
    logging.getLogger("aiokafka").addHandler(ErrorCounter(metrics.CONSUMER_KAFKA_ERRORS, logging.ERROR))


class Subscription:
    """A group's subscription to topics: one batch is one call, committed when the call returns.

    An asynchronous context manager; at its end the batch in hand is finished and the group left.
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
    ) -> None:
        self._broker = make_broker(kafka_bootstrap_servers)
        self._assignment = Assignment()
        self._ending = False
        self._subscriber = self._broker.subscriber(
            *topics,
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
        async def handle(message: KafkaMessage) -> None:
            raw = message.raw_message
            async with self._assignment.in_hand():
                records = raw if isinstance(raw, tuple) else (raw,)
                await consume(records)
                message.committed = AckStatus.ACKED  # FastStream need not
                ends = {
                    TopicPartition(record.topic, record.partition): record.offset + 1 for record in records
                }
                await self._assignment.commit(message.consumer, ends)
                if self._ending:
                    await self._assignment.committed()

    async def __aenter__(self) -> Self:
        try:
            await self._broker.start()
        except BaseException:
            await self._broker.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """A client that is wedged may never answer: it is left behind then."""
        self._ending = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_TIMEOUT_S - GRACE_S):
                        await self._assignment.committed()
                await self._broker.stop()
        metrics.CONSUMER_ASSIGNED_PARTITIONS.set(0)

    @property
    def joining(self) -> bool:
        """Whether the group has not agreed yet on who reads what."""
        return self._assignment.joining

    async def lag(self) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        """Records that wait, and the position, for each partition of this copy.

        Raises:
            KafkaError: Kafka does not answer.
        """
        consumer: AIOKafkaConsumer | None = self._subscriber.consumer
        places = [] if consumer is None else list(consumer.assignment())
        if consumer is None or not places:
            return {}, {}
        ends = await consumer.end_offsets(places)
        positions = {place: await consumer.position(place) for place in places}
        return {place: max(ends[place] - positions[place], 0) for place in places}, positions


async def _unread(
    records: tuple["ConsumerRecord[Any, Any]", ...], parse: Callable[[Any], Awaitable[StreamMessage[Any]]]
) -> StreamMessage[Any]:
    """A batch around records that nobody has read: FastStream fails it for ever on a header without UTF-8."""
    message = await parse((replace(records[0], headers=()),))
    message.raw_message = records
    return message


async def _raw(message: StreamMessage[Any]) -> Any:
    return message.body


async def create_topics(kafka_bootstrap_servers: str) -> list[str]:
    """Create the topics that are missing, with their dead-letter topics; give the names of the new ones."""
    admin = AIOKafkaAdminClient(
        bootstrap_servers=kafka_bootstrap_servers, request_timeout_ms=REQUEST_TIMEOUT_MS
    )
    await admin.start()
    try:
        present = set(await admin.list_topics())
        wanted = [layout for topic in TOPICS.values() for layout in topic.configs]
        missing = [_new_topic(layout) for layout in wanted if layout.name not in present]
        if missing:
            try:
                await admin.create_topics(missing)
            except TopicAlreadyExistsError:  # another process was quicker
                return []
        return [topic.name for topic in missing]
    finally:
        await admin.close()


def _new_topic(layout: TopicConfig) -> NewTopic:
    return NewTopic(
        name=layout.name,
        num_partitions=layout.partitions,
        replication_factor=1,
        topic_configs=dict(layout.config),
    )
