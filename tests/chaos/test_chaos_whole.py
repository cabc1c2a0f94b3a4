"""Servers and services of the whole system fail at work: nothing is lost or done twice, soon all is well."""

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
from tests.support.oracle import audit, settled
from tests.support.proxy import Postgres, Proxy, port, proxy
from tests.support.stack import servers
from tests.support.system import System
from typing_extensions import override

from phonograph_cli.project import Project
from phonograph_events import IngestRequested, Profile, Service, envelope

LEASE_S = 20
PASSED = (Service.INGEST, Service.ANALYSIS, Service.TRACKLIST)
"""Services that a recording of the profile `music` passes; each needs events of the first one."""
WINDOW_S = 5.0
"""Shortest time in which a rate is counted; on a slow machine the time of three files."""
RANDOM_S, RANDOM_FAULTS = 240, 15
"""Faults at random go on for so long, and until there were so many."""
PLACES = {
    "batch": "INSERT INTO inbox",
    "claim": r"UPDATE \S+_jobs SET.*SKIP LOCKED.*INSERT INTO outbox",
    "end": r"UPDATE \S+_jobs SET status = 'completed'",
    "mark": "UPDATE outbox SET published_at",
}
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

ONE = "ctid = (SELECT min(ctid) FROM"
SPOILS = {
    f"DELETE FROM analysis.inbox WHERE {ONE} analysis.inbox)": "analysis has not taken 1 records",
    "INSERT INTO tracklist.inbox (source, event_id) VALUES ('nobody', 'x')": "that is on no topic",
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
"""Each loses or doubles something; what the oracle must say of it."""


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
        """Start again what has died, as `phonograph up` does."""
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

    async def begin_anew(self, name: str, how: signal.Signals) -> None:
        """End a server and start it again."""
        ended = time.time()
        await self.end(name, how)
        await asyncio.to_thread(self.project.stack.up)
        print(f"\n{name} answers again after {time.time() - ended:.1f} s")

    async def freeze(self, name: str, seconds: float) -> None:
        """Let a process stand still for a while."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)

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

    async def add(self, profile: Profile = Profile.MUSIC) -> None:
        """Request one recording."""
        event = IngestRequested(uri=str(self._whole.recording()), profile=profile)
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
            assert time.time() < started + 300, f"{count} files take longer than 300 s"
            await asyncio.sleep(0.1)
        return time.time() - started

    async def steadily(self, rate: float, profiles: Sequence[Profile]) -> None:
        """So many a second, until cancelled."""
        for profile in itertools.cycle(profiles):
            await self.add(profile)
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
        after, rate = soon
        assert after < within_s
        asked = f"{self.rate:.1f} files/s asked for"
        return f"{asked}; {rate:.1f} files/s done from {after:.1f} s after the fault on"

    async def _first_full_window(self, since: float) -> tuple[float, float] | None:
        """Where it begins, in seconds after the fault, and the rate of the slowest service in it."""
        window_s = max(WINDOW_S, 3 / self.rate)
        wanted = int(0.8 * self.rate * window_s)
        done = [await self.whole.finished(service, since) for service in PASSED]
        for start in np.arange(since, time.time(), 0.1):
            least = min(sum(start <= end < start + window_s for end in ends) for ends in done)
            if least >= wanted:
                return float(start) - since, least / window_s
        return None


@asynccontextmanager
async def load(whole: Whole, case: str, *, everything: bool = False) -> AsyncIterator[Load]:
    """Measure what the system can take, ask for half of that; at the end everything must be sound.

    Prints the figures of the oracle. With `everything`, all services have something to do.
    """
    async with AIOKafkaProducer(
        bootstrap_servers=whole.project.stack.addresses().kafka_bootstrap_servers,
        enable_idempotence=True,
        request_timeout_ms=120_000,
    ) as producer:
        requests = Requests(whole, producer)
        await requests.done(1)  # engines start with their first job
        rate = 0.5 * 10 / await requests.done(10)
        profiles = [Profile.AUTO, *[Profile.MUSIC] * 9] if everything else [Profile.MUSIC]
        asking = asyncio.create_task(requests.steadily(rate, profiles))
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
    with servers("chaos-whole") as project:
        postgres = port(project.stack.addresses().postgres_url)
        patience = {}
        for service in Service:
            patience[f"{service.role.upper()}_LEASE"] = f"PT{LEASE_S}S"
            patience[f"{service.role.upper()}_MAX_RETRIES"] = "20"  # a job is not to blame for our kills
        with proxy(postgres, Postgres) as between:
            behind = ProjectBehind(
                project.root, {**project.environment, **patience}, project.report, between=between
            )
            behind.up()
            yield Whole(behind, tmp_path_factory.mktemp("recordings"), itertools.count())


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_04_kafka_stands_still(whole: Whole) -> None:
    async with load(whole, "04 Kafka stopped for 12 s") as work:
        await whole.freeze("kafka", 12)
        print(await work.recovered(since=time.time(), within_s=20))


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_04_kafka_is_killed(whole: Whole) -> None:
    async with load(whole, "04 Kafka killed and started again") as work:
        await whole.begin_anew("kafka", signal.SIGKILL)
        print(await work.recovered(since=time.time(), within_s=20))


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_04_kafka_is_slow(whole: Whole) -> None:
    """For 15 s it runs a tenth of the time: to its clients the same as a disk on which each access stalls."""
    async with load(whole, "04 Kafka at a tenth of its speed for 15 s") as work:
        for _ in range(15):
            await whole.freeze("kafka", 0.9)
            await asyncio.sleep(0.1)
        print(await work.recovered(since=time.time(), within_s=20))


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
async def test_05_postgres_is_restarted(whole: Whole, how: signal.Signals) -> None:
    async with load(whole, f"05 PostgreSQL restarted by {how.name}") as work:
        await whole.begin_anew("postgres", how)
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
async def test_05_commit_without_answer(whole: Whole, place: str) -> None:
    between, times = whole.project.between, 3
    async with load(whole, f"05 answer to a commit lost, {place}") as work:
        before = between.answers_lost
        between.lose_answers(PLACES[place], times=times)
        await asyncio.to_thread(between.wait_until_lost, before + times)
        print(await work.recovered(since=time.time(), within_s=15))


@pytest.mark.chaos
@pytest.mark.timeout(1800)
async def test_04_05_faults_at_random(whole: Whole) -> None:
    seed = time.time_ns() % 1_000_000
    chance, counts = random.Random(seed), Counter[str]()
    print(f"\nseed {seed}")
    async with load(whole, f"04 05 faults at random, seed {seed}", everything=True):
        ends_at = time.monotonic() + RANDOM_S
        while time.monotonic() < ends_at or counts.total() < RANDOM_FAULTS:
            counts[await fault(whole, chance)] += 1
            await whole.up()
            await asyncio.sleep(chance.uniform(1, 8))
        print("\n" + ", ".join(f"{count} x {name}" for name, count in sorted(counts.items())))
    checked = System(whole.project)("graph", "check", "--json")
    assert checked.code == 0, checked.out + checked.err


async def fault(whole: Whole, chance: random.Random) -> str:
    """One fault somewhere; what it was."""
    between = whole.project.between
    service = chance.choice([*whole.project.services()]).value
    what = chance.choice(
        [
            "end a service",
            "end a server",
            "freeze",
            "terminate connections",
            "cut connections",
            "lose answers",
        ]
    )
    match what:
        case "end a service":
            how = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
            await whole.end(service, how)
        case "end a server":
            server = chance.choice(["kafka", "postgres", "neo4j"])
            how = chance.choice([signal.SIGKILL, signal.SIGTERM if server != "postgres" else signal.SIGINT])
            await whole.end(server, how)
            return f"{server} {how.name}"
        case "freeze":
            name = chance.choice(["kafka", "neo4j", service])
            await whole.freeze(name, chance.uniform(1, 1.5 * LEASE_S))
        case "terminate connections":
            await whole.ask(TERMINATE)
        case "cut connections":
            between.cut()
        case "lose answers":
            between.lose_answers(chance.choice(list(PLACES.values())), times=chance.randint(1, 5))
    return what


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_oracle_sees_what_is_lost_or_doubled(whole: Whole) -> None:
    """The last one: it leaves spoiled tables behind."""
    async with load(whole, "before anything is spoiled"):
        pass
    for service in whole.project.services():
        await whole.end(service.value, signal.SIGKILL)  # it would mend some of this
    for spoil, expected in SPOILS.items():
        await whole.ask(spoil)
        found = await audit(whole.project)
        assert any(expected in text for text in (*found.missing, *found.wrong)), (spoil, found.trouble)
