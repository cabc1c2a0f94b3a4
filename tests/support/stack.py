"""Real PostgreSQL, Kafka and Neo4j for tests, one set per session.

Fixtures:
    stack: `Stack` with the addresses; roles, schemas, migrations of all services and topics are there.
    Use `stack.settings(Service.X, tmp_path)` as keyword arguments of a service's `Settings`, `running(app)`
    to run a service inside the test, `stack.publish(...)` and `stack.collect(...)` to talk to it by Kafka.
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
        """Of the three servers."""
        return self.project.stack.addresses()

    def database_url(self, service: Service) -> str:
        """Login of a service, with its own role."""
        return self.project.database_url(service)

    def settings(self, service: Service, folder: Path) -> dict[str, Any]:
        """Keyword arguments of the service's `Settings`; objects lie in `folder`."""
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
        """Publish an event as any producer would."""
        wrapped = envelope(event, source=source, correlation_id=correlation_id)
        await self.send(wrapped.to_record())
        return wrapped

    async def send(self, *records: Record) -> None:
        """Send records as they are."""
        async with AIOKafkaProducer(bootstrap_servers=self.addresses.kafka_bootstrap_servers) as producer:
            for record in records:
                await producer.send_and_wait(
                    record.topic, value=record.value, key=record.key, headers=record.headers
                )

    async def collect(
        self, until: Callable[[list[Envelope]], bool], *, correlation_id: str, timeout_s: float = 60
    ) -> list[Envelope]:
        """Events of one correlation id from the first offset on, until there are enough.

        Raises:
            TimeoutError: they did not come; the message shows what did.
        """
        found: list[Envelope] = []
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
                            found.append(received)
                            if until(found):
                                return found
            except TimeoutError as error:
                raise TimeoutError(f"after {timeout_s} s: {[event.type for event in found]}") from error
        raise AssertionError("the consumer ended by itself")


@asynccontextmanager
async def running(app: ServiceApp, *, backlog: bool = False) -> AsyncIterator[ServiceApp]:
    """Run a service inside the test; stops it gracefully at the end and raises what it raised.

    It begins with events published from now on, unless it is to take what was left on the topics.
    """
    if not backlog:
        await skip_backlog(app)
    stop = asyncio.Event()
    task = asyncio.create_task(app.run(stop))
    try:
        async with asyncio.timeout(60):
            while await app.readiness_failure():
                if task.done():
                    await task
                await asyncio.sleep(0.05)
        yield app
    finally:
        stop.set()
        await task


async def skip_backlog(app: ServiceApp) -> None:
    """Let a service begin with events published from now on."""
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
    """PostgreSQL, Kafka and Neo4j with a home of their own, removed at the end.

    Sessions of one checkout take turns; what a killed session left behind is removed first.
    """
    home = ROOT / ".phonograph" / name
    home.mkdir(parents=True, exist_ok=True)
    project = Project(ROOT, environment=dict(os.environ) | {"PHONOGRAPH_HOME": str(home)}, report=print)
    with (home.parent / f"{name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        local = isinstance(project.stack, LocalStack)
        project.stack.down(wipe=local)
        try:
            project.stack.up()
            yield project
        finally:
            project.stack.down(wipe=local)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The servers, with everything that `phonograph up` sets up before the services start."""
    with servers("test") as project:
        project.prepare()
        yield Stack(project)


@pytest.fixture
def correlation_id() -> str:
    """Joins the events of one test."""
    return str(uuid4())
