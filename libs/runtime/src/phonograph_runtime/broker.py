"""The Kafka side of a service, with the only settings under which nothing is lost.

Every choice below is a measured fact; docs/decisions/0001-delivery.md has the table.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.message import StreamMessage

from phonograph_events import TOPICS, dead_letter_topic

REBALANCE_TIMEOUT_MS = 30_000
REQUEST_TIMEOUT_MS = 60_000  # must exceed the rebalance timeout: JoinGroup is sent under it
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
DEAD_LETTER_RETENTION_MS = 30 * 24 * 3600 * 1000

Consume = Callable[[Sequence["ConsumerRecord[bytes | None, bytes | None]"]], Awaitable[None]]


def make_broker(kafka_bootstrap_servers: str) -> KafkaBroker:
    """A broker that hands raw bytes to the runtime: one bad body must not fail its batch."""
    return KafkaBroker(
        kafka_bootstrap_servers.split(","),
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        decoder=_raw,
        graceful_timeout=25,
        logger=logging.getLogger("faststream.kafka"),
    )


def subscribe(
    broker: KafkaBroker, consume: Consume, topics: Sequence[str], *, group: str, batch_size: int
) -> Any:
    """Subscribe a group to topics; one batch is one call, its offsets are committed when the call returns."""
    subscriber = broker.subscriber(
        *topics,
        group_id=group,
        batch=True,
        max_records=batch_size,
        auto_offset_reset="earliest",
        session_timeout_ms=30_000,
        heartbeat_interval_ms=3_000,
        rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        max_poll_interval_ms=300_000,
        max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
    )

    @subscriber
    async def handle(message: KafkaMessage) -> None:
        raw = message.raw_message
        await consume(raw if isinstance(raw, tuple) else (raw,))

    return subscriber


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
        wanted = []
        for topic in TOPICS.values():
            retention_ms = -1 if topic.retention is None else int(topic.retention.total_seconds() * 1000)
            wanted.append(_new_topic(topic.name, topic.partitions, retention_ms))
            wanted.append(_new_topic(dead_letter_topic(topic.name), 1, DEAD_LETTER_RETENTION_MS))
        missing = [topic for topic in wanted if topic.name not in present]
        if missing:
            try:
                await admin.create_topics(missing)
            except TopicAlreadyExistsError:  # another process was quicker
                return []
        return [topic.name for topic in missing]
    finally:
        await admin.close()


def _new_topic(name: str, partitions: int, retention_ms: int) -> NewTopic:
    return NewTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=1,
        topic_configs={"retention.ms": str(retention_ms), "max.message.bytes": str(MAX_MESSAGE_BYTES)},
    )
