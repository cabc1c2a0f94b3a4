"""Replays every event from Kafka, without a consumer group."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

import structlog
from aiokafka import ConsumerRecord, TopicPartition

from phonograph_events import MAX_MESSAGE_BYTES
from phonograph_graph_sync.domain.batches import Partition
from phonograph_graph_sync.exceptions import RebuildError
from phonograph_runtime.broker import REQUEST_TIMEOUT_MS
from phonograph_runtime.errors import UnavailableError
from phonograph_runtime.isolation import IsolatingConsumer
from phonograph_runtime.kafka_access import client_options
from phonograph_runtime.kafka_security import KafkaSecurity

MAX_SILENCE_S = 60
"""Time without a record after which a replay fails."""
POLL_MS = 1000
MAX_RETRY_S = 300
"""Time for which one batch is tried while the graph is unavailable."""

Consume = Callable[[Sequence["ConsumerRecord[bytes | None, bytes | None]"]], Awaitable[None]]

logger = structlog.get_logger()


class KafkaReplay:
    """See `phonograph_graph_sync.domain.ports.EventReplay`."""

    def __init__(
        self,
        servers: str,
        topics: Sequence[str],
        consume: Consume,
        *,
        batch_size: int,
        security: KafkaSecurity | None = None,
    ) -> None:
        """Create the consumer; `async with` connects it.

        Args:
            servers: Bootstrap servers of Kafka, separated by commas.
            topics: Topics to replay.
            consume: Processes a batch of records.
            batch_size: Maximum number of records in a batch.
            security: Login and encryption; none if None.
        """
        self._consume = consume
        self._batch_size = batch_size
        self._consumer = IsolatingConsumer(
            *topics,
            bootstrap_servers=servers.split(","),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
            **client_options(security),
        )

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def partitions(self) -> list[Partition]:
        """See `EventReplay.partitions`."""
        return sorted(Partition(each.topic, each.partition) for each in self._consumer.assignment())

    async def replay(self) -> int:
        """See `EventReplay.replay`."""
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        replayed = 0
        while records := await self._fetch(ends):
            await self._apply(records)
            replayed += len(records)
            logger.info("events replayed", events=replayed)
        return replayed

    async def _has_more(self, ends: dict[TopicPartition, int]) -> bool:
        for partition, end in ends.items():
            if end > 0 and await self._consumer.position(partition) < end:
                return True
        return False

    async def _fetch(
        self, ends: dict[TopicPartition, int]
    ) -> list["ConsumerRecord[bytes | None, bytes | None]"]:
        """Return the next records; none at the ends, where there may be only markers of transactions."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MAX_SILENCE_S
        while await self._has_more(ends):
            found = await self._consumer.getmany(timeout_ms=POLL_MS, max_records=self._batch_size)
            if found:
                return [record for records in found.values() for record in records]
            if loop.time() > deadline:
                raise RebuildError(
                    f"Kafka returned no record for {MAX_SILENCE_S} s: check Kafka, then rebuild again."
                )
        return []

    async def _apply(self, records: Sequence["ConsumerRecord[bytes | None, bytes | None]"]) -> None:
        """Process a batch; try again while the graph is unavailable."""
        try:
            async with asyncio.timeout(MAX_RETRY_S):
                while True:
                    try:
                        await self._consume(records)
                    except UnavailableError:
                        continue  # `consume` has paused before it raised
                    return
        except TimeoutError as error:
            raise RebuildError(
                f"The graph could not be written for {MAX_RETRY_S} s: check Neo4j, then rebuild again."
            ) from error
