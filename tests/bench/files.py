"""Files through the whole system: the time that seven services and their events add to that of the engines.

Each file has two seconds of the sample talk and a different beginning, so that none is a duplicate.
"""

import asyncio
import os
import time
import wave
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np
from aiokafka import AIOKafkaProducer
from neo4j import AsyncDriver, AsyncGraphDatabase
from tests.bench.bench import Bench
from tests.bench.figures import Figure, Goal
from tests.support.stack import Stack
from tests.support.system import SAMPLES

from phonograph_cli import kafka
from phonograph_cli.kafka import ReceivedEvent, Tail
from phonograph_cli.progress import FileProgress
from phonograph_events import TOPICS, Envelope, IngestRequested, envelope
from phonograph_media.decode import decode_mono

RATE_HZ = 16_000
SMALL_S = 2
WARM_UP = 3
TIMEOUT_S = 3000
GRAPH_TOPICS = {name for name, topic in TOPICS.items() if "graph-sync" in topic.consumers}


def measure(bench: Bench) -> list[Figure]:
    """Measure single files, many files at once, and the memory of idle services."""
    sizes = {"alone": bench.number("ALONE", 20), "many": bench.number("MANY", 200)}
    result = bench.system(__name__, "whole", **sizes)
    base = bench.base and bench.system(__name__, "whole", checkout=bench.base, **sizes)
    many = sizes["many"]
    figures = [
        Figure(
            f"file_{which}" if beyond == "sum" else f"file_{which}_{beyond}",
            f"one small file, all services, {which}: beyond {beyond}",
            result[f"{which}_beyond_{beyond}"],
            "s",
            result[f"{which}_{beyond}"],
            f"the engines' own time, {'summed' if beyond == 'sum' else 'along the longest chain'}",
            Goal("value", at_most=1.0 if which == "p50" else 2.0),
            base and base[f"{which}_beyond_{beyond}"],
        )
        for which in ("p50", "p95")
        for beyond in ("sum", "chain")
    ]
    figures += [
        Figure(
            "files_at_once",
            f"{many} files at once",
            result["many_per_s"],
            "files/s",
            result["ideal_per_s"],
            "engines alone: the slowest service's time for one file, or all of it ÷ cores",
            Goal("ratio", at_least=0.8),
            base and base["many_per_s"],
        ),
        Figure(
            "fair_owner",
            f"rank of the last of another owner's {result['few']} files, sent after the others",
            result["last_guest"],
            f"of {many}",
            goal=Goal("value", at_most=many * 0.25),
            base=base and base["last_guest"],
        ),
        Figure(
            "fair_priority",
            f"rank of the last of {result['few']} files of higher priority, sent at the end",
            result["last_urgent"],
            f"of {many}",
            goal=Goal("value", at_most=many * 0.25),
            base=base and base["last_urgent"],
        ),
    ]
    figures += [
        Figure(
            f"memory_{service}",
            f"memory of {service}, idle",
            size,
            "MB",
            goal=Goal("value", at_most=120),
            base=base and base["memory"].get(service),
        )
        for service, size in result["memory"].items()
    ]
    return figures


@dataclass
class TrackedFile:
    """A requested file, with the events that it has caused so far."""

    progress: FileProgress
    sent: float = 0.0
    events: dict[str, Envelope] = field(default_factory=dict)

    def engines_s(self) -> float:
        """Return the time in engines, with each job counted once."""
        return sum(self.services_s().values())

    def services_s(self) -> Counter[str]:
        """Return the time in the engine of each service."""
        jobs = (getattr(event.data, "job", None) for event in self.events.values())
        by_id = {job.job_id: job for job in jobs if job is not None}
        seconds: Counter[str] = Counter()
        for job in by_id.values():
            seconds[str(job.service)] += job.seconds or 0.0
        return seconds

    def chain_s(self) -> float:
        """Return the time in engines along the longest chain of causes."""
        return max((self._seconds_until(event) for event in self.events.values()), default=0.0)

    def _seconds_until(self, event: Envelope) -> float:
        job = getattr(event.data, "job", None)
        cause = self.events.get(event.causationid or "")
        return ((job.seconds or 0.0) if job else 0.0) + (self._seconds_until(cause) if cause else 0.0)


@dataclass
class FileRunner:
    """Requests files and waits for their results, including those in the graph."""

    producer: AIOKafkaProducer
    tail: Tail
    driver: AsyncDriver

    async def run(self, requests: Iterable[IngestRequested]) -> tuple[list[TrackedFile], float]:
        """Return the files in the order of completion, and the seconds until the graph contained them all."""
        files: dict[str, TrackedFile] = {}
        started = time.perf_counter()
        for request in requests:
            wrapped = envelope(request, source="bench")
            files[wrapped.correlationid] = TrackedFile(FileProgress(request.uri, wrapped.correlationid))
            record = wrapped.to_record()
            await self.producer.send(record.topic, value=record.value, key=record.key, headers=record.headers)
        await self.producer.flush()
        done: list[TrackedFile] = []
        ends: dict[tuple[str, int], int] = {}
        async with asyncio.timeout(TIMEOUT_S):
            async for received in self.tail.events():
                file = files.get(received.envelope.correlationid)
                if file is None:
                    continue
                _record(file, received, ends)
                if file.progress.is_ended and file not in done:
                    done.append(file)
                    if len(done) == len(files):
                        break
            await self._wait_until_mirrored(ends)
        failed = [file.progress for file in done if not file.progress.has_succeeded]
        assert not failed, failed[:3]
        return done, time.perf_counter() - started

    async def _wait_until_mirrored(self, ends: dict[tuple[str, int], int]) -> None:
        """Wait until the graph contains the last events."""
        while True:
            result = await self.driver.execute_query(
                "MATCH (o:KafkaOffset) RETURN o.topic AS topic, o.partition AS partition, o.offset AS offset"
            )
            mirrored = {(row["topic"], row["partition"]): row["offset"] for row in result.records}
            if all(mirrored.get(partition, -1) >= offset for partition, offset in ends.items()):
                return
            await asyncio.sleep(0.01)


def _record(file: TrackedFile, received: ReceivedEvent, ends: dict[tuple[str, int], int]) -> None:
    file.events[received.envelope.id] = received.envelope
    file.progress.apply(received)
    if received.topic in GRAPH_TOPICS:
        partition = received.topic, received.partition
        ends[partition] = max(received.offset, ends.get(partition, -1))


@asynccontextmanager
async def _file_runner(stack: Stack) -> AsyncIterator[FileRunner]:
    addresses = stack.addresses
    servers = addresses.kafka_bootstrap_servers
    login = (addresses.neo4j_user, addresses.neo4j_password)
    async with (
        kafka.connect(servers) as client,
        AIOKafkaProducer(bootstrap_servers=servers) as producer,
        AsyncGraphDatabase.driver(addresses.neo4j_uri, auth=login) as driver,
    ):
        tail = await client.tail([topic for topic in TOPICS if topic != IngestRequested.TOPIC])
        yield FileRunner(producer, tail, driver)


async def whole(stack: Stack, *, alone: int, many: int) -> dict[str, Any]:
    """Measure a running system: a side of `measure`.

    Args:
        stack: the running system.
        alone: number of files that are processed one after the other.
        many: number of files that are requested at once.
    """
    result: dict[str, Any] = {"memory": await _idle_memory(stack)}
    async with _file_runner(stack) as runner:
        paths = list(_recordings(stack.project.home / "recordings", WARM_UP + alone + many))
        result |= await _alone(runner, paths[:-many])
        result |= await _at_once(runner, paths[-many:])
    return result


async def _idle_memory(stack: Stack) -> dict[str, float]:
    """Return the memory of each newly started service in MB, with its share of shared pages."""
    await asyncio.sleep(10)  # until the memory that only the start needs is released
    services = set(map(str, stack.project.services()))
    return {
        process.name: (process.memory_bytes or 0) / 1e6
        for process in stack.project.stack.status()
        if process.name in services
    }


async def _alone(runner: FileRunner, paths: list[Path]) -> dict[str, float]:
    """Process one file after the other; measure its time and the rate that the engines alone would allow."""
    files, walls_s = [], []
    for path in paths:
        done, wall_s = await runner.run([IngestRequested(uri=path.as_uri())])
        files += done
        walls_s.append(wall_s)
    files, walls_s = files[WARM_UP:], walls_s[WARM_UP:]
    result = {}
    for beyond, engines_s in {
        "sum": [file.engines_s() for file in files],
        "chain": [file.chain_s() for file in files],
    }.items():
        added_s = [wall_s - engine_s for wall_s, engine_s in zip(walls_s, engines_s, strict=True)]
        for which, at in {"p50": 49, "p95": 94}.items():
            result[f"{which}_{beyond}"] = quantiles(engines_s, n=100)[at]
            result[f"{which}_beyond_{beyond}"] = quantiles(added_s, n=100)[at]
    slowest_s = max(sum((file.services_s() for file in files), Counter()).values()) / len(files)
    all_s = sum(file.engines_s() for file in files) / len(files)
    return result | {"ideal_per_s": 1 / max(slowest_s, all_s / (os.cpu_count() or 1))}


async def _at_once(runner: FileRunner, paths: list[Path]) -> dict[str, float]:
    """Request many files of one owner, a few of another and a few urgent ones; measure rate and order."""
    few = max(len(paths) // 20, 1)
    owners = ["host"] * (len(paths) - 2 * few) + ["guest"] * few + ["host"] * few
    done, wall_s = await runner.run(
        IngestRequested(uri=path.as_uri(), owner=owner, priority=10 if number >= len(paths) - few else 0)
        for number, (path, owner) in enumerate(zip(paths, owners, strict=True))
    )
    order = [file.progress.path for file in done]
    rank = {path: order.index(path.as_uri()) + 1 for path in paths}
    return {
        "many_per_s": len(paths) / wall_s,
        "few": few,
        "last_guest": max(rank[path] for path in paths[-2 * few : -few]),
        "last_urgent": max(rank[path] for path in paths[-few:]),
    }


def _recordings(folder: Path, number: int) -> Iterator[Path]:
    """Write short recordings of speech, none a duplicate of another, and yield their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    talk = decode_mono(SAMPLES / "talk.ogg", RATE_HZ)
    length = SMALL_S * RATE_HZ
    for index in range(number):
        first = index * RATE_HZ // 7 % (len(talk) - length)
        path = folder / f"{index:04d}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            sound = (talk[first : first + length] * 32000).astype(np.int16)
            sound[:100] = index  # the talk repeats, so that only these samples distinguish the files
            file.writeframes(sound.tobytes())
        yield path
