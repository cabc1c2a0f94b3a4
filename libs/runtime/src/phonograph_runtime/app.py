"""The application around every service: it starts, consumes, works, answers probes and stops."""

import asyncio
import contextlib
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
    InventoryRequested,
    JobCancelRequested,
    JobRetryRequested,
    RerunRequested,
    Service,
)
from phonograph_runtime import metrics
from phonograph_runtime.broker import STOP_TIMEOUT_S, Subscription, count_client_errors
from phonograph_runtime.child import EngineSpec, EngineTasks
from phonograph_runtime.consumer import E, EventConsumer, Handler, HandlerSink, Sink
from phonograph_runtime.database import JOBS_CHANNEL, OUTBOX_CHANNEL, Database, Transaction
from phonograph_runtime.dead_letters import DROPPED, REPLAYED
from phonograph_runtime.errors import UnavailableError
from phonograph_runtime.inventory import Inventory, InventoryReporter
from phonograph_runtime.jitter import jitter
from phonograph_runtime.job_control import JobControl
from phonograph_runtime.jobs import JobKind, JobQueue
from phonograph_runtime.kafka_access import check_access
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.outbox import OutboxRelay
from phonograph_runtime.probes import serve_probes
from phonograph_runtime.reruns import RerunControl, RerunHandler
from phonograph_runtime.retention import Retention
from phonograph_runtime.revisions import check_schema
from phonograph_runtime.sampling import pause_s, sample
from phonograph_runtime.settings import ServiceSettings
from phonograph_runtime.stopping import CLOSE_S, cancel_and_wait, close_in_time
from phonograph_runtime.tables import JobColumns
from phonograph_runtime.tracing import Tracing
from phonograph_runtime.worker import Worker

WATCH_INTERVAL_S = 10.0
STOP_TASK_S = 12.0
"""Longest orderly end of all tasks but the consumer: a relay finishes its batch, a worker returns its job."""
MAX_FRUITLESS_RESTARTS = 3
"""Restarts of the consumer without progress after which the process reports that it is not alive."""

EngineFactory = Callable[[str], EngineTasks]
"""A module-level function from settings as JSON to an engine; it is called in the child process."""

logger = structlog.get_logger()


class PartitionProgress:
    """Finds partitions that have records but do not move while others may."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._moved: dict[TopicPartition, tuple[int, float]] = {}

    def update(
        self, lag: dict[TopicPartition, int], positions: dict[TopicPartition, int], *, is_held: bool
    ) -> dict[TopicPartition, int]:
        """Return the positions of the partitions that have not moved for the limit.

        Args:
            lag: Number of waiting records of each partition.
            positions: Next offset to read of each partition.
            is_held: Whether the consumer reads nothing at all for a known reason.
        """
        now = time.monotonic()
        before, self._moved = self._moved, {}
        for partition, position in positions.items():
            known = before.get(partition)
            is_still = lag[partition] > 0 and not is_held and known is not None and known[0] == position
            self._moved[partition] = known if known is not None and is_still else (position, now)
        return {
            partition: position
            for partition, (position, moved_at) in self._moved.items()
            if now - moved_at > self._limit_s
        }


class ServiceApp:
    """One service with its consumer, relay, workers and probes. Built by the service's `create_app()`."""

    def __init__(
        self,
        service: Service,
        settings: ServiceSettings,
        *,
        database: Database | None = None,
        job_table: type[JobColumns] | None = None,
        create_engine: EngineFactory | None = None,
        sink: Sink | None = None,
    ) -> None:
        """Wire a service.

        Args:
            service: The service; also its consumer group and the source of its events.
            settings: Settings of the service.
            database: Connections of the process; made from the settings if None.
            job_table: Mapped class of its job table, if it does long work.
            create_engine: Creates its engine in the child process.
            sink: Where events take effect, if not by handlers in PostgreSQL.
        """
        self.service = service
        self.settings = settings
        self.database = database or Database(settings, source=service.value, job_table=job_table)
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
            security=settings,
        )
        self._create_engine = create_engine
        self._kinds: dict[str, JobKind[Any, Any]] = {}
        self.queue: JobQueue | None = None
        if job_table is not None:
            self.queue = JobQueue(
                self.database, job_table, lease=settings.lease, retry_delay=settings.retry_delay
            )
            control = JobControl(service.value, self.queue, self._kinds)
            self.add_handler(JobRetryRequested, control.retry_requested)
            self.add_handler(JobCancelRequested, control.cancel_requested)
        self._stalled = asyncio.Event()
        self._is_stopping = False
        self._last_progress_at = time.monotonic()
        self._fruitless_restarts = 0
        self._periodic: list[tuple[timedelta, Callable[[Transaction], Awaitable[None]]]] = []
        self._readiness_checks: list[Callable[[], Awaitable[str | None]]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []

    @property
    def topics(self) -> list[str]:
        """The topics that list this service among their consumers."""
        return [topic.name for topic in TOPICS.values() if self.service.value in topic.consumers]

    @property
    def handled(self) -> set[type[Event]]:
        """The events that have a handler."""
        return set(self._handlers.handlers)

    def add_handler(self, event: type[E], handler: Handler[E]) -> None:
        """Call a handler for each new event of a type, inside the transaction of its batch."""
        self._handlers.handlers[event] = handler

    def add_job_kind(self, kind: JobKind[Any, Any]) -> None:
        """Execute jobs of a kind."""
        self._kinds[kind.name] = kind

    def add_rerun(self, handler: RerunHandler, *options: str) -> None:
        """Process recordings again on request.

        Args:
            handler: Requests the work.
            options: Names of the options that the service supports, of `RERUN_OPTIONS`.
        """
        control = RerunControl(self.service.value, frozenset(options), handler)
        self.add_handler(RerunRequested, control.rerun_requested)

    def add_inventory(self, inventory: Inventory) -> None:
        """Answer `inventory-requested` with what the service holds."""
        reporter = InventoryReporter(self.service, self.objects, inventory)
        self.add_handler(InventoryRequested, reporter.inventory_requested)

    def add_periodic(self, interval: timedelta, action: Callable[[Transaction], Awaitable[None]]) -> None:
        """Repeat an action in a transaction of its own; copies of the service may do it at the same time."""
        self._periodic.append((interval, action))

    def add_readiness_check(self, check: Callable[[], Awaitable[str | None]]) -> None:
        """Be ready only while a function, which each probe calls, returns None instead of a reason."""
        self._readiness_checks.append(check)

    def add_closer(self, close: Callable[[], Awaitable[None]]) -> None:
        """Call a function when the service has stopped."""
        self._closers.append(close)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then finish the current batch and return jobs to the queue.

        Raises:
            StaleSchemaError: If migrations are missing.
            AccessRefusedError: If PostgreSQL or Kafka refuses the login or the certificate.
            KafkaError: If Kafka does not answer when the service starts.
        """
        if not await self._check_servers(stop):
            return
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
                **{f"periodic {n}": self._repeat(*each) for n, each in enumerate(self._periodic)},
                **{f"worker {number}": worker.run() for number, worker in enumerate(self._workers())},
            }.items()
        ]
        self._initialize_metrics()
        stopping = asyncio.create_task(stop.wait(), name="stop")
        consuming = asyncio.create_task(self._consume(), name="consumer")
        try:
            # None of these tasks returns by itself: the first that ends is the stop, or has failed.
            done, _ = await asyncio.wait([stopping, consuming, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                await task
        finally:
            # Pauses end first, so that the batch in hand can finish; connections close when all is done.
            self.consumer.stop()
            self._is_stopping = True
            self._stalled.set()  # wakes a consumer that has lost its cancellation
            await cancel_and_wait(
                dict.fromkeys([stopping, *tasks], STOP_TASK_S) | {consuming: STOP_TIMEOUT_S}
            )
            for close in (*self._closers, self.database.aclose, self.tracing.aclose):
                await close_in_time(close)
            logger.info("service stopped")

    async def _check_servers(self, stop: asyncio.Event) -> bool:
        """Check schema and access; return False if the service is to stop before the servers have answered.

        Raises:
            StaleSchemaError: If migrations are missing.
            AccessRefusedError: If PostgreSQL or Kafka refuses the login or the certificate.
        """

        async def check() -> None:
            url = self.settings.database_url.get_secret_value()
            await check_schema(url, self.settings.migrations / self.service.value)
            await check_access(self.settings.kafka_bootstrap_servers, self.settings)

        checking = asyncio.create_task(check())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([checking, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if checking.done():
            await checking
            return True
        await cancel_and_wait({checking: CLOSE_S})
        return False

    def _initialize_metrics(self) -> None:
        """Let every counter begin at 0: the first event of a series that begins with 1 is no increase."""
        count_client_errors()
        for topic in self.topics:
            metrics.EVENT_LATENCY_SECONDS.labels(topic)
            metrics.BATCHES_UNREADABLE.labels(topic)
            metrics.CONSUMER_STUCK_PARTITIONS.labels(topic)
            for result in ("ok", "duplicate", "retry", "parked", "foreign"):
                metrics.EVENTS_CONSUMED.labels(topic, result)
        for resolution in (REPLAYED, DROPPED):
            metrics.DLQ_RESOLVED.labels(resolution)

    async def _consume(self) -> None:
        """Consume events until cancelled; restart the consumer whenever it is stalled.

        Raises:
            KafkaError: If Kafka does not answer when the service starts.
        """
        has_started = False
        while not self._is_stopping:
            # A new subscription each time: a client with a broken heartbeat does not recover by itself.
            subscription = Subscription(
                self.settings.kafka_bootstrap_servers,
                self.consumer.consume,
                self.topics,
                group=self.service.value,
                batch_size=self.settings.batch_size,
                instance=self.settings.instance,
                security=self.settings,
            )
            self._last_progress_at = time.monotonic()
            if not self._is_stopping:
                self._stalled.clear()
            try:
                async with subscription:
                    has_started, self._subscription = True, subscription
                    logger.info("consumer started", topics=self.topics)
                    await self._stalled.wait()
            except (KafkaError, OSError) as error:
                if not has_started:
                    raise
                logger.warning("consumer restart failed: Kafka unavailable", error=str(error))
                await asyncio.sleep(1)
            else:
                metrics.CONSUMER_RESTARTS.inc()
                self._fruitless_restarts += 1

    def _workers(self) -> list[Worker]:
        if self.queue is None or self._create_engine is None:
            return []
        engine = EngineSpec(
            factory=f"{self._create_engine.__module__}:{self._create_engine.__qualname__}",
            settings_json=self.settings.model_dump_json(),
            service=self.service.value,
            log_level=self.settings.log_level,
        )
        return [
            Worker(
                self.database,
                self.queue,
                self._listener,
                self._kinds,
                engine=engine,
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
                logger.warning("periodic action failed", action=action.__name__, error=str(error))
            await asyncio.sleep(jitter(interval.total_seconds(), 0.1))

    def liveness_failure(self) -> str | None:
        """Return why a restart is needed: the consumer is still stalled after being restarted."""
        if self._fruitless_restarts < MAX_FRUITLESS_RESTARTS:
            return None
        return f"stalled: events are waiting, and {self._fruitless_restarts} consumer restarts did not help"

    async def readiness_failure(self) -> str | None:
        """Return why the service consumes no events; None if it does."""
        if self.consumer.circuit_open_reason:
            return self.consumer.circuit_open_reason
        if self._subscription is None:
            return "not connected to Kafka yet"
        try:
            await self.database.ping()
        except (OSError, SQLAlchemyError) as error:
            return f"PostgreSQL does not answer: {error}"
        if self.consumer.unavailable_reason:
            return self.consumer.unavailable_reason
        for check in self._readiness_checks:
            failure = await check()
            if failure is not None:
                return failure
        return None

    async def _watch_consumer(self) -> None:
        """Measure the lag; restart the consumer if events wait, no batch is in hand and no position moves."""
        positions: dict[TopicPartition, int] = {}
        progress = PartitionProgress(self.settings.stall_after.total_seconds() / 2)
        while True:
            await asyncio.sleep(min(WATCH_INTERVAL_S, self.settings.stall_after.total_seconds() / 4))
            subscription = self._subscription
            if subscription is None:
                continue
            try:
                async with asyncio.timeout(WATCH_INTERVAL_S):
                    lag, current = await subscription.lag()
            except (KafkaError, TimeoutError, OSError):
                # Unknown is not settled: a consumer that cannot reach Kafka for long is stalled, too.
                lag, is_settled, has_moved = {}, False, False
            else:
                is_settled = not any(lag.values()) and not subscription.is_joining
                has_moved = any(
                    positions.get(partition) != position for partition, position in current.items()
                )
                positions = current
                self._examine_stuck(subscription, progress.update(lag, current, is_held=self._is_held))
            metrics.CONSUMER_LAG.clear()  # partitions may have moved to another copy
            for partition, waiting in lag.items():
                metrics.CONSUMER_LAG.labels(partition.topic, partition.partition).set(waiting)
            if is_settled:
                metrics.CONSUMER_LAST_PROGRESS.set_to_current_time()
            if is_settled or has_moved or self.consumer.is_busy or self.consumer.circuit_open_reason:
                self._last_progress_at = time.monotonic()
                self._fruitless_restarts = 0
            elif time.monotonic() - self._last_progress_at > self.settings.stall_after.total_seconds():
                logger.error("consumer stalled, restarting")
                self._stalled.set()

    @property
    def _is_held(self) -> bool:
        """Whether all partitions wait for one reason, so that none of them is stuck by its content."""
        return bool(
            self.consumer.is_busy or self.consumer.circuit_open_reason or self.consumer.unavailable_reason
        )

    def _examine_stuck(self, subscription: Subscription, stuck: dict[TopicPartition, int]) -> None:
        for topic in self.topics:
            count = sum(partition.topic == topic for partition in stuck)
            metrics.CONSUMER_STUCK_PARTITIONS.labels(topic).set(count)
        for partition, offset in stuck.items():
            logger.error(
                "partition stuck, examining it",
                topic=partition.topic,
                partition=partition.partition,
                offset=offset,
            )
            subscription.suspect(partition)

    async def _watch_database(self) -> None:
        """Sample the gauges that are read from the tables."""
        while True:
            started = time.monotonic()
            with contextlib.suppress(UnavailableError, SQLAlchemyError, OSError):
                await sample(self.database, self.queue)
            await asyncio.sleep(pause_s(time.monotonic() - started, WATCH_INTERVAL_S))
