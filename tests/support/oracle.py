"""Checks that every requested file was processed exactly once, from the tables, the topics and the graph.

    audit = await wait_until_complete(project)     # until nothing is missing, or the time is up
    assert audit.is_sound, audit.problems

By hand, on any stack: `python -m tests.support.oracle [HOME]`; the exit code is 0 if the system is sound.
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
MAX_LISTED = 20
"""Number of missing and of wrong things that a message lists."""
SERVICES_OF_KIND = {
    (Service.ANALYSIS, "analysis"): {Service.ANALYSIS},
    (Service.TRACKLIST, "tracklist"): {Service.TRACKLIST},
    (Service.TRANSCRIPTION, "transcribe"): {Service.TRANSCRIPTION},
    (Service.TRANSCRIPTION, "merge"): {Service.TRANSCRIPTION, Service.DIARIZATION},
    (Service.DIARIZATION, "diarize"): {Service.DIARIZATION},
    (Service.HIGHLIGHTS, "silence"): {Service.HIGHLIGHTS},
    (Service.HIGHLIGHTS, "segments"): {Service.HIGHLIGHTS, Service.TRANSCRIPTION},
}
"""Kinds of job, each with the services that the profile of its file must include."""
PREREQUISITES = {"merge": {"transcribe", "diarize"}, "segments": {"transcribe"}}
"""Kinds of job that are not enqueued if a job of one of these kinds has failed."""
FINAL_STATUSES = {"completed", "failed"}
RESULT_QUERIES = {
    Service.ANALYSIS: "SELECT job_id FROM analysis.analysis_results",
    Service.TRANSCRIPTION: "SELECT job_id FROM transcription.transcription_results",
}


@dataclass(frozen=True)
class Audit:
    """Counts, and the deviations from exactly-once processing."""

    requests: int
    ready: int
    duplicates: int
    rejected: int
    jobs: int
    failed_jobs: int
    attempts: int
    """Attempts of all jobs; equal to `jobs` if none was interrupted."""
    events: int
    """Distinct ids on all topics."""
    repeated: int
    """Records that repeat an id."""
    unreadable: int
    parked: int
    """Dead letters that are not resolved."""
    nodes: int
    missing: tuple[str, ...]
    """Deviations that may disappear when the system goes on working."""
    wrong: tuple[str, ...]
    """Deviations that waiting does not repair: done twice, published without a commit, or lost."""

    @property
    def is_sound(self) -> bool:
        """Whether every service processed every request exactly once, and nothing else happened."""
        return not self.missing and not self.wrong

    @property
    def problems(self) -> str:
        """The first deviations, as the message of an assertion."""
        return "\n".join(["missing:", *self.missing[:MAX_LISTED], "wrong:", *self.wrong[:MAX_LISTED]])

    @property
    def summary(self) -> str:
        """The counts in one line."""
        counts = asdict(self) | {"missing": len(self.missing), "wrong": len(self.wrong)}
        return ", ".join(f"{value} {name}" for name, value in counts.items())


@dataclass(frozen=True)
class _TopicRecord:
    """A record on a topic."""

    topic: str
    partition: int
    offset: int
    content: Envelope | EventError
    headers: dict[str, bytes]

    @property
    def position(self) -> tuple[str, int, int]:
        return self.topic, self.partition, self.offset


@dataclass(frozen=True)
class _Tables:
    """Content of the services' tables, by service where all have the table."""

    jobs: dict[str, list[Any]]
    media: dict[str, Any]
    locations: set[tuple[str, str]]
    inbox: dict[str, set[tuple[str, str]]]
    outbox: dict[str, list[Any]]
    dead_letters: dict[str, list[Any]]
    results: dict[str, Counter[str]]

    @cached_property
    def ready(self) -> set[str]:
        return {key for key, row in self.media.items() if row["status"] == "ready"}

    @cached_property
    def rejected(self) -> set[str]:
        return {row["source_path"] for row in self.media.values() if row["status"] == "failed"}

    @cached_property
    def ingest_jobs(self) -> dict[str, list[Any]]:
        """Jobs of ingest by the id of the event that requested them."""
        jobs: dict[str, list[Any]] = defaultdict(list)
        for job in self.jobs[Service.INGEST]:
            jobs[(job["cause"] or {}).get("event_id", "")].append(job)
        return jobs


@dataclass(frozen=True)
class _Graph:
    """Content of the graph."""

    recordings: set[str]
    jobs: dict[str, str]
    offsets: dict[tuple[str, int], int]


async def audit(project: Project) -> Audit:
    """Check the system once."""
    # Tables before topics: an event that a table marks as published must be on its topic by then.
    tables = await _read_tables(project)
    records = await _read_topics(project)
    graph = await _read_graph(project)
    events = _EventIndex(records)
    deviations = [
        *(each for request in events.requests for each in _check_request(*request, events, tables)),
        *_check_media(events, tables, graph),
        *(each for service in WORKERS for each in _check_jobs(service, events, tables, graph)),
        *_check_profiles(tables),
        *_check_outboxes(events, tables),
        *(each for service in WORKERS for each in _check_inbox(service, records, tables)),
        *_check_offsets(records, tables, graph),
    ]
    jobs = [job for rows in tables.jobs.values() for job in rows]
    return Audit(
        requests=len(events.requests),
        ready=len(tables.ready),
        duplicates=events.count(MediaDuplicated),
        rejected=events.count(MediaRejected),
        jobs=len(jobs),
        failed_jobs=sum(job["status"] == "failed" for job in jobs),
        attempts=sum(job["retry_count"] + 1 for job in jobs),
        events=len(events.by_id),
        repeated=events.repeated,
        unreadable=sum(isinstance(record.content, EventError) for record in records),
        parked=sum(row["resolution"] is None for rows in tables.dead_letters.values() for row in rows),
        nodes=len(graph.recordings),
        missing=tuple(text for may_disappear, text in deviations if may_disappear),
        wrong=tuple(text for may_disappear, text in deviations if not may_disappear),
    )


async def wait_until_complete(project: Project, *, timeout_s: float = 120) -> Audit:
    """Check the system every second until nothing is missing or the time is up; return the last audit."""
    deadline = time.monotonic() + timeout_s
    while True:
        current = await audit(project)
        if not current.missing or time.monotonic() > deadline:
            return current
        await asyncio.sleep(1)


class _EventIndex:
    """The events on the topics, each id once."""

    def __init__(self, records: Iterable[_TopicRecord]) -> None:
        self.by_id: dict[tuple[str, str], Envelope] = {}
        """Events by source and id."""
        self.repeated = 0
        self.ingest_results: dict[str, set[str]] = defaultdict(set)
        """Ids of the events that end a job of ingest, by the job's id."""
        self.failures: Counter[str] = Counter()
        self.results: dict[str, set[str]] = defaultdict(set)
        self.announced: Counter[str] = Counter()
        """Number of `MediaReady` events by media id."""
        self._requests: dict[tuple[str, ...], tuple[Envelope, IngestRequested]] = {}
        for record in records:
            if isinstance(record.content, Envelope):
                key = record.content.source, record.content.id
                self.repeated += key in self.by_id
                if self.by_id.setdefault(key, record.content) is record.content:
                    self._index(record.content)

    def _index(self, envelope: Envelope) -> None:
        match envelope.data:
            case IngestRequested() as event:
                own_key = (envelope.source, envelope.id)
                key = own_key if event.request_id is None else ("", event.owner or "", event.request_id)
                self._requests.setdefault(key, (envelope, event))
            case MediaReady() | MediaDuplicated() | MediaRejected() as event:
                self.ingest_results[str(event.job.job_id)].add(envelope.id)
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
        """The requests, without those that repeat a request id of their owner."""
        return list(self._requests.values())

    def count(self, event: type[Event]) -> int:
        """Return the number of events of a type."""
        return sum(isinstance(envelope.data, event) for envelope in self.by_id.values())


Deviation = tuple[bool, str]
"""Whether it may disappear when the system goes on working, and its description."""


def _check_request(
    envelope: Envelope, request: IngestRequested, events: _EventIndex, tables: _Tables
) -> Iterator[Deviation]:
    """Check that a request has one job, that the job has one result, and that the file has a row."""
    uri, owner = canonical_uri(request.uri), request.owner or ""
    jobs = tables.ingest_jobs[envelope.id]
    if len(jobs) != 1:
        yield not jobs, f"request {envelope.id} for {uri} has {len(jobs)} jobs"
    for job in jobs:
        results, failures = events.ingest_results[str(job["id"])], events.failures[str(job["id"])]
        if not 1 <= len(results) <= 1 + failures:
            yield not results, f"{uri} has {len(results)} results (job {job['id']}, {job['status']})"
        if results and (uri, owner) not in tables.locations and uri not in tables.rejected:
            yield False, f"no row for the file {uri}"


def _check_media(events: _EventIndex, tables: _Tables, graph: _Graph) -> Iterator[Deviation]:
    """Check that every ready file was announced by one event and has one node."""
    for key in sorted(tables.ready | events.announced.keys()):
        if key not in tables.ready:
            yield False, f"media {key} was announced and has no row"
        elif events.announced[key] != 1:
            yield not events.announced[key], f"media {key} was announced {events.announced[key]} times"
        if key not in graph.recordings:
            yield True, f"media {key} has no node"
    for key in sorted(graph.recordings - tables.media.keys()):
        yield False, f"the graph has a recording {key} that no table has"


def _check_jobs(service: str, events: _EventIndex, tables: _Tables, graph: _Graph) -> Iterator[Deviation]:
    """Check that every job has ended, that the graph agrees, and that a completed job has one result."""
    for job in tables.jobs[service]:
        key, name = str(job["id"]), f"job {job['id']} ({service}, {job['kind']})"
        if job["status"] not in FINAL_STATUSES:
            yield True, f"{name} is {job['status']}"
        elif graph.jobs.get(key) != job["status"]:
            yield True, f"{name} is {job['status']}, its node is {graph.jobs.get(key)}"
        if service != Service.INGEST and job["status"] == "completed":
            if len(events.results[key]) != 1:
                yield not events.results[key], f"{name} has {len(events.results[key])} result events"
            if service in tables.results and tables.results[service][key] != 1:
                yield False, f"{name} has {tables.results[service][key]} result rows"
    if service == Service.INGEST:
        stored = {str(job["id"]) for jobs in tables.jobs.values() for job in jobs}
        for key in sorted(graph.jobs.keys() - stored):
            yield False, f"the graph has a job {key} that no table has"


def _check_profiles(tables: _Tables) -> Iterator[Deviation]:
    """Check that every ready file has one job of each kind that its profile requires."""
    by_media: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    failed: dict[str, set[str]] = defaultdict(set)
    for service, jobs in tables.jobs.items():
        for job in jobs:
            by_media[str(job["media_file_id"])][service, job["kind"]] += 1
            if job["status"] == "failed":
                failed[str(job["media_file_id"])].add(job["kind"])
    for key in sorted(tables.ready):
        profile = tables.media[key]["profile"]
        included = RESULT_SERVICES[Profile(profile) if profile in set(Profile) else Profile.AUTO]
        for (service, kind), services in SERVICES_OF_KIND.items():
            count, most = by_media[key][service, kind], int(services <= included)
            is_required = most and not PREREQUISITES.get(kind, set()) & failed[key]
            if count > most or (is_required and not count):
                yield count < most, f"media {key} has {count} jobs of the kind {kind}, not {most}"


def _check_outboxes(events: _EventIndex, tables: _Tables) -> Iterator[Deviation]:
    """Check that every outbox row is on its topic, and that every event on a topic has an outbox row."""
    committed: set[tuple[str, str]] = set()
    for service, rows in tables.outbox.items():
        waiting = sum(row["published_at"] is None for row in rows)
        if waiting:
            yield True, f"{waiting} events wait in the outbox of {service}"
        for row in rows:
            if row["topic"] not in TOPICS:
                continue  # a dead letter keeps the id of the parked event
            headers = {name: value.decode() for name, value in decode_headers(row["headers"]) if value}
            key = headers["ce_source"], headers["ce_id"]
            committed.add(key)
            if row["published_at"] is not None and key not in events.by_id:
                yield False, f"{row['topic']} {key[1]} was published by {service} and is not on its topic"
    for source, event_id in sorted(events.by_id.keys() - committed):
        if source in WORKERS:
            yield False, f"event {event_id} of {source} is on a topic and in no outbox"


def _check_inbox(service: str, records: Iterable[_TopicRecord], tables: _Tables) -> Iterator[Deviation]:
    """Check that a service processed or parked every record for it, and nothing else."""
    unprocessed: Counter[str] = Counter()
    parked = _parked_positions(service, tables)
    on_topics: set[tuple[str, str]] = set()
    for record in _records_for(service, records):
        is_processed = False
        if isinstance(record.content, Envelope):
            on_topics.add((record.content.source, record.content.id))
            is_processed = (record.content.source, record.content.id) in tables.inbox[service]
        if not is_processed and record.position not in parked:
            unprocessed[record.topic] += 1
    for topic, count in unprocessed.items():
        yield True, f"{service} has not processed {count} records of {topic}"
    for source, event_id in tables.inbox[service] - on_topics:
        yield False, f"{service} processed an event {event_id} of {source} that is on no topic"


def _check_offsets(records: Iterable[_TopicRecord], tables: _Tables, graph: _Graph) -> Iterator[Deviation]:
    """Check that the graph contains every record up to the last offset."""
    parked = _parked_positions(Service.GRAPH_SYNC, tables)
    unprocessed: Counter[str] = Counter()
    for record in _records_for(Service.GRAPH_SYNC, records):
        last_offset = graph.offsets.get((record.topic, record.partition), -1)
        if record.offset > last_offset and record.position not in parked:
            unprocessed[record.topic] += 1
    for topic, count in unprocessed.items():
        yield True, f"the graph lacks {count} records of {topic}"


def _parked_positions(service: str, tables: _Tables) -> set[tuple[str, int, int]]:
    return {(row["topic"], row["partition"], row["offset"]) for row in tables.dead_letters[service]}


def _records_for(service: str, records: Iterable[_TopicRecord]) -> Iterator[_TopicRecord]:
    """Yield the records that a service consumes, without replays for other services."""
    for record in records:
        target = record.headers.get(TARGET_HEADER, service.encode())
        is_drop = record.headers.get("phonograph-action") == b"drop"
        if service in TOPICS[record.topic].consumers and target == service.encode() and not is_drop:
            yield record


async def _read_tables(project: Project) -> _Tables:
    connection = await asyncpg.connect(project.stack.addresses().postgres_url, timeout=10)
    try:
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            jobs, inbox, outbox, dead_letters = {}, {}, {}, {}
            for service in Service:
                schema = service.role
                dead_letters[service.value] = await connection.fetch(f"SELECT * FROM {schema}.dead_letters")
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
                for service, query in RESULT_QUERIES.items()
            }
        return _Tables(
            jobs=jobs,
            media={str(row["id"]): row for row in media},
            locations={(row["uri"], row["owner"]) for row in locations},
            inbox=inbox,
            outbox=outbox,
            dead_letters=dead_letters,
            results=results,
        )
    finally:
        await connection.close(timeout=10)


async def _read_topics(project: Project) -> list[_TopicRecord]:
    """Return every record up to the current end of every topic, dead-letter topics left out."""
    records: list[_TopicRecord] = []
    consumer = AIOKafkaConsumer(
        bootstrap_servers=project.stack.addresses().kafka_bootstrap_servers,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        enable_auto_commit=False,
    )
    async with asyncio.timeout(60), consumer:
        partitions = [TopicPartition(t.name, n) for t in TOPICS.values() for n in range(t.partitions)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for partition, messages in (await consumer.getmany(timeout_ms=500)).items():
                end = ends[partition]
                records += [_to_record(partition, message) for message in messages if message.offset < end]
    return records


def _to_record(partition: TopicPartition, message: Any) -> _TopicRecord:
    content: Envelope | EventError
    try:
        content = parse(message.value, message.headers)
    except EventError as error:
        content = error
    headers = dict(message.headers)
    return _TopicRecord(partition.topic, partition.partition, message.offset, content, headers)


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
    """Print an audit as JSON; the exit code is 0 if the system is sound."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("home", nargs="?", default=os.environ.get("PHONOGRAPH_HOME", ROOT / ".phonograph"))
    parser.add_argument("--wait", type=float, default=0.0, help="seconds to wait for what is missing")
    arguments = parser.parse_args()
    environment = dict(os.environ) | {"PHONOGRAPH_HOME": str(Path(arguments.home).absolute())}
    project = Project(ROOT, environment=environment)
    last = asyncio.run(wait_until_complete(project, timeout_s=arguments.wait))
    sys.stdout.write(json.dumps(asdict(last) | {"sound": last.is_sound}, indent=2) + "\n")
    sys.exit(0 if last.is_sound else 1)


if __name__ == "__main__":
    main()
