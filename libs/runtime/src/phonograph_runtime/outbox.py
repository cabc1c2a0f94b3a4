"""Publishes the outbox: one active relay per service, batches, an idempotent producer."""

import asyncio
import time
from collections.abc import Awaitable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from sqlalchemy import Row, text
from sqlalchemy.dialects.postgresql import JSONB

from phonograph_events import BODY_HEADER, DEAD_LETTER_SUFFIX, MAX_DEAD_LETTER_BYTES
from phonograph_runtime import metrics
from phonograph_runtime.database import (
    OUTBOX_CHANNEL,
    Database,
    Listener,
    decode_headers,
    is_unavailable,
)
from phonograph_runtime.kafka_access import client_options
from phonograph_runtime.kafka_security import KafkaSecurity
from phonograph_runtime.tracing import OFF, Step, Tracing

RELAY_BATCH = 500
STOP_WITHIN_S = 10.0
"""Time that a stopping service allows for the batch in hand."""

logger = structlog.get_logger()


class OutboxRelay:
    """Sends the records of the outbox in their order.

    Only the holder of an advisory lock sends, which keeps the order of a key with several processes. It reads
    `published_at IS NULL` rather than remembering a position: a transaction that took a lower number and
    commits later is still found.
    """

    def __init__(
        self,
        database: Database,
        listener: Listener,
        *,
        kafka_bootstrap_servers: str,
        tracing: Tracing = OFF,
        security: KafkaSecurity | None = None,
    ) -> None:
        """Create the relay.

        Args:
            database: Connections of the service.
            listener: Wakes the relay when records are added.
            kafka_bootstrap_servers: Comma-separated `host:port`.
            tracing: Where spans are sent.
            security: Login to Kafka and encryption; none if None.
        """
        self._security = security
        self._database = database
        self._tracing = tracing
        self._listener = listener
        self._servers = kafka_bootstrap_servers

    async def run(self) -> None:
        """Relay until cancelled; continue after failures of either server."""
        while True:
            try:
                await self._lead()
            except KafkaError as error:
                metrics.OUTBOX_PUBLISH_FAILURES.inc()
                logger.warning("relay interrupted", error=repr(error))
            except Exception as error:
                if not is_unavailable(error):
                    raise
                logger.warning("relay interrupted", error=repr(error))
            finally:
                metrics.OUTBOX_LEADER.set(0)
            await asyncio.sleep(1)

    async def _lead(self) -> None:
        async with self._database.advisory_lock(f"{self._database.source}.outbox") as connection:
            if connection is None:
                return
            # A frozen leader must not keep the lock: this connection is used every second.
            await connection.execute(text("SET idle_session_timeout = '30s'"))
            metrics.OUTBOX_LEADER.set(1)
            async with AIOKafkaProducer(
                bootstrap_servers=self._servers,
                enable_idempotence=True,
                acks="all",
                linger_ms=5,
                compression_type="gzip",
                max_request_size=MAX_DEAD_LETTER_BYTES,
                **client_options(self._security),
            ) as producer:
                while True:
                    if not await self._finish_batch(producer):
                        await self._listener.wait(OUTBOX_CHANNEL, 1.0)
                    await connection.execute(text("SELECT 1"))

    async def _finish_batch(self, producer: AIOKafkaProducer) -> bool:
        """Send a batch to its end even if the service stops: records sent but not marked are sent again."""
        sending = asyncio.create_task(self._send_batch(producer))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            await asyncio.wait([sending], timeout=STOP_WITHIN_S)
            raise

    async def _send_batch(self, producer: AIOKafkaProducer) -> bool:
        """Send up to 500 records; return whether there may be more."""
        async with self._database.transaction() as transaction:
            rows = (await transaction.session.execute(_WAITING, {"most": RELAY_BATCH})).all()
            if not rows:
                return False
            started = time.monotonic()
            with ExitStack() as spans:
                if self._tracing.on:
                    for row in rows:
                        spans.enter_context(self._traced(row))
                # All are handed over in order before the first is waited for: the producer batches them.
                sends = [await _send(producer, row, row.value) for row in rows]
                await asyncio.gather(*(_confirm(producer, *sent) for sent in zip(rows, sends, strict=True)))
            delivery_s = time.monotonic() - started
            await transaction.session.execute(_MARK, {"sent": [row.seq for row in rows]})
        for row in rows:
            metrics.OUTBOX_DELIVERY_SECONDS.observe(max(row.age_s, 0.0) + delivery_s)
        metrics.OUTBOX_PUBLISHED.inc(len(rows))
        return len(rows) == RELAY_BATCH

    def _traced(self, row: Row[Any]) -> AbstractContextManager[Step]:
        headers = dict(row.headers)
        attributes = {
            "messaging.system": "kafka",
            "messaging.destination.name": row.topic,
            "messaging.message.id": str(headers.get("ce_id")),
            "phonograph.outbox.waited_s": row.age_s,
        }
        traceparent = headers.get("traceparent")  # that of a dead letter may be any bytes
        parent = traceparent if isinstance(traceparent, str) else None
        return self._tracing.step(f"publish {row.topic}", "producer", parent, attributes)


async def _send(
    producer: AIOKafkaProducer, row: Row[Any], value: bytes | None, *more: tuple[str, bytes]
) -> Awaitable[Any]:
    """Hand a record to the producer; return what completes when Kafka has stored it."""
    headers = [*decode_headers(row.headers), *more]
    delivery: Awaitable[Any]
    if row.key is None and value is None:  # Kafka accepts it, aiokafka's `send` does not
        batch = producer.create_batch()
        batch.append(key=None, value=None, timestamp=None, headers=headers)
        partitions = await producer.partitions_for(row.topic)
        delivery = await producer.send_batch(batch, row.topic, partition=min(partitions))
    else:
        delivery = await producer.send(row.topic, value=value, key=row.key, headers=headers)
    return delivery


async def _confirm(producer: AIOKafkaProducer, row: Row[Any], delivery: Awaitable[Any]) -> None:
    """Wait for Kafka. A dead letter too large for its topic is sent without its body; the table keeps it."""
    try:
        await delivery
    except MessageSizeTooLargeError:
        if not row.topic.endswith(DEAD_LETTER_SUFFIX):
            raise
        await (await _send(producer, row, None, (BODY_HEADER, b"too large")))


_WAITING = text("""
    SELECT seq, topic, key, value, headers,
           CAST(extract(epoch FROM clock_timestamp() - created_at) AS float) AS age_s
    FROM outbox WHERE published_at IS NULL ORDER BY seq LIMIT :most
""").columns(headers=JSONB)
_MARK = text("UPDATE outbox SET published_at = clock_timestamp() WHERE seq = ANY(CAST(:sent AS bigint[]))")
