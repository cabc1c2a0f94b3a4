"""Servers and services of the whole system fail under load: nothing is lost or duplicated."""

import asyncio
import itertools
import os
import random
import signal
import time
import wave
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import numpy as np
import pytest
from aiokafka import AIOKafkaProducer
from tests.support.oracle import audit, wait_until_complete
from tests.support.proxy import PostgresCommits, Proxy, port_of, run_proxy
from tests.support.stack import servers
from tests.support.system import System
from typing_extensions import override

from phonograph_cli.project import Project
from phonograph_events import IngestRequested, Profile, Service, envelope

LEASE_S = 20
MUSIC_SERVICES = (Service.INGEST, Service.ANALYSIS, Service.TRACKLIST)
"""Services that process a recording of the profile `music`; the others need events of the first one."""
WINDOW_S = 5.0
"""Shortest time in which a rate is measured; a slow machine needs the time of three files."""
RANDOM_S, RANDOM_FAULTS = 240, 15
"""Smallest duration and smallest number of random faults; both must be reached."""
STATEMENTS = {
    "batch": "INSERT INTO inbox",
    "claim": r"UPDATE \S+_jobs SET.*SKIP LOCKED.*INSERT INTO outbox",
    "end": r"UPDATE \S+_jobs SET status = 'completed'",
    "mark": "UPDATE outbox SET published_at",
}
"""Statements that select a transaction, by the step that it belongs to."""
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

ONE = "ctid = (SELECT min(ctid) FROM"
DAMAGES = {
    f"DELETE FROM analysis.inbox WHERE {ONE} analysis.inbox)": "analysis has not processed 1 records",
    "INSERT INTO tracklist.inbox (source, event_id) VALUES ('unknown', 'x')": "that is on no topic",
    f"UPDATE ingest.outbox SET published_at = NULL WHERE {ONE} ingest.outbox)": "1 events wait in the outbox",
    f"DELETE FROM tracklist.outbox WHERE {ONE} tracklist.outbox)": "is on a topic and in no outbox",
    """INSERT INTO analysis.outbox (topic, headers, published_at) VALUES
       ('job-failed', '[["ce_source", "analysis"], ["ce_id", "x"]]', now())""": "x was published by analysis",
    f"DELETE FROM analysis.analysis_results WHERE {ONE} analysis.analysis_results)": "has 0 result rows",
    f"UPDATE tracklist.tracklist_jobs SET status = 'retrying' WHERE {ONE} tracklist.tracklist_jobs)": (
        "(tracklist, tracklist) is retrying"
    ),
    """INSERT INTO analysis.analysis_jobs (id, media_file_id, kind, task)
       SELECT gen_random_uuid(), media_file_id, kind, task FROM analysis.analysis_jobs LIMIT 1""": (
        "has 2 jobs of the kind analysis"
    ),
    f"DELETE FROM ingest.media_locations WHERE {ONE} ingest.media_locations)": "no row for the file",
}
"""Statements that lose or duplicate something, each with the deviation that the oracle must report."""


@dataclass(frozen=True)
class ProxiedProject(Project):
    """A project whose services reach PostgreSQL through a proxy."""

    proxy: Proxy = field(kw_only=True)

    @override
    def database_url(self, service: Service) -> str:
        direct = port_of(self.stack.addresses().postgres_url)
        return super().database_url(service).replace(f":{direct}/", f":{self.proxy.port}/")


@dataclass(frozen=True)
class FaultySystem:
    """All servers and services of one home, with methods that inject faults."""

    project: ProxiedProject
    folder: Path
    numbers: Iterator[int]

    async def up(self) -> None:
        """Start dead processes again, as `phonograph up` does."""
        await asyncio.to_thread(self.project.up)

    def pid(self, name: str) -> int:
        """Return the process id of a running server or service."""
        pid = next(process.pid for process in self.project.stack.status() if process.name == name)
        assert pid is not None, f"{name} does not run"
        return pid

    async def end(self, name: str, number: signal.Signals) -> None:
        """Send a signal that ends a process, and wait for its exit."""
        os.kill(self.pid(name), number)
        while any(process.name == name and process.pid for process in self.project.stack.status()):
            await asyncio.sleep(0.05)

    async def restart(self, name: str, number: signal.Signals) -> None:
        """End a server by a signal and start it again."""
        ended = time.time()
        await self.end(name, number)
        await asyncio.to_thread(self.project.stack.up)
        print(f"\n{name} is ready again after {time.time() - ended:.1f} s")

    async def freeze(self, name: str, seconds: float) -> None:
        """Suspend a process by SIGSTOP for a time."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

    async def fetch(self, query: str) -> list[asyncpg.Record]:
        """Execute a query as PostgreSQL's superuser, without the proxy, and return its rows."""
        connection = await asyncpg.connect(self.project.stack.addresses().postgres_url, timeout=10)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close(timeout=10)

    async def completion_times(self, service: Service, since: float) -> list[float]:
        """Return the times at which jobs of a service were completed, in seconds since the epoch."""
        table = f"{service.role}.{service.role}_jobs"
        rows = await self.fetch(
            f"SELECT extract(epoch FROM completed_at) FROM {table} WHERE completed_at > to_timestamp({since})"
        )
        return [float(end) for (end,) in rows]

    def recording(self) -> Path:
        """Write a recording of one second, which is no duplicate of any other."""
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
    """Requests of new recordings, with their pending deliveries to Kafka."""

    def __init__(self, system: FaultySystem, producer: AIOKafkaProducer) -> None:
        self._system = system
        self._producer = producer
        self._sent: list[asyncio.Future[object]] = []

    async def add(self, profile: Profile = Profile.MUSIC) -> None:
        """Request one new recording."""
        event = IngestRequested(uri=str(self._system.recording()), profile=profile)
        record = envelope(event, source="test").to_record()
        sent = await self._producer.send(
            record.topic, value=record.value, key=record.key, headers=record.headers
        )
        self._sent.append(sent)

    async def add_and_wait(self, count: int) -> float:
        """Request recordings, wait until every service has processed them, and return the seconds."""
        started = time.time()
        for _ in range(count):
            await self.add()
        while await self._processed(since=started) < count:
            assert time.time() < started + 300, f"{count} files take longer than 300 s"
            await asyncio.sleep(0.1)
        return time.time() - started

    async def _processed(self, *, since: float) -> int:
        return min([len(await self._system.completion_times(service, since)) for service in MUSIC_SERVICES])

    async def add_until_cancelled(self, rate: float, profiles: Sequence[Profile]) -> None:
        """Request `rate` recordings per second, with each profile in turn."""
        for profile in itertools.cycle(profiles):
            await self.add(profile)
            await asyncio.sleep(1 / rate)

    async def wait_until_delivered(self) -> None:
        """Wait until Kafka has acknowledged every request."""
        await asyncio.gather(*self._sent)


@dataclass(frozen=True)
class Load:
    """A steady load of half the rate that the system can process."""

    system: FaultySystem
    rate: float
    """Files per second."""

    async def wait_for_full_rate(self, *, since: float, within_s: float) -> str:
        """Wait for the first window in which every service keeps up with the load; return the figures.

        Args:
            since: end of the fault.
            within_s: time in which the window must begin.
        """
        window = None
        while window is None and time.time() < since + 3 * within_s:
            await asyncio.sleep(1)
            window = await self._first_full_window(since)
        assert window is not None, f"no full rate within {3 * within_s} s"
        after, rate = window
        assert after < within_s
        requested = f"{self.rate:.1f} files/s requested"
        return f"{requested}; {rate:.1f} files/s processed from {after:.1f} s after the fault on"

    async def _first_full_window(self, since: float) -> tuple[float, float] | None:
        """Return its start in seconds after the fault, and the rate of the slowest service in it."""
        window_s = max(WINDOW_S, 3 / self.rate)
        required = int(0.8 * self.rate * window_s)
        done = [await self.system.completion_times(service, since) for service in MUSIC_SERVICES]
        for start in np.arange(since, time.time(), 0.1):
            least = min(sum(start <= end < start + window_s for end in ends) for ends in done)
            if least >= required:
                return float(start) - since, least / window_s
        return None


@asynccontextmanager
async def load(system: FaultySystem, case: str, *, all_services: bool = False) -> AsyncIterator[Load]:
    """Measure the rate that the system can process, apply half of it, and audit the system at the end.

    Args:
        system: the running system.
        case: names the case in the printed figures.
        all_services: give every service work, not only those that process music.
    """
    async with AIOKafkaProducer(
        bootstrap_servers=system.project.stack.addresses().kafka_bootstrap_servers,
        enable_idempotence=True,
        request_timeout_ms=120_000,
    ) as producer:
        requests = Requests(system, producer)
        await requests.add_and_wait(1)  # not measured: engines start with their first job
        rate = 0.5 * 10 / await requests.add_and_wait(10)
        profiles = [Profile.AUTO, *[Profile.MUSIC] * 9] if all_services else [Profile.MUSIC]
        requesting = asyncio.create_task(requests.add_until_cancelled(rate, profiles))
        try:
            await asyncio.sleep(WINDOW_S)
            yield Load(system, rate)
        finally:
            requesting.cancel()
        await requests.wait_until_delivered()
    audit = await wait_until_complete(system.project, timeout_s=240)
    print(f"\n{case}: {audit.summary}")
    assert audit.is_sound, audit.problems
    assert (audit.parked, audit.failed_jobs, audit.unreadable) == (0, 0, 0)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultySystem]:
    """All services, PostgreSQL behind a proxy; short leases, so that interrupted jobs are soon retried."""
    with servers("chaos-whole") as project:
        postgres = port_of(project.stack.addresses().postgres_url)
        variables = {}
        for service in Service:
            variables[f"{service.role.upper()}_LEASE"] = f"PT{LEASE_S}S"
            # Each kill costs a job one attempt, and no job may fail because of the kills.
            variables[f"{service.role.upper()}_MAX_RETRIES"] = "20"
        with run_proxy(postgres, PostgresCommits) as proxy:
            proxied = ProxiedProject(
                project.root, {**project.environment, **variables}, project.report, proxy=proxy
            )
            proxied.up()
            yield FaultySystem(proxied, tmp_path_factory.mktemp("recordings"), itertools.count())


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_04_kafka_is_frozen(faulty: FaultySystem) -> None:
    async with load(faulty, "04 Kafka stopped for 12 s") as work:
        await faulty.freeze("kafka", 12)
        print(await work.wait_for_full_rate(since=time.time(), within_s=20))


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_04_kafka_is_killed(faulty: FaultySystem) -> None:
    async with load(faulty, "04 Kafka killed and started again") as work:
        await faulty.restart("kafka", signal.SIGKILL)
        print(await work.wait_for_full_rate(since=time.time(), within_s=20))


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_04_kafka_is_slow(faulty: FaultySystem) -> None:
    """Kafka runs a tenth of the time for 15 s; clients see a disk on which each access stalls."""
    async with load(faulty, "04 Kafka at a tenth of its speed for 15 s") as work:
        for _ in range(15):
            await faulty.freeze("kafka", 0.9)
            await asyncio.sleep(0.1)
        print(await work.wait_for_full_rate(since=time.time(), within_s=20))


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
async def test_05_postgres_is_restarted(faulty: FaultySystem, number: signal.Signals) -> None:
    async with load(faulty, f"05 PostgreSQL restarted by {number.name}") as work:
        await faulty.restart("postgres", number)
        print(await work.wait_for_full_rate(since=time.time(), within_s=15))


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_05_every_connection_is_terminated_again_and_again(faulty: FaultySystem) -> None:
    async with load(faulty, "05 connections terminated") as work:
        terminated = 0
        for _ in range(20):
            await asyncio.sleep(0.5)
            terminated += len(await faulty.fetch(TERMINATE))
        print(f"\n{terminated} connections terminated in 10 s")
        print(await work.wait_for_full_rate(since=time.time(), within_s=15))


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", STATEMENTS)
async def test_05_commit_without_response(faulty: FaultySystem, step: str) -> None:
    proxy, times = faulty.project.proxy, 3
    async with load(faulty, f"05 response to a commit lost, {step}") as work:
        before = proxy.dropped_responses
        proxy.drop_responses(STATEMENTS[step], times=times)
        await asyncio.to_thread(proxy.wait_until_dropped, before + times)
        print(await work.wait_for_full_rate(since=time.time(), within_s=15))


@pytest.mark.chaos
@pytest.mark.timeout(1800)
async def test_04_05_random_faults(faulty: FaultySystem) -> None:
    seed = time.time_ns() % 1_000_000
    chance, counts = random.Random(seed), Counter[str]()
    print(f"\nseed {seed}")
    async with load(faulty, f"04 05 random faults, seed {seed}", all_services=True):
        ends_at = time.monotonic() + RANDOM_S
        while time.monotonic() < ends_at or counts.total() < RANDOM_FAULTS:
            counts[await inject_fault(faulty, chance)] += 1
            await faulty.up()
            await asyncio.sleep(chance.uniform(1, 8))
        print("\n" + ", ".join(f"{count} x {name}" for name, count in sorted(counts.items())))
    checked = System(faulty.project)("graph", "check", "--json")
    assert checked.code == 0, checked.out + checked.err


async def inject_fault(faulty: FaultySystem, chance: random.Random) -> str:
    """Inject one random fault and return its name."""
    proxy = faulty.project.proxy
    service = chance.choice([*faulty.project.services()]).value
    fault = chance.choice(
        [
            "end a service",
            "end a server",
            "freeze",
            "terminate connections",
            "reset connections",
            "drop responses",
        ]
    )
    match fault:
        case "end a service":
            number = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
            await faulty.end(service, number)
        case "end a server":
            server = chance.choice(["kafka", "postgres", "neo4j"])
            gentle = signal.SIGTERM if server != "postgres" else signal.SIGINT
            number = chance.choice([signal.SIGKILL, gentle])
            await faulty.end(server, number)
            return f"{server} {number.name}"
        case "freeze":
            name = chance.choice(["kafka", "neo4j", service])
            await faulty.freeze(name, chance.uniform(1, 1.5 * LEASE_S))
        case "terminate connections":
            await faulty.fetch(TERMINATE)
        case "reset connections":
            proxy.reset_connections()
        case "drop responses":
            proxy.drop_responses(chance.choice(list(STATEMENTS.values())), times=chance.randint(1, 5))
    return fault


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_oracle_detects_lost_and_duplicated_rows(faulty: FaultySystem) -> None:
    """Runs last, since it leaves damaged tables behind."""
    async with load(faulty, "before the damage"):
        pass
    for service in faulty.project.services():
        await faulty.end(service.value, signal.SIGKILL)  # a running service would repair some of the damage
    for damage, expected in DAMAGES.items():
        await faulty.fetch(damage)
        result = await audit(faulty.project)
        assert any(expected in text for text in (*result.missing, *result.wrong)), (damage, result.problems)
