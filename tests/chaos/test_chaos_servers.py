"""Kafka and PostgreSQL fail under a working system: nothing is lost or done twice, and soon all is well."""

import asyncio
import itertools
import os
import random
import signal
import time
import uuid
import wave
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from neo4j import AsyncGraphDatabase, exceptions
from tests.support.oracle import settled
from tests.support.processes import Group, group
from tests.support.proxy import Bolt, Postgres, Proxy, proxy
from tests.support.scratch import rows
from tests.support.stack import Stack, servers
from typing_extensions import override

from phonograph_cli.project import Project
from phonograph_events import IngestRequested, Profile, Service, envelope

LEASE_S = 20
PASSED = (Service.INGEST, Service.ANALYSIS, Service.TRACKLIST)
"""Services that a recording of the profile `music` passes; each needs events of the first one."""
WINDOW_S = 5.0
PLACES = {
    "batch": "INSERT INTO inbox",
    "claim": r"UPDATE \S+_jobs SET .*SKIP LOCKED",
    "end": r"UPDATE \S+_jobs SET .*completed_at=",
    "mark": "UPDATE outbox SET published_at",
}
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND application_name <> 'phonograph-scratch'  -- the test's own
"""


@dataclass(frozen=True)
class ProjectBehind(Project):
    """Services that reach PostgreSQL through a proxy."""

    between: Proxy = field(kw_only=True)

    @override
    def database_url(self, service: Service) -> str:
        direct = port(self.stack.addresses().postgres_url)
        return super().database_url(service).replace(f":{direct}/", f":{self.between.port}/")


@dataclass(frozen=True)
class Whole:
    """All servers and services of one home."""

    project: ProjectBehind
    folder: Path
    numbers: Iterator[int]

    async def up(self) -> None:
        """Start again what has died."""
        await asyncio.to_thread(self.project.up)

    def pid(self, name: str) -> int:
        """Process id of a server or service that runs."""
        pid = next(process.pid for process in self.project.stack.status() if process.name == name)
        assert pid is not None, f"{name} does not run"
        return pid

    async def end(self, name: str, how: signal.Signals) -> None:
        """Send a signal that ends a process, and wait until it is gone."""
        os.kill(self.pid(name), how)
        while any(process.name == name and process.pid for process in self.project.stack.status()):
            await asyncio.sleep(0.05)

    async def ask(self, query: str) -> list[asyncpg.Record]:
        """Answer of PostgreSQL to its superuser, not through the proxy."""
        connection = await asyncpg.connect(self.project.stack.addresses().postgres_url, timeout=10)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close(timeout=10)

    async def finished(self, service: Service, since: float) -> list[float]:
        """Times at which jobs of a service were done."""
        table = f"{service.role}.{service.role}_jobs"
        rows = await self.ask(
            f"SELECT extract(epoch FROM completed_at) FROM {table} WHERE completed_at > to_timestamp({since})"
        )
        return [float(end) for (end,) in rows]

    def recording(self) -> Path:
        """A tone of one second, unlike every other one."""
        number = next(self.numbers)
        at = np.arange(16_000) / 16_000
        tone = 0.4 * np.sin(2 * np.pi * (100 + number) * at)
        tone += 0.02 * np.random.default_rng(number).standard_normal(at.size)
        path = self.folder / f"{number:05}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes((tone * 20_000).astype("<i2").tobytes())
        return path


class Requests:
    """A producer of its own, which loses nothing either."""

    def __init__(self, whole: Whole, producer: AIOKafkaProducer) -> None:
        self._whole = whole
        self._producer = producer
        self._sent: list[asyncio.Future[object]] = []

    async def add(self) -> None:
        """Request one recording."""
        event = IngestRequested(uri=str(self._whole.recording()), profile=Profile.MUSIC)
        record = envelope(event, source="test").to_record()
        sent = await self._producer.send(
            record.topic, value=record.value, key=record.key, headers=record.headers
        )
        self._sent.append(sent)

    async def done(self, count: int) -> float:
        """Request so many and wait until every service is done with them; seconds."""
        started = time.time()
        for _ in range(count):
            await self.add()
        while min([len(await self._whole.finished(service, started)) for service in PASSED]) < count:
            assert time.time() < started + 180, f"{count} files take longer than 180 s"
            await asyncio.sleep(0.1)
        return time.time() - started

    async def steadily(self, rate: float) -> None:
        """So many a second, until cancelled."""
        while True:
            await self.add()
            await asyncio.sleep(1 / rate)

    async def delivered(self) -> None:
        """All of them are on the topic."""
        await asyncio.gather(*self._sent)


@dataclass(frozen=True)
class Load:
    """Requests that come steadily, half as fast as the system can take them."""

    whole: Whole
    rate: float
    """Files a second."""

    async def recovered(self, *, since: float, within_s: float) -> str:
        """Wait for the first seconds in which every service has done as much as was asked; say how soon.

        Args:
            since: when the fault was over.
            within_s: how long it may take.
        """
        soon = None
        while soon is None and time.time() < since + 3 * within_s:
            await asyncio.sleep(1)
            soon = await self._first_full_window(since)
        assert soon is not None, f"no full rate within {3 * within_s} s"
        assert soon < within_s
        return f"full rate ({self.rate:.1f} files/s) again after {soon:.1f} s"

    async def _first_full_window(self, since: float) -> float | None:
        wanted = max(1, int(0.8 * self.rate * WINDOW_S))
        done = [await self.whole.finished(service, since) for service in PASSED]
        for start in np.arange(since, time.time(), 0.1):
            if all(sum(start <= end < start + WINDOW_S for end in ends) >= wanted for ends in done):
                return float(start) - since
        return None


@asynccontextmanager
async def load(whole: Whole, case: str) -> AsyncIterator[Load]:
    """Measure what the system can take, ask for half of that; at the end everything must be sound.

    Prints the figures of the oracle.
    """
    async with AIOKafkaProducer(
        bootstrap_servers=whole.project.stack.addresses().kafka_bootstrap_servers,
        enable_idempotence=True,
        request_timeout_ms=120_000,
    ) as producer:
        requests = Requests(whole, producer)
        await requests.done(1)  # engines start with their first job
        rate = 0.5 * 10 / await requests.done(10)
        asking = asyncio.create_task(requests.steadily(rate))
        try:
            await asyncio.sleep(WINDOW_S)
            yield Load(whole, rate)
        finally:
            asking.cancel()
        await requests.delivered()
    audit = await settled(whole.project, timeout_s=240)
    print(f"\n{case}: {audit.line}")
    assert audit.sound, audit.trouble
    assert (audit.parked, audit.failed_jobs, audit.unreadable) == (0, 0, 0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """All services, PostgreSQL behind a proxy; leases are short: interrupted jobs go on soon."""
    with servers("chaos-servers") as project:
        postgres = port(project.stack.addresses().postgres_url)
        leases = {f"{service.role.upper()}_LEASE": f"PT{LEASE_S}S" for service in Service}
        with proxy(postgres, Postgres) as between:
            behind = ProjectBehind(
                project.root, {**project.environment, **leases}, project.report, between=between
            )
            behind.up()
            yield Whole(behind, tmp_path_factory.mktemp("recordings"), itertools.count())


def port(url: str) -> int:
    """The port of an address."""
    found = urlsplit(url).port
    assert found is not None
    return found


async def test_05_proxy_keeps_an_answer_back_and_nothing_else(stack: Stack) -> None:
    url, table = stack.addresses.postgres_url, f"t{uuid.uuid4().hex}"
    with proxy(port(url), Postgres) as between:
        login = url.replace(str(port(url)), str(between.port))
        connection = await asyncpg.connect(login)
        await connection.execute(f"CREATE TABLE {table} (n int)")
        between.lose_answers(f"INTO {table}")
        async with connection.transaction():
            assert await connection.fetchval("SELECT 1") == 1
        with pytest.raises((asyncpg.ConnectionDoesNotExistError, ConnectionError)):
            async with connection.transaction():
                await connection.execute(f"INSERT INTO {table} VALUES ($1)", 7)
        assert (between.answers_lost, between.commits) == (1, 2)
        other = await asyncpg.connect(login)
        assert await other.fetch(f"SELECT n FROM {table}") == [(7,)]
        between.cut()
        with pytest.raises((asyncpg.ConnectionDoesNotExistError, ConnectionError)):
            await other.fetch(f"DROP TABLE {table}")
        between.refusing = True
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await asyncpg.connect(login)


async def test_06_proxy_keeps_the_answer_of_a_graph_back(stack: Stack) -> None:
    addresses, label = stack.addresses, f"T{uuid.uuid4().hex}"
    login = addresses.neo4j_user, addresses.neo4j_password
    with proxy(port(addresses.neo4j_uri), Bolt) as between:
        driver = AsyncGraphDatabase.driver(f"bolt://127.0.0.1:{between.port}", auth=login)
        async with driver, driver.session() as session:
            between.lose_answers(f"MERGE .*{label}")
            transaction = await session.begin_transaction()
            await transaction.run("RETURN 1")
            await transaction.commit()
            transaction = await session.begin_transaction()
            await transaction.run(f"MERGE (:{label} {{n: $n}})", n=7)
            with pytest.raises((exceptions.ServiceUnavailable, exceptions.SessionExpired)):
                await transaction.commit()
            assert between.answers_lost == 1
            found = await session.run(f"MATCH (x:{label}) DELETE x RETURN count(*)")
            assert (await found.single(strict=True)).value() == 1


@asynccontextmanager
async def member(stack: Stack, logs: Path) -> AsyncIterator[tuple[Group, Proxy]]:
    """One process of a small service, with PostgreSQL behind a proxy; it has to outlive the block.

    At its end all that was published has had one effect and one result.
    """
    async with group(stack, logs) as members:
        url = members.settings.database_url.get_secret_value()
        with proxy(port(url), Postgres) as between:
            process = members.start(database_url=url.replace(f":{port(url)}/", f":{between.port}/"))
            await members.publish(1)
            await members.until_taken(1, timeout_s=120)
            yield members, between
            outcome = await members.outcome()
            await members.until_taken(len(outcome.published), timeout_s=60)
            outcome = await members.outcome()
            print(f"\n{outcome}")
            assert process.poll() is None, "the process ended"
            assert (outcome.lost, outcome.twice) == (0, 0)
            assert await rows(members.database, "SELECT * FROM dead_letters") == []


async def test_05_process_outlives_its_connections(stack: Stack, tmp_path: Path) -> None:
    async with member(stack, tmp_path) as (members, _between):
        publishing = asyncio.create_task(members.publish(600, seconds=8))
        admin = await asyncpg.connect(
            members.settings.database_url.get_secret_value().replace("+asyncpg", "")
        )
        terminated = 0
        while not publishing.done():
            await asyncio.sleep(random.uniform(0, 0.1))
            terminated += len(await admin.fetch(TERMINATE))
        await admin.close()
        print(f"\n{terminated} connections terminated", end="")
        assert terminated > 0


async def test_05_postgres_cannot_be_reached_for_a_while(stack: Stack, tmp_path: Path) -> None:
    async with member(stack, tmp_path) as (members, between):
        publishing = asyncio.create_task(members.publish(400, seconds=6))
        await asyncio.sleep(1)
        between.refusing = True
        between.cut()
        await asyncio.sleep(4)
        between.refusing = False
        restored = time.monotonic()
        await publishing
        await members.until_taken(401, timeout_s=15)
        print(f"\nall taken {time.monotonic() - restored:.1f} s after PostgreSQL came back", end="")


@pytest.mark.parametrize("place", ["batch", "mark"])
async def test_05_commit_without_answer(stack: Stack, tmp_path: Path, place: str) -> None:
    times = 5
    async with member(stack, tmp_path) as (members, between):
        between.lose_answers(PLACES[place], times=times)
        await members.publish(300, seconds=4)
        await asyncio.to_thread(between.wait_until_lost, times)
        print(f"\n{place}: {times} answers lost, {between.commits} commits in all", end="")


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_04_kafka_stands_still(whole: Whole) -> None:
    async with load(whole, "04 Kafka stopped for 12 s") as work:
        kafka = whole.pid("kafka")
        os.kill(kafka, signal.SIGSTOP)
        await asyncio.sleep(12)
        os.kill(kafka, signal.SIGCONT)
        print(await work.recovered(since=time.time(), within_s=20))


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_04_kafka_is_killed(whole: Whole) -> None:
    async with load(whole, "04 Kafka killed and started again") as work:
        killed = time.time()
        await whole.end("kafka", signal.SIGKILL)
        await asyncio.to_thread(whole.project.stack.up)
        print(f"\nKafka answers again after {time.time() - killed:.1f} s")
        print(await work.recovered(since=time.time(), within_s=20))


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_04_kafka_is_slow(whole: Whole) -> None:
    """For 15 s it runs a tenth of the time: to its clients the same as a disk on which each access stalls."""
    async with load(whole, "04 Kafka at a tenth of its speed for 15 s") as work:
        kafka = whole.pid("kafka")
        for _ in range(15):
            os.kill(kafka, signal.SIGSTOP)
            await asyncio.sleep(0.9)
            os.kill(kafka, signal.SIGCONT)
            await asyncio.sleep(0.1)
        print(await work.recovered(since=time.time(), within_s=20))


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
async def test_05_postgres_is_restarted(whole: Whole, how: signal.Signals) -> None:
    async with load(whole, f"05 PostgreSQL restarted by {how.name}") as work:
        ended = time.time()
        await whole.end("postgres", how)
        addresses = await asyncio.to_thread(whole.project.stack.up)
        whole.project.between.target = port(addresses.postgres_url)
        print(f"\nPostgreSQL answers again after {time.time() - ended:.1f} s")
        print(await work.recovered(since=time.time(), within_s=15))


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_05_every_connection_is_terminated_again_and_again(whole: Whole) -> None:
    async with load(whole, "05 connections terminated") as work:
        terminated = 0
        for _ in range(20):
            await asyncio.sleep(0.5)
            terminated += len(await whole.ask(TERMINATE))
        print(f"\n{terminated} connections terminated in 10 s")
        print(await work.recovered(since=time.time(), within_s=15))


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("place", PLACES)
async def test_05_commit_without_answer_in_the_whole_system(whole: Whole, place: str) -> None:
    between, times = whole.project.between, 3
    async with load(whole, f"05 answer to a commit lost, {place}") as work:
        before = between.answers_lost
        between.lose_answers(PLACES[place], times=times)
        await asyncio.to_thread(between.wait_until_lost, before + times)
        print(await work.recovered(since=time.time(), within_s=15))
