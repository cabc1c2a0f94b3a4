"""Real PostgreSQL, Kafka and Neo4j for tests, one set per session.

Fixtures:
    stack: `Stack` with the addresses; roles, schemas, topics and the migrations of all services are applied.
    Use `stack.settings(Service.X, tmp_path)` as keyword arguments of a service's `Settings`, `running(app)`
    to run a service inside the test, `stack.publish(...)` and `stack.collect(...)` to talk to it by events.
    correlation_id: a new correlation id for each test.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from phonograph_cli.project import Project
from phonograph_devstack import Addresses, LocalStack
from phonograph_events import TOPICS, Envelope, Event, EventError, Record, Service, envelope, parse
from phonograph_runtime.app import ServiceApp

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Stack:
    """The running servers."""

    project: Project

    @property
    def addresses(self) -> Addresses:
        """Addresses of the three servers."""
        return self.project.stack.addresses()

    def database_url(self, service: Service) -> str:
        """Return the URL with which a service logs in, with its own role."""
        return self.project.database_url(service)

    def settings(self, service: Service, folder: Path) -> dict[str, Any]:
        """Return keyword arguments of the service's `Settings`; its objects are stored in `folder`."""
        return {
            "database_url": self.database_url(service),
            "kafka_bootstrap_servers": self.addresses.kafka_bootstrap_servers,
            "object_store_url": (folder / "objects").as_uri(),
            "migrations": ROOT / "migrations",
            "http_port": 0,
            "retry_delay": "PT0.1S",
        }

    async def publish(
        self, event: Event, *, source: str = "test", correlation_id: str | None = None
    ) -> Envelope:
        """Publish an event as any producer does, and return its envelope."""
        wrapped = envelope(event, source=source, correlation_id=correlation_id)
        await self.send(wrapped.to_record())
        return wrapped

    async def send(self, *records: Record) -> None:
        """Send records unchanged."""
        async with AIOKafkaProducer(bootstrap_servers=self.addresses.kafka_bootstrap_servers) as producer:
            for record in records:
                await producer.send_and_wait(
                    record.topic, value=record.value, key=record.key, headers=record.headers
                )

    async def collect(
        self, until: Callable[[list[Envelope]], bool], *, correlation_id: str, timeout_s: float = 60
    ) -> list[Envelope]:
        """Return the events of one correlation id, read from the first offset until there are enough.

        Args:
            until: returns True for a list with enough events.
            correlation_id: selects the events.
            timeout_s: longest wait in seconds.

        Raises:
            TimeoutError: they did not arrive in time; the message lists those that did.
        """
        collected: list[Envelope] = []
        consumer = AIOKafkaConsumer(
            *TOPICS,
            bootstrap_servers=self.addresses.kafka_bootstrap_servers,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        async with consumer:
            try:
                async with asyncio.timeout(timeout_s):
                    async for message in consumer:
                        try:
                            received = parse(message.value, message.headers)
                        except EventError:
                            continue
                        if received.correlationid == correlation_id:
                            collected.append(received)
                            if until(collected):
                                return collected
            except TimeoutError as error:
                types = [event.type for event in collected]
                raise TimeoutError(f"only these events arrived within {timeout_s} s: {types}") from error
        raise AssertionError("the consumer stopped before the timeout")


@asynccontextmanager
async def running(
    app: ServiceApp,
    *,
    backlog: bool = False,
    until: Callable[[str | None], bool] = lambda failure: failure is None,
) -> AsyncIterator[ServiceApp]:
    """Run a service inside the test; stop it gracefully at the end and raise what it raised.

    Args:
        app: the service.
        backlog: consume what is on the topics already; otherwise only events published from now on.
        until: returns True for a readiness failure, or None, with which the block may begin.
    """
    if not backlog:
        await skip_backlog(app)
    stop = asyncio.Event()
    task = asyncio.create_task(app.run(stop))
    try:
        async with asyncio.timeout(60):
            while not until(await app.readiness_failure()):
                if task.done():
                    await task
                await asyncio.sleep(0.05)
        yield app
    finally:
        stop.set()
        await task


async def skip_backlog(app: ServiceApp) -> None:
    """Commit the end offsets for a service, so that it consumes only events published from now on."""
    consumer = AIOKafkaConsumer(
        *app.topics,
        bootstrap_servers=app.settings.kafka_bootstrap_servers,
        group_id=app.service.value,
        enable_auto_commit=False,
    )
    async with consumer:
        async with asyncio.timeout(30):
            while not consumer.assignment():
                await consumer.getmany(timeout_ms=100)
        await consumer.commit(await consumer.end_offsets(consumer.assignment()))


@contextmanager
def servers(name: str) -> Iterator[Project]:
    """Start PostgreSQL, Kafka and Neo4j in the home folder `name`; stop and remove them at the end.

    A lock file makes sessions of one checkout run one after the other; servers and data that a killed session
    left behind are removed first.
    """
    home = ROOT / ".phonograph" / name
    home.mkdir(parents=True, exist_ok=True)
    project = Project(ROOT, environment=dict(os.environ) | {"PHONOGRAPH_HOME": str(home)}, report=print)
    with (home.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        local = isinstance(project.stack, LocalStack)
        project.stack.down(wipe=local)
        try:
            project.stack.up()
            yield project
        finally:
            project.stack.down(wipe=local)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The servers, prepared as `phonograph up` prepares them before the services start."""
    with servers("test") as project:
        project.prepare()
        yield Stack(project)


@pytest.fixture
def correlation_id() -> str:
    """An id that joins the events of one test."""
    return str(uuid4())
