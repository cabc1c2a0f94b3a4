"""What became of every requested file, recomputed from the tables, the topics and the graph.

    audit = await settled(project)     # waits until nothing is missing, or no longer
    assert audit.sound, audit.trouble

By hand, on any stack: `python -m tests.support.oracle [HOME]`; the exit code is 0 when all is sound.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from neo4j import AsyncGraphDatabase

from phonograph_cli.project import Project
from phonograph_events import (
    RESULT_SERVICES,
    TARGET_HEADER,
    TOPICS,
    Envelope,
    Event,
    EventError,
    IngestRequested,
    JobFailed,
    MediaDuplicated,
    MediaReady,
    MediaRejected,
    Profile,
    Result,
    Service,
    parse,
)
from phonograph_events.topics import WORKERS
from phonograph_ingest.domain.media import canonical_uri
from phonograph_runtime.database import decode_headers

ROOT = Path(__file__).parents[2]
NAMED = 20
"""So many of the missing and wrong things are named."""
KINDS = {
    (Service.ANALYSIS, "analysis"): {Service.ANALYSIS},
    (Service.TRACKLIST, "tracklist"): {Service.TRACKLIST},
    (Service.TRANSCRIPTION, "transcribe"): {Service.TRANSCRIPTION},
    (Service.TRANSCRIPTION, "merge"): {Service.TRANSCRIPTION, Service.DIARIZATION},
    (Service.DIARIZATION, "diarize"): {Service.DIARIZATION},
    (Service.HIGHLIGHTS, "silence"): {Service.HIGHLIGHTS},
    (Service.HIGHLIGHTS, "segments"): {Service.HIGHLIGHTS, Service.TRANSCRIPTION},
}
"""Kinds of job, and the services that a file's profile must want for it."""
NEEDS = {"merge": {"transcribe", "diarize"}, "segments": {"transcribe"}}
"""Kinds that do not come when one of these has failed."""
ENDS = {"completed", "failed"}
RESULT_ROWS = {
    Service.ANALYSIS: "SELECT job_id FROM analysis.analysis_results",
    Service.TRANSCRIPTION: "SELECT job_id FROM transcription.transcription_results",
}


@dataclass(frozen=True)
class Audit:
    """Figures, and what is not as it must be."""

    requests: int
    ready: int
    duplicates: int
    rejected: int
    jobs: int
    failed_jobs: int
    attempts: int
    """Of all jobs together; equal to `jobs` when none was interrupted."""
    events: int
    """Distinct ids on all topics."""
    repeated: int
    """Deliveries on the wire beyond the first of each id."""
    unreadable: int
    parked: int
    """Dead letters that still lie there."""
    nodes: int
    missing: tuple[str, ...]
    """May still come."""
    wrong: tuple[str, ...]
    """Will not mend by waiting: done twice, never committed, or gone."""

    @property
    def sound(self) -> bool:
        """Whether every request was answered once, by everybody concerned, and nothing else happened."""
        return not self.missing and not self.wrong

    @property
    def trouble(self) -> str:
        """For the message of an assertion."""
        return "\n".join(["missing:", *self.missing[:NAMED], "wrong:", *self.wrong[:NAMED]])

    @property
    def line(self) -> str:
        """The figures in one line."""
        told = asdict(self) | {"missing": len(self.missing), "wrong": len(self.wrong)}
        return ", ".join(f"{value} {name}" for name, value in told.items())


@dataclass(frozen=True)
class _Seen:
    """A record on a topic."""

    topic: str
    partition: int
    offset: int
    content: Envelope | EventError
    headers: dict[str, bytes]

    @property
    def place(self) -> tuple[str, int, int]:
        return self.topic, self.partition, self.offset


@dataclass(frozen=True)
class _Tables:
    """What the services' tables hold."""

    jobs: dict[str, list[Any]]
    media: dict[str, Any]
    locations: set[tuple[str, str]]
    inbox: dict[str, set[tuple[str, str]]]
    outbox: dict[str, list[Any]]
    letters: dict[str, list[Any]]
    results: dict[str, Counter[str]]

    @cached_property
    def ready(self) -> set[str]:
        return {key for key, row in self.media.items() if row["status"] == "ready"}

    @cached_property
    def rejected(self) -> set[str]:
        return {row["source_path"] for row in self.media.values() if row["status"] == "failed"}

    @cached_property
    def asked(self) -> dict[str, list[Any]]:
        """Jobs of ingest by the event that asked for them."""
        jobs: dict[str, list[Any]] = defaultdict(list)
        for job in self.jobs[Service.INGEST]:
            jobs[(job["cause"] or {}).get("event_id", "")].append(job)
        return jobs


@dataclass(frozen=True)
class _Graph:
    """What the graph holds."""

    recordings: set[str]
    jobs: dict[str, str]
    offsets: dict[tuple[str, int], int]


async def audit(project: Project) -> Audit:
    """Look once. Tables first, then topics: what a table tells of must be on its topic by then."""
    tables = await _read_tables(project)
    records = await _read_topics(project)
    graph = await _read_graph(project)
    told = _Told(records)
    checks = [
        *(problem for asked in told.requests for problem in _request(*asked, told, tables)),
        *_media(told, tables, graph),
        *(problem for service in WORKERS for problem in _jobs(service, told, tables, graph)),
        *_plans(tables),
        *_outboxes(told, tables),
        *(problem for service in WORKERS for problem in _inbox(service, records, tables)),
        *_mirrored(records, tables, graph),
    ]
    jobs = [job for rows in tables.jobs.values() for job in rows]
    return Audit(
        requests=len(told.requests),
        ready=len(tables.ready),
        duplicates=told.count(MediaDuplicated),
        rejected=told.count(MediaRejected),
        jobs=len(jobs),
        failed_jobs=sum(job["status"] == "failed" for job in jobs),
        attempts=sum(job["retry_count"] + 1 for job in jobs),
        events=len(told.events),
        repeated=told.repeated,
        unreadable=sum(isinstance(seen.content, EventError) for seen in records),
        parked=sum(letter["resolution"] is None for rows in tables.letters.values() for letter in rows),
        nodes=len(graph.recordings),
        missing=tuple(text for missing, text in checks if missing),
        wrong=tuple(text for missing, text in checks if not missing),
    )


async def settled(project: Project, *, timeout_s: float = 120) -> Audit:
    """Look again and again until nothing is missing or the time is over; the last look."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = await audit(project)
        if not found.missing or time.monotonic() > deadline:
            return found
        await asyncio.sleep(1)


class _Told:
    """The events on the topics, each id once."""

    def __init__(self, records: Iterable[_Seen]) -> None:
        self.events: dict[tuple[str, str], Envelope] = {}
        self.repeated = 0
        self.outcomes: dict[str, set[str]] = defaultdict(set)
        """Ids of the events that end a job of ingest, by the job's id."""
        self.failures: Counter[str] = Counter()
        self.results: dict[str, set[str]] = defaultdict(set)
        self.announced: Counter[str] = Counter()
        """Events that say that a file is ready, by media id."""
        self._requests: dict[tuple[str, ...], tuple[Envelope, IngestRequested]] = {}
        for seen in records:
            if isinstance(seen.content, Envelope):
                key = seen.content.source, seen.content.id
                self.repeated += key in self.events
                if self.events.setdefault(key, seen.content) is seen.content:
                    self._index(seen.content)

    def _index(self, envelope: Envelope) -> None:
        match envelope.data:
            case IngestRequested() as event:
                mine = (envelope.source, envelope.id)
                key = mine if event.request_id is None else ("", event.owner or "", event.request_id)
                self._requests.setdefault(key, (envelope, event))
            case MediaReady() | MediaDuplicated() | MediaRejected() as event:
                self.outcomes[str(event.job.job_id)].add(envelope.id)
                if isinstance(event, MediaReady):
                    self.announced[str(event.media_id)] += 1
            case JobFailed() as event:
                self.failures[str(event.job_id)] += event.final
            case Result() as event:
                self.results[str(event.job.job_id)].add(envelope.id)
            case _:
                pass

    @property
    def requests(self) -> list[tuple[Envelope, IngestRequested]]:
        """Without repetitions of a producer's own request id."""
        return list(self._requests.values())

    def count(self, event: type[Event]) -> int:
        """How many of a type."""
        return sum(isinstance(envelope.data, event) for envelope in self.events.values())


Problem = tuple[bool, str]
"""Whether it may still come, and what it is."""


def _request(envelope: Envelope, request: IngestRequested, told: _Told, tables: _Tables) -> Iterator[Problem]:
    """One job, which has one outcome, and a row for the file."""
    uri, owner = canonical_uri(request.uri), request.owner or ""
    jobs = tables.asked[envelope.id]
    if len(jobs) != 1:
        yield not jobs, f"request {envelope.id} for {uri} has {len(jobs)} jobs"
    for job in jobs:
        outcomes, failures = told.outcomes[str(job["id"])], told.failures[str(job["id"])]
        if not 1 <= len(outcomes) <= 1 + failures:
            yield not outcomes, f"{len(outcomes)} outcomes of {uri} (job {job['id']}, {job['status']})"
        if outcomes and (uri, owner) not in tables.locations and uri not in tables.rejected:
            yield False, f"no row for the file {uri}"


def _media(told: _Told, tables: _Tables, graph: _Graph) -> Iterator[Problem]:
    """Every file that is ready was announced by one event and has one node."""
    for key in sorted(tables.ready | told.announced.keys()):
        if key not in tables.ready:
            yield False, f"media {key} was announced and has no row"
        elif told.announced[key] != 1:
            yield not told.announced[key], f"media {key} was announced {told.announced[key]} times"
        if key not in graph.recordings:
            yield True, f"media {key} has no node"
    for key in sorted(graph.recordings - tables.media.keys()):
        yield False, f"the graph has a recording {key} that nobody knows"


def _jobs(service: str, told: _Told, tables: _Tables, graph: _Graph) -> Iterator[Problem]:
    """Every job is over, is known to the graph and, when it is done, has one result: an event and a row."""
    for job in tables.jobs[service]:
        key, what = str(job["id"]), f"job {job['id']} ({service}, {job['kind']})"
        if job["status"] not in ENDS:
            yield True, f"{what} is {job['status']}"
        elif graph.jobs.get(key) != job["status"]:
            yield True, f"{what} is {job['status']}, its node says {graph.jobs.get(key)}"
        if service != Service.INGEST and job["status"] == "completed":
            if len(told.results[key]) != 1:
                yield not told.results[key], f"{what} has {len(told.results[key])} result events"
            if service in tables.results and tables.results[service][key] != 1:
                yield False, f"{what} has {tables.results[service][key]} result rows"
    if service == Service.INGEST:
        everybody = {str(job["id"]) for jobs in tables.jobs.values() for job in jobs}
        for key in sorted(graph.jobs.keys() - everybody):
            yield False, f"the graph has a job {key} that no table has"


def _plans(tables: _Tables) -> Iterator[Problem]:
    """Every file that is ready has each kind of job that its profile wants, once."""
    by_media: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    failed: dict[str, set[str]] = defaultdict(set)
    for service, jobs in tables.jobs.items():
        for job in jobs:
            by_media[str(job["media_file_id"])][service, job["kind"]] += 1
            if job["status"] == "failed":
                failed[str(job["media_file_id"])].add(job["kind"])
    for key in sorted(tables.ready):
        profile = tables.media[key]["profile"]
        wanted = RESULT_SERVICES[Profile(profile) if profile in set(Profile) else Profile.AUTO]
        for (service, kind), services in KINDS.items():
            count, most = by_media[key][service, kind], int(services <= wanted)
            due = most and not NEEDS.get(kind, set()) & failed[key]
            if count > most or (due and not count):
                yield count < most, f"media {key} has {count} jobs of the kind {kind}, not {most}"


def _outboxes(told: _Told, tables: _Tables) -> Iterator[Problem]:
    """Every row of an outbox is on its topic, and nothing is there that no transaction committed."""
    committed: set[tuple[str, str]] = set()
    for service, rows in tables.outbox.items():
        waiting = sum(row["published_at"] is None for row in rows)
        if waiting:
            yield True, f"{waiting} events wait in the outbox of {service}"
        for row in rows:
            if row["topic"] not in TOPICS:
                continue  # dead letters keep the id of what was parked
            headers = {name: value.decode() for name, value in decode_headers(row["headers"]) if value}
            key = headers["ce_source"], headers["ce_id"]
            committed.add(key)
            if row["published_at"] is not None and key not in told.events:
                yield False, f"{row['topic']} {key[1]} was published by {service} and is not there"
    for source, event_id in sorted(told.events.keys() - committed):
        if source in WORKERS:
            yield False, f"event {event_id} of {source} is on a topic and in no outbox"


def _inbox(service: str, records: Iterable[_Seen], tables: _Tables) -> Iterator[Problem]:
    """Every record was taken or parked by every service that it concerns, and nothing else was taken."""
    behind: Counter[str] = Counter()
    letters = {(letter["topic"], letter["partition"], letter["offset"]) for letter in tables.letters[service]}
    there: set[tuple[str, str]] = set()
    for seen in _concerning(service, records):
        taken = False
        if isinstance(seen.content, Envelope):
            there.add((seen.content.source, seen.content.id))
            taken = (seen.content.source, seen.content.id) in tables.inbox[service]
        if not taken and seen.place not in letters:
            behind[seen.topic] += 1
    for topic, count in behind.items():
        yield True, f"{service} has not taken {count} records of {topic}"
    for source, event_id in tables.inbox[service] - there:
        yield False, f"{service} took an event {event_id} of {source} that is on no topic"


def _mirrored(records: Iterable[_Seen], tables: _Tables, graph: _Graph) -> Iterator[Problem]:
    """The graph holds every offset."""
    rows = tables.letters[Service.GRAPH_SYNC]
    letters = {(letter["topic"], letter["partition"], letter["offset"]) for letter in rows}
    behind: Counter[str] = Counter()
    for seen in _concerning(Service.GRAPH_SYNC, records):
        if seen.offset > graph.offsets.get((seen.topic, seen.partition), -1) and seen.place not in letters:
            behind[seen.topic] += 1
    for topic, count in behind.items():
        yield True, f"the graph lacks {count} records of {topic}"


def _concerning(service: str, records: Iterable[_Seen]) -> Iterator[_Seen]:
    for seen in records:
        target = seen.headers.get(TARGET_HEADER, service.encode())
        dropped = seen.headers.get("phonograph-action") == b"drop"
        if service in TOPICS[seen.topic].consumers and target == service.encode() and not dropped:
            yield seen


async def _read_tables(project: Project) -> _Tables:
    connection = await asyncpg.connect(project.stack.addresses().postgres_url, timeout=10)
    try:
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            jobs, inbox, outbox, letters = {}, {}, {}, {}
            for service in Service:
                schema = service.role
                letters[service.value] = await connection.fetch(f"SELECT * FROM {schema}.dead_letters")
                rows = await connection.fetch(f"SELECT source, event_id FROM {schema}.inbox")
                inbox[service.value] = {(row["source"], row["event_id"]) for row in rows}
                outbox[service.value] = await connection.fetch(
                    f"SELECT topic, headers, published_at FROM {schema}.outbox"
                )
                if service in WORKERS:
                    jobs[service.value] = await connection.fetch(
                        "SELECT id, media_file_id, kind, status, cause, retry_count "
                        f"FROM {schema}.{schema}_jobs"
                    )
            media = await connection.fetch("SELECT id, status, profile, source_path FROM ingest.media_files")
            locations = await connection.fetch("SELECT uri, owner FROM ingest.media_locations")
            results = {
                service.value: Counter(str(row["job_id"]) for row in await connection.fetch(query))
                for service, query in RESULT_ROWS.items()
            }
        return _Tables(
            jobs=jobs,
            media={str(row["id"]): row for row in media},
            locations={(row["uri"], row["owner"]) for row in locations},
            inbox=inbox,
            outbox=outbox,
            letters=letters,
            results=results,
        )
    finally:
        await connection.close(timeout=10)


async def _read_topics(project: Project) -> list[_Seen]:
    """Every record of every topic but those of dead letters, up to the ends of this moment."""
    found: list[_Seen] = []
    consumer = AIOKafkaConsumer(
        bootstrap_servers=project.stack.addresses().kafka_bootstrap_servers,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        enable_auto_commit=False,
    )
    async with asyncio.timeout(60), consumer:
        places = [TopicPartition(t.name, n) for t in TOPICS.values() for n in range(t.partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(places)
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for place, messages in (await consumer.getmany(timeout_ms=500)).items():
                found += [_seen(place, message) for message in messages if message.offset < ends[place]]
    return found


def _seen(place: TopicPartition, message: Any) -> _Seen:
    content: Envelope | EventError
    try:
        content = parse(message.value, message.headers)
    except EventError as error:
        content = error
    return _Seen(place.topic, place.partition, message.offset, content, dict(message.headers))


async def _read_graph(project: Project) -> _Graph:
    addresses = project.stack.addresses()
    login = addresses.neo4j_user, addresses.neo4j_password
    async with AsyncGraphDatabase.driver(addresses.neo4j_uri, auth=login) as driver:
        recordings = await driver.execute_query("MATCH (r:Recording) RETURN r.id AS id")
        jobs = await driver.execute_query("MATCH (j:Job) RETURN j.id AS id, j.status AS status")
        offsets = await driver.execute_query(
            "MATCH (k:KafkaOffset) RETURN k.topic AS topic, k.partition AS partition, k.offset AS offset"
        )
    return _Graph(
        recordings={row["id"] for row in recordings.records},
        jobs={row["id"]: row["status"] for row in jobs.records},
        offsets={(row["topic"], row["partition"]): row["offset"] for row in offsets.records},
    )


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("home", nargs="?", default=os.environ.get("PHONOGRAPH_HOME", ROOT / ".phonograph"))
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for what is missing")
    asked = parser.parse_args()
    environment = dict(os.environ) | {"PHONOGRAPH_HOME": str(Path(asked.home).absolute())}
    found = asyncio.run(settled(Project(ROOT, environment=environment), timeout_s=asked.wait))
    sys.stdout.write(json.dumps(asdict(found) | {"sound": found.sound}, indent=2) + "\n")
    sys.exit(0 if found.sound else 1)


if __name__ == "__main__":
    main()
