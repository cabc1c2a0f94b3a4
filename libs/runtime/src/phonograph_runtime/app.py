"""The shell around every service: start, work, answer probes, stop."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from phonograph_events import (
    TOPICS,
    Event,
    InventoryReported,
    InventoryRequested,
    JobCancelRequested,
    JobRetryRequested,
    Service,
)
from phonograph_runtime import metrics
from phonograph_runtime.broker import Subscription, count_errors
from phonograph_runtime.consumer import DROPPED, REPLAYED, E, EventConsumer, Handler, HandlerSink, Sink
from phonograph_runtime.database import JOBS_CHANNEL, OUTBOX_CHANNEL, Database, Transaction
from phonograph_runtime.errors import UnavailableError
from phonograph_runtime.jobs import CANCELLED, CANCELLED_MESSAGE, JobQueue
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.outbox import OutboxRelay
from phonograph_runtime.probes import serve_probes
from phonograph_runtime.retention import Retention
from phonograph_runtime.revisions import check_schema
from phonograph_runtime.sampling import pause_s, sample
from phonograph_runtime.settings import ServiceSettings
from phonograph_runtime.tables import JobColumns
from phonograph_runtime.tracing import Tracing
from phonograph_runtime.worker import JobKind, Worker

WATCH_INTERVAL_S = 10.0
MAX_FRUITLESS_RESTARTS = 3

Inventory = Callable[[Transaction], Awaitable[dict[str, dict[str, int]]]]
"""Gives what a service holds: for each kind of thing, its ids with their versions."""

_log = structlog.get_logger()


class ServiceApp:
    """One service: its consumer, relay, workers and probes. Built by the service's `create_app()`."""

    def __init__(
        self,
        service: Service,
        settings: ServiceSettings,
        *,
        job_table: type[JobColumns] | None = None,
        engines: str | None = None,
        sink: Sink | None = None,
    ) -> None:
        """Wire a service.

        Args:
            service: which one; also its consumer group and the source of its events.
            settings: where things are.
            job_table: its job table, if it does long work.
            engines: `module:function` that builds its engines in the child process.
            sink: where events take effect, if not by handlers in PostgreSQL.
        """
        self.service = service
        self.settings = settings
        self.database = Database(settings, source=service.value, job_table=job_table)
        self.tracing = Tracing(service.value, settings.otlp_endpoint)
        self.objects = ObjectStore(settings.object_store_url)
        self._handlers = HandlerSink(self.database)
        self.consumer = EventConsumer(
            self.database,
            sink or self._handlers,
            retry_budget=settings.retry_budget,
            fuse_consecutive=settings.fuse_consecutive,
            fuse_ratio=settings.fuse_ratio,
            tracing=self.tracing,
        )
        self._subscription: Subscription | None = None
        self._listener = self.database.listen(OUTBOX_CHANNEL, JOBS_CHANNEL)
        self._relay = OutboxRelay(
            self.database,
            self._listener,
            kafka_bootstrap_servers=settings.kafka_bootstrap_servers,
            tracing=self.tracing,
        )
        self._engines = engines
        self._kinds: dict[str, JobKind] = {}
        self.queue: JobQueue | None = None
        if job_table is not None:
            self.queue = JobQueue(
                self.database, job_table, lease=settings.lease, retry_delay=settings.retry_delay
            )
            self.on(JobRetryRequested, self._retry_job)
            self.on(JobCancelRequested, self._cancel_job)
        self._stalled = asyncio.Event()
        self._moved_at = time.monotonic()
        self._fruitless_restarts = 0
        self._recurring: list[tuple[timedelta, Callable[[Transaction], Awaitable[None]]]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []

    @property
    def topics(self) -> list[str]:
        """The topics that list this service among their consumers."""
        return [topic.name for topic in TOPICS.values() if self.service.value in topic.consumers]

    @property
    def handled(self) -> set[type[Event]]:
        """The events that have a handler."""
        return set(self._handlers.handlers)

    def on(self, event: type[E], handler: Handler[E]) -> None:
        """Call a handler for each new event of a type, inside the transaction of its batch."""
        self._handlers.handlers[event] = handler

    def job(self, kind: str, definition: JobKind) -> None:
        """Tell how jobs of a kind are read and finished."""
        self._kinds[kind] = definition

    def inventory(self, inventory: Inventory) -> None:
        """Answer `inventory-requested` with what the service holds."""

        async def report(event: InventoryRequested, transaction: Transaction) -> None:
            held = await inventory(transaction)
            key = f"inventory/{event.check_id}/{self.service.value}.json"
            uri = await self.objects.put_async(key, json.dumps(held, sort_keys=True).encode())
            await transaction.publish(
                InventoryReported(
                    media_id=event.media_id,
                    check_id=event.check_id,
                    service=self.service,
                    counts={kind: len(items) for kind, items in held.items()},
                    document_uri=uri,
                )
            )

        self.on(InventoryRequested, report)

    def every(self, interval: timedelta, action: Callable[[Transaction], Awaitable[None]]) -> None:
        """Repeat an action in a transaction of its own. Several copies of the service may do it at once."""
        self._recurring.append((interval, action))

    def on_stop(self, close: Callable[[], Awaitable[None]]) -> None:
        """Close something of the service's own at the end."""
        self._closers.append(close)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until told to stop, then finish the batch in hand and give jobs back.

        Raises:
            StaleSchemaError: the migrations have not been run.
        """
        url = self.settings.database_url.get_secret_value()
        await check_schema(url, self.settings.migrations / self.service.value)
        tasks = [
            asyncio.create_task(task, name=name)
            for name, task in {
                "listener": self._listener.run(),
                "relay": self._relay.run(),
                "retention": Retention(self.database, self.settings).run(),
                "consumer watch": self._watch_consumer(),
                "database watch": self._watch_database(),
                "probes": serve_probes(
                    self.settings.http_host,
                    self.settings.http_port,
                    liveness_failure=self.liveness_failure,
                    readiness_failure=self.readiness_failure,
                ),
                **{f"recurring {n}": self._repeat(*each) for n, each in enumerate(self._recurring)},
                **{f"worker {number}": worker.run() for number, worker in enumerate(self._workers())},
            }.items()
        ]
        self._initialize_metrics()
        stopping = asyncio.create_task(stop.wait(), name="stop")
        consuming = asyncio.create_task(self._consume(), name="consumer")
        try:
            done, _ = await asyncio.wait([stopping, consuming, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                await task
        finally:
            self.consumer.stop()
            await _ended(stopping, consuming, *tasks)
            for close in self._closers:
                await close()
            await self.database.aclose()
            await self.tracing.aclose()
            _log.info("service stopped")

    def _initialize_metrics(self) -> None:
        """Let every counter begin at 0: the first event of a series that is born with 1 is no increase."""
        count_errors()
        for topic in self.topics:
            metrics.EVENT_LATENCY_SECONDS.labels(topic)
            for result in ("ok", "duplicate", "retry", "parked", "foreign"):
                metrics.EVENTS_CONSUMED.labels(topic, result)
        for resolution in (REPLAYED, DROPPED):
            metrics.DLQ_RESOLVED.labels(resolution)

    async def _consume(self) -> None:
        """Take events until cancelled; begin anew whenever the consumer stands still.

        Raises:
            KafkaError: Kafka did not answer when the service started.
        """
        began = False
        while True:
            subscription = Subscription(
                self.settings.kafka_bootstrap_servers,
                self.consumer.consume,
                self.topics,
                group=self.service.value,
                batch_size=self.settings.batch_size,
                instance=self.settings.instance,
            )
            self._moved_at = time.monotonic()
            self._stalled.clear()
            try:
                async with subscription:
                    began, self._subscription = True, subscription
                    _log.info("consumer started", topics=self.topics)
                    await self._stalled.wait()
            except (KafkaError, OSError) as error:
                if not began:
                    raise
                _log.warning("consumer not begun anew: Kafka is away", error=str(error))
                await asyncio.sleep(1)
            else:
                metrics.CONSUMER_RESTARTS.inc()
                self._fruitless_restarts += 1

    def _workers(self) -> list[Worker]:
        if self.queue is None or self._engines is None:
            return []
        return [
            Worker(
                self.database,
                self.queue,
                self._listener,
                self._kinds,
                engines=self._engines,
                settings_json=self.settings.model_dump_json(),
                lease=self.settings.lease,
                job_timeout=self.settings.job_timeout,
                engine_silence=self.settings.engine_silence,
                idle_unload=self.settings.idle_unload,
                tracing=self.tracing,
            )
            for _ in range(self.settings.workers)
        ]

    async def _repeat(self, interval: timedelta, action: Callable[[Transaction], Awaitable[None]]) -> None:
        while True:
            try:
                async with self.database.transaction() as transaction:
                    await action(transaction)
            except (UnavailableError, SQLAlchemyError) as error:
                _log.warning("recurring action failed", action=action.__name__, error=str(error))
            await asyncio.sleep(interval.total_seconds() * random.uniform(0.9, 1.1))  # noqa: S311  # jitter

    async def _retry_job(self, event: JobRetryRequested, transaction: Transaction) -> None:
        if self.queue is not None and event.service == self.service:
            await self.queue.retry(transaction, event.job_id)

    async def _cancel_job(self, event: JobCancelRequested, transaction: Transaction) -> None:
        if self.queue is None or event.service != self.service:
            return
        job = await self.queue.cancel(transaction, event.job_id)
        if job is None:
            return
        metrics.JOBS_FINISHED.labels(job.kind, CANCELLED).inc()
        kind = self._kinds.get(job.kind)
        if kind is not None and kind.fail is not None:
            await kind.fail(transaction.with_cause(job.cause), job, CANCELLED, CANCELLED_MESSAGE)

    def liveness_failure(self) -> str | None:
        """What only a restart of the process would mend: a consumer that stands still although begun anew."""
        if self._fruitless_restarts < MAX_FRUITLESS_RESTARTS:
            return None
        return f"stalled: events wait, and none was taken after {self._fruitless_restarts} new beginnings"

    async def readiness_failure(self) -> str | None:
        """Why the service takes no events; null when it does."""
        if self.consumer.fused:
            return self.consumer.fused
        if self._subscription is None:
            return "not connected to Kafka yet"
        try:
            await self.database.ping()
        except (OSError, SQLAlchemyError) as error:
            return f"the database does not answer: {error}"
        return self.consumer.away

    async def _watch_consumer(self) -> None:
        """Measure the lag; begin anew when events wait, none is in hand and no position moves."""
        positions: dict[TopicPartition, int] = {}
        while True:
            await asyncio.sleep(min(WATCH_INTERVAL_S, self.settings.stall_after.total_seconds() / 4))
            subscription = self._subscription
            if subscription is None:
                continue
            try:
                async with asyncio.timeout(WATCH_INTERVAL_S):
                    lag, now = await subscription.lag()
            except (KafkaError, TimeoutError, OSError):
                lag, settled, moves = {}, False, False
            else:
                settled = not any(lag.values()) and not subscription.joining
                moves = any(positions.get(place) != position for place, position in now.items())
                positions = now
            metrics.CONSUMER_LAG.clear()  # partitions may have gone to another copy
            for place, waiting in lag.items():
                metrics.CONSUMER_LAG.labels(place.topic, place.partition).set(waiting)
            if settled:
                metrics.CONSUMER_LAST_PROGRESS.set_to_current_time()
            if settled or moves or self.consumer.busy or self.consumer.fused:
                self._moved_at = time.monotonic()
                self._fruitless_restarts = 0
            elif time.monotonic() - self._moved_at > self.settings.stall_after.total_seconds():
                _log.error("consumer stands still and is begun anew")
                self._stalled.set()

    async def _watch_database(self) -> None:
        """Sample the tables."""
        while True:
            began = time.monotonic()
            with contextlib.suppress(UnavailableError, SQLAlchemyError, OSError):
                await sample(self.database, self.queue)
            await asyncio.sleep(pause_s(time.monotonic() - began, WATCH_INTERVAL_S))


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
