"""Reads every event from Kafka once, without a consumer group."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from phonograph_events import MAX_MESSAGE_BYTES
from phonograph_graph_sync.domain.position import Partition
from phonograph_graph_sync.exceptions import RebuildError
from phonograph_runtime.broker import REQUEST_TIMEOUT_MS
from phonograph_runtime.errors import UnavailableError

SILENCE_S = 60
PATIENCE_S = 300

Consume = Callable[[Sequence["ConsumerRecord[bytes | None, bytes | None]"]], Awaitable[None]]

logger = structlog.get_logger()


class KafkaLog:
    """See `phonograph_graph_sync.domain.ports.EventLog`."""

    def __init__(self, servers: str, topics: Sequence[str], consume: Consume, *, batch_size: int) -> None:
        self._consume = consume
        self._batch_size = batch_size
        self._consumer = AIOKafkaConsumer(
            *topics,
            bootstrap_servers=servers.split(","),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
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
        """See `EventLog.partitions`."""
        return sorted(Partition(place.topic, place.partition) for place in self._consumer.assignment())

    async def replay(self) -> int:
        """See `EventLog.replay`.

        Raises:
            RebuildError: Kafka or the graph fell silent for minutes.
        """
        ends = await self._consumer.end_offsets(self._consumer.assignment())
        taken = 0
        while await self._behind(ends):
            records = await self._next()
            await self._persist(records)
            taken += len(records)
            logger.info("replaying", events=taken)
        return taken

    async def _behind(self, ends: dict[TopicPartition, int]) -> bool:
        for place, end in ends.items():
            if end > 0 and await self._consumer.position(place) < end:
                return True
        return False

    async def _next(self) -> list["ConsumerRecord[bytes | None, bytes | None]"]:
        found = await self._consumer.getmany(timeout_ms=SILENCE_S * 1000, max_records=self._batch_size)
        if not found:
            raise RebuildError(f"Kafka gave nothing for {SILENCE_S} s: look at it, then rebuild again.")
        return [record for records in found.values() for record in records]

    async def _persist(self, records: Sequence["ConsumerRecord[bytes | None, bytes | None]"]) -> None:
        """Hand a batch over, again and again while the graph is away."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    try:
                        await self._consume(records)
                    except UnavailableError:
                        continue
                    return
        except TimeoutError as error:
            raise RebuildError(
                f"The graph could not be written for {PATIENCE_S} s: look at Neo4j, then rebuild again."
            ) from error
