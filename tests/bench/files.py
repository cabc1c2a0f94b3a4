"""Files through the whole system: what seven services and their events add to the engines' own time.

The files are two seconds of the sample talk, each with a sound of its own, so that none is a duplicate.
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
PATIENCE_S = 3000
GRAPH_TOPICS = {name for name, topic in TOPICS.items() if "graph-sync" in topic.consumers}


def measure(bench: Bench) -> list[Figure]:
    """One file alone, many at once, and the memory of services that wait."""
    sizes = {"alone": bench.number("ALONE", 20), "many": bench.number("MANY", 200)}
    answer = bench.system(__name__, "whole", **sizes)
    base = bench.base and bench.system(__name__, "whole", checkout=bench.base, **sizes)
    many = sizes["many"]
    figures = [
        Figure(
            f"file_{which}" if beyond == "sum" else f"file_{which}_{beyond}",
            f"one small file, all services, {which}: beyond {beyond}",
            answer[f"{which}_beyond_{beyond}"],
            "s",
            answer[f"{which}_{beyond}"],
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
            answer["many_per_s"],
            "files/s",
            answer["ideal_per_s"],
            "engines alone: the slowest service's time for one file, or all of it ÷ cores",
            Goal("ratio", at_least=0.8),
            base and base["many_per_s"],
        ),
        Figure(
            "fair_owner",
            f"place of the last of another owner's {answer['few']} files, sent after the others",
            answer["last_guest"],
            f"of {many}",
            goal=Goal("value", at_most=many * 0.25),
            base=base and base["last_guest"],
        ),
        Figure(
            "fair_priority",
            f"place of the last of {answer['few']} files of higher priority, sent at the end",
            answer["last_urgent"],
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
        for service, size in answer["memory"].items()
    ]
    return figures


@dataclass
class Followed:
    """A file on its way, with the events that it led to."""

    progress: FileProgress
    sent: float = 0.0
    events: dict[str, Envelope] = field(default_factory=dict)

    def engines_s(self) -> float:
        """Time in engines: each job once."""
        return sum(self.services_s().values())

    def services_s(self) -> Counter[str]:
        """Time in the engine of each service."""
        jobs = (getattr(event.data, "job", None) for event in self.events.values())
        by_id = {job.job_id: job for job in jobs if job is not None}
        seconds: Counter[str] = Counter()
        for job in by_id.values():
            seconds[str(job.service)] += job.seconds or 0.0
        return seconds

    def chain_s(self) -> float:
        """Time in engines along the longest chain of causes."""
        return max((self._until(event) for event in self.events.values()), default=0.0)

    def _until(self, event: Envelope) -> float:
        job = getattr(event.data, "job", None)
        cause = self.events.get(event.causationid or "")
        return ((job.seconds or 0.0) if job else 0.0) + (self._until(cause) if cause else 0.0)


@dataclass
class Crowd:
    """Sends files and sees what becomes of them, down to the graph."""

    producer: AIOKafkaProducer
    tail: Tail
    driver: AsyncDriver

    async def run(self, requests: Iterable[IngestRequested]) -> tuple[list[Followed], float]:
        """The files in the order in which they were done, and the seconds until the graph held them all."""
        files: dict[str, Followed] = {}
        started = time.perf_counter()
        for request in requests:
            wrapped = envelope(request, source="bench")
            files[wrapped.correlationid] = Followed(FileProgress(request.uri, wrapped.correlationid))
            record = wrapped.to_record()
            await self.producer.send(record.topic, value=record.value, key=record.key, headers=record.headers)
        await self.producer.flush()
        done: list[Followed] = []
        ends: dict[tuple[str, int], int] = {}
        async with asyncio.timeout(PATIENCE_S):
            async for seen in self.tail.events():
                file = files.get(seen.envelope.correlationid)
                if file is None:
                    continue
                _note(file, seen, ends)
                if file.progress.is_ended and file not in done:
                    done.append(file)
                    if len(done) == len(files):
                        break
            await self._until_held(ends)
        failed = [file.progress for file in done if not file.progress.has_succeeded]
        assert not failed, failed[:3]
        return done, time.perf_counter() - started

    async def _until_held(self, ends: dict[tuple[str, int], int]) -> None:
        """Wait until the graph has taken the last events."""
        while True:
            result = await self.driver.execute_query(
                "MATCH (o:KafkaOffset) RETURN o.topic AS topic, o.partition AS partition, o.offset AS offset"
            )
            held = {(row["topic"], row["partition"]): row["offset"] for row in result.records}
            if all(held.get(place, -1) >= offset for place, offset in ends.items()):
                return
            await asyncio.sleep(0.01)


def _note(file: Followed, seen: ReceivedEvent, ends: dict[tuple[str, int], int]) -> None:
    file.events[seen.envelope.id] = seen.envelope
    file.progress.apply(seen)
    if seen.topic in GRAPH_TOPICS:
        ends[seen.topic, seen.partition] = max(seen.offset, ends.get((seen.topic, seen.partition), -1))


@asynccontextmanager
async def _crowd(stack: Stack) -> AsyncIterator[Crowd]:
    addresses = stack.addresses
    servers = addresses.kafka_bootstrap_servers
    login = (addresses.neo4j_user, addresses.neo4j_password)
    async with (
        kafka.connect(servers) as client,
        AIOKafkaProducer(bootstrap_servers=servers) as producer,
        AsyncGraphDatabase.driver(addresses.neo4j_uri, auth=login) as driver,
    ):
        tail = await client.tail([topic for topic in TOPICS if topic != IngestRequested.TOPIC])
        yield Crowd(producer, tail, driver)


async def whole(stack: Stack, *, alone: int, many: int) -> dict[str, Any]:
    """Everything that is measured on a running system."""
    answer: dict[str, Any] = {"memory": await _idle_memory(stack)}
    async with _crowd(stack) as crowd:
        paths = list(_recordings(stack.project.home / "recordings", WARM_UP + alone + many))
        answer |= await _alone(crowd, paths[:-many])
        answer |= await _at_once(crowd, paths[-many:])
    return answer


async def _idle_memory(stack: Stack) -> dict[str, float]:
    """MB of each service that has just been started, with its share of shared pages."""
    await asyncio.sleep(10)  # what the start needed is given back
    services = set(map(str, stack.project.services()))
    return {
        process.name: (process.memory_bytes or 0) / 1e6
        for process in stack.project.stack.status()
        if process.name in services
    }


async def _alone(crowd: Crowd, paths: list[Path]) -> dict[str, float]:
    """One file after the other, and how many a second the engines alone could do."""
    files, walls = [], []
    for path in paths:
        done, wall_s = await crowd.run([IngestRequested(uri=path.as_uri())])
        files += done
        walls.append(wall_s)
    files, walls = files[WARM_UP:], walls[WARM_UP:]
    answer = {}
    for beyond, engines in {
        "sum": [file.engines_s() for file in files],
        "chain": [file.chain_s() for file in files],
    }.items():
        over = [wall_s - engine_s for wall_s, engine_s in zip(walls, engines, strict=True)]
        for which, at in {"p50": 49, "p95": 94}.items():
            answer[f"{which}_{beyond}"] = quantiles(engines, n=100)[at]
            answer[f"{which}_beyond_{beyond}"] = quantiles(over, n=100)[at]
    slowest_s = max(sum((file.services_s() for file in files), Counter()).values()) / len(files)
    all_s = sum(file.engines_s() for file in files) / len(files)
    return answer | {"ideal_per_s": 1 / max(slowest_s, all_s / (os.cpu_count() or 1))}


async def _at_once(crowd: Crowd, paths: list[Path]) -> dict[str, float]:
    """Many files of one owner, a few of another, then a few that are urgent: how fast, in which order."""
    few = max(len(paths) // 20, 1)
    owners = ["host"] * (len(paths) - 2 * few) + ["guest"] * few + ["host"] * few
    done, wall_s = await crowd.run(
        IngestRequested(uri=path.as_uri(), owner=owner, priority=10 if number >= len(paths) - few else 0)
        for number, (path, owner) in enumerate(zip(paths, owners, strict=True))
    )
    order = [file.progress.path for file in done]
    place = {path: order.index(path.as_uri()) + 1 for path in paths}
    return {
        "many_per_s": len(paths) / wall_s,
        "few": few,
        "last_guest": max(place[path] for path in paths[-2 * few : -few]),
        "last_urgent": max(place[path] for path in paths[-few:]),
    }


def _recordings(folder: Path, number: int) -> Iterator[Path]:
    """Small recordings of speech, no two with the same sound."""
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
            sound[:100] = index  # the same words come again, the same samples do not
            file.writeframes(sound.tobytes())
        yield path
