"""Faults between Kafka and the tables of one service: every event still has one effect and one result."""

import asyncio
import itertools
import random
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from tests.support.broken_batches import DAMAGES, other_version, stored_batches
from tests.support.processes import consumer_group, header, request
from tests.support.scratch import rows
from tests.support.stack import Stack

from phonograph_cli import kafka
from phonograph_events import (
    DEAD_LETTER_HEADER,
    LAST_OFFSET_HEADER,
    MAX_MESSAGE_BYTES,
    REASON_HEADER,
    TARGET_HEADER,
    Record,
    dead_letter_topic,
)
from phonograph_runtime.database import decode_headers
from phonograph_runtime.record_batches import read_batch

EVENTS = 1_000


@pytest.mark.parametrize(
    "kill",
    [
        "before_commit",
        pytest.param("after_commit", marks=pytest.mark.chaos),
        pytest.param("before_offsets", marks=pytest.mark.chaos),
        pytest.param("after_offsets", marks=pytest.mark.chaos),
    ],
)
async def test_01_killed_consumer_has_each_effect_once(stack: Stack, tmp_path: Path, kill: str) -> None:
    async with consumer_group(stack, tmp_path) as group:
        await group.publish(EVENTS)
        victim = group.start(kill_point=kill, batch_size=100)
        assert await group.wait_for_exit(victim) == -signal.SIGKILL
        group.start()
        await group.wait_until_processed(EVENTS, timeout_s=90)
        report = await group.report()
    print(f"01 {kill}: {report}")
    assert len(report.published) == EVENTS
    assert (report.lost, report.duplicated) == (0, 0)
    assert report.repeated == (0 if kill in {"before_commit", "after_offsets"} else 100)
    # Offsets are committed while the next batch is processed, so that one may be in hand after the commit.
    redelivered = {0, 100} if kill == "after_offsets" else {100}
    assert report.delivered - EVENTS in redelivered


async def test_02_killed_relay_repeats_a_result_at_most_once(stack: Stack, tmp_path: Path) -> None:
    async with consumer_group(stack, tmp_path) as group:
        await group.publish(EVENTS)
        victim = group.start(kill_point="before_mark", kill_after=1, batch_size=100)
        assert await group.wait_for_exit(victim) == -signal.SIGKILL
        group.start()
        await group.wait_until_processed(EVENTS, timeout_s=90)
        report = await group.report()
    print(f"02: {report}")
    assert (report.lost, report.duplicated) == (0, 0)
    assert report.repeated_results > 0
    assert max(count for each in report.results.values() for count in each.values()) == 2


@pytest.mark.parametrize(
    ("pause_s", "is_redelivered"),
    [
        pytest.param(0.02, False, id="completed"),
        pytest.param(0.2, True, id="rolled_back", marks=pytest.mark.chaos),
    ],
)
async def test_03_stop_in_the_middle_of_a_batch(
    stack: Stack, tmp_path: Path, pause_s: float, *, is_redelivered: bool
) -> None:
    async with consumer_group(stack, tmp_path, partitions=1) as group:
        await group.publish(400)
        member = group.start(pause_s=pause_s)
        await group.wait_until("SELECT count(*) FROM deliveries", lambda n: n > 0, timeout_s=60)
        started = time.monotonic()
        assert await group.stop(member, signal.SIGTERM) == 0
        stopped_s = time.monotonic() - started
        group.start()
        await group.wait_until_processed(400, timeout_s=60)
        report = await group.report()
    print(f"03: stopped in {stopped_s:.1f} s, {report}")
    assert stopped_s < 30
    assert (report.lost, report.duplicated) == (0, 0)
    assert (report.redelivered_ratio > 0) == is_redelivered
    assert report.repeated_ratio == 0


@pytest.mark.chaos
async def test_03_stop_while_a_commit_of_offsets_hangs(stack: Stack, tmp_path: Path) -> None:
    async with consumer_group(stack, tmp_path, partitions=1) as group:
        await group.publish(EVENTS)
        member = group.start(offset_commits_hang=True)
        await group.wait_until_processed(EVENTS, timeout_s=60)
        assert await group.stop(member, signal.SIGTERM) == 0
        group.start()
        await group.wait_until("SELECT sum(records) FROM deliveries", lambda n: n >= 2 * EVENTS, timeout_s=60)
        report = await group.report()
    print(f"03, hanging commit: {report}")
    assert (report.lost, report.duplicated, report.delivered) == (0, 0, 2 * EVENTS)


async def test_07_everything_twice_and_from_the_first_offset_changes_nothing(
    stack: Stack, tmp_path: Path
) -> None:
    async with consumer_group(stack, tmp_path) as group:
        records = [request(f"/{number}.mp3") for number in range(EVENTS)]
        await group.send(*records[: EVENTS // 2], *records, *reversed(records))
        member = group.start()
        await group.wait_until(
            "SELECT coalesce(sum(records), 0) FROM deliveries", lambda n: n >= 2.5 * EVENTS, timeout_s=60
        )
        await group.stop(member, signal.SIGTERM)
        await group.rewind()
        group.start()
        await group.wait_until("SELECT sum(records) FROM deliveries", lambda n: n >= 5 * EVENTS, timeout_s=60)
        await group.wait_until_processed(EVENTS, timeout_s=60)
        report = await group.report()
    print(f"07: {report}")
    assert len(report.published) == EVENTS
    assert (report.lost, report.duplicated) == (0, 0)
    assert report.delivered == 5 * EVENTS


GOOD = request("/poison.mp3")


def altered(
    value: bytes | None = GOOD.value, *, key: bytes | None = b"key", **headers: bytes | None
) -> Record:
    """Return a valid record with another body, key or header."""
    return Record(GOOD.topic, key, value, [*{**dict(GOOD.headers), **headers}.items()])


POISON: dict[str, tuple[Record, str]] = {
    "bad_json": (altered(b'{"uri": '), "not_json"),
    "bad_schema": (altered(b'{"uri": 5}'), "invalid"),
    "no_object": (altered(b"[]"), "invalid"),
    "nul_character": (altered(b'{"uri": "/nul\\u0000.mp3"}', ce_id=b"nul"), "refused_by_database"),
    "unknown_type": (altered(ce_type=b"phonograph.nothing.happened.v1"), "unknown_type"),
    "unknown_major": (altered(ce_type=b"phonograph.ingest.requested.v9"), "unknown_type"),
    "no_headers": (Record(GOOD.topic, b"key", GOOD.value, []), "not_cloudevents"),
    "strange_headers": (altered(b"?", nothing=None, empty=b"", bytes=b"\xff\x00"), "not_json"),
    "null_key": (altered(b"?", key=None), "not_json"),
    "tombstone": (altered(None), "empty_body"),
    "null_key_tombstone": (Record(GOOD.topic, None, None, []), "not_cloudevents"),
    "empty_body": (altered(b"", key=b""), "empty_body"),
    "two_megabytes": (altered(random.randbytes(2 * 1024 * 1024)), "not_json"),
    "as_large_as_kafka_takes": (altered(random.randbytes(MAX_MESSAGE_BYTES - 1_000)), "not_json"),
    "deep_nesting": (altered(b"[" * 100_000), "not_json"),
    "invalid_utf8": (altered(b'{"uri": "/\xff\xfe.mp3"}'), "not_json"),
}


@dataclass(frozen=True)
class ParkedPoison:
    """Dead letters of the poison records by name, and the effects of all other events."""

    rows: dict[str, Any]
    """Rows of `dead_letters`."""
    records: dict[str, Any]
    """Records on the dead-letter topic."""
    effects: Sequence[str]
    """URIs of the events that took effect."""


@pytest.fixture(scope="module")
async def parked(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> ParkedPoison:
    """Each poison record is sent between two valid events, all in one partition."""
    async with consumer_group(stack, tmp_path_factory.mktemp("poison"), partitions=1) as group:
        sent = []
        for name, (record, _) in POISON.items():
            sent += await group.send(request(f"/before/{name}"), record, request(f"/after/{name}"))
        member = group.start()
        await group.wait_until_processed(2 * len(POISON), timeout_s=90)
        await group.wait_until("SELECT count(*) FROM dead_letters", lambda n: n == len(POISON), timeout_s=60)
        await group.wait_until_processed(0, timeout_s=60)
        await group.stop(member, signal.SIGTERM)
        by_offset = {row.offset: row for row in await rows(group.database, "SELECT * FROM dead_letters")}
        async with kafka.connect(group.settings.kafka_bootstrap_servers) as client:
            records = await client.read_all([dead_letter_topic(group.topic)])
        by_id = {header(record, DEAD_LETTER_HEADER): record for record in records}
        uris = [uri for (uri,) in await rows(group.database, "SELECT uri FROM effects")]
        stored = {name: by_offset[sent[3 * number + 1].offset] for number, name in enumerate(POISON)}
        published = {name: by_id[str(row.id)] for name, row in stored.items()}
    print(f"08: {len(stored)} parked, {len(uris)} neighbors")
    return ParkedPoison(stored, published, uris)


@pytest.mark.parametrize("poison", POISON)
async def test_08_poison_is_parked(parked: ParkedPoison, poison: str) -> None:
    record, reason = POISON[poison]
    row, published = parked.rows[poison], parked.records[poison]
    assert row.reason == reason
    assert row.error
    assert (row.key, row.value) == (record.key, record.value)
    assert decode_headers(row.headers) == record.headers
    assert (published.key, published.value) == (record.key, record.value)
    assert list(published.headers[: len(record.headers)]) == record.headers
    assert header(published, "phonograph-reason") == reason
    for neighbor in (f"/before/{poison}", f"/after/{poison}"):
        assert parked.effects.count(neighbor) == 1


async def test_08_valid_event_without_key_is_processed(stack: Stack, tmp_path: Path) -> None:
    async with consumer_group(stack, tmp_path) as group:
        await group.send(altered(key=None))
        group.start()
        await group.wait_until_processed(1, timeout_s=60)


async def test_08_replay_after_a_fix_works_once(stack: Stack, tmp_path: Path) -> None:
    async with consumer_group(stack, tmp_path) as group:
        record = request("/refused.mp3")
        await group.send(record)
        member = group.start()
        unresolved = "SELECT count(*) FROM dead_letters WHERE resolution IS NULL"
        await group.wait_until(unresolved, lambda n: n == 1, timeout_s=60)
        await group.stop(member, signal.SIGTERM)
        member = group.start(refused_uri="none")
        ((dead_letter,),) = await rows(group.database, "SELECT id FROM dead_letters")
        headers = [(TARGET_HEADER, group.name.encode()), (DEAD_LETTER_HEADER, str(dead_letter).encode())]
        replay = Record(record.topic, record.key, record.value, record.headers + headers)
        await group.send(replay, replay)
        await group.wait_until_processed(1, timeout_s=60)
        await group.wait_until("SELECT sum(records) FROM deliveries", lambda n: n == 3, timeout_s=60)
        await group.wait_until(
            "SELECT resolution FROM dead_letters", lambda resolution: resolution is not None, timeout_s=60
        )
        await group.wait_until_processed(1, timeout_s=60)
        await group.stop(member, signal.SIGTERM)
        assert await rows(group.database, "SELECT resolution FROM dead_letters") == [("replayed",)]
        assert len(await rows(group.database, "SELECT 1 FROM effects")) == 1
        async with kafka.connect(group.settings.kafka_bootstrap_servers) as client:
            dead_letters = await client.read_all([dead_letter_topic(group.topic)])
            assert len(await client.read_all([group.results])) == 1
    resolutions = [dict(each.headers).get("phonograph-resolution") for each in dead_letters]
    assert resolutions == [None, b"replayed"]


async def test_08_record_that_kafka_refuses_does_not_block_the_outbox(stack: Stack, tmp_path: Path) -> None:
    async with consumer_group(stack, tmp_path, max_dead_letter_bytes=MAX_MESSAGE_BYTES // 4) as group:
        await group.send(altered(random.randbytes(MAX_MESSAGE_BYTES // 2)), request("/good.mp3"))
        group.start()
        await group.wait_until("SELECT count(*) FROM dead_letters", lambda n: n == 1, timeout_s=60)
        await group.wait_until_processed(1, timeout_s=60)
        async with kafka.connect(group.settings.kafka_bootstrap_servers) as client:
            (dead_letter,) = await client.read_all([dead_letter_topic(group.topic)])
            assert len(await client.read_all([group.results])) == 1
    assert (dead_letter.key, dead_letter.value) == (b"key", None)
    assert header(dead_letter, "phonograph-body") == "too large"


async def readiness_failure(port: int) -> str:
    """Return the body of /health/ready while the service is not ready; empty if it is."""

    def request_readiness() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=10):
                return ""
        except urllib.error.HTTPError as error:
            return error.read().decode()

    return await asyncio.to_thread(request_readiness)


@pytest.mark.parametrize(
    ("settings", "bad_every"),
    [
        pytest.param({"fuse_consecutive": 10}, 1, id="in_a_row"),
        pytest.param({"fuse_ratio": 0.05, "batch_size": 100}, 8, id="ratio", marks=pytest.mark.chaos),
    ],
)
async def test_09_fuse_stops_consumption(
    stack: Stack, tmp_path: Path, unused_tcp_port: int, settings: dict[str, Any], bad_every: int
) -> None:
    async with consumer_group(stack, tmp_path, partitions=1) as group:
        records = [
            request(f"/refused/{number}.mp3") if number % bad_every == 0 else request(f"/{number}.mp3")
            for number in range(1_500)
        ]
        await group.send(*records)
        member = group.start(http_port=unused_tcp_port, **settings)
        await group.wait_until("SELECT count(*) FROM dead_letters", lambda n: n >= 10, timeout_s=90)
        async with asyncio.timeout(90):
            while "parked" not in (failure := await readiness_failure(unused_tcp_port)):
                await asyncio.sleep(0.2)
        counts = "SELECT (SELECT count(*) FROM dead_letters), (SELECT count(*) FROM effects)"
        ((parked, processed),) = await rows(group.database, counts)
        await asyncio.sleep(5)
        assert await rows(group.database, counts) == [(parked, processed)]
        assert await group.stop(member, signal.SIGTERM) == 0
        group.start(refused_uri="none")
        await group.wait_until_processed(len(records) - parked, timeout_s=60)
        dead_letters = await rows(group.database, "SELECT headers FROM dead_letters")
        report = await group.report()
    print(f"09: {failure.strip()}; {parked} parked, {processed} processed before the fix; {report}")
    assert parked == 10 if bad_every == 1 else 50 < parked < 200
    parked_ids = {dict(decode_headers(headers))["ce_id"].decode() for (headers,) in dead_letters}
    assert report.duplicated == 0
    # A union: the batch in which the fuse blew is redelivered, so that a parked event may also take effect.
    assert report.effects.keys() | parked_ids == report.published.keys()


@pytest.mark.chaos
async def test_09_restart_with_a_blown_fuse_parks_nothing_twice(stack: Stack, tmp_path: Path) -> None:
    """The fuse blows in the middle of a batch: its dead letters stay, and its records are redelivered."""
    async with consumer_group(stack, tmp_path, partitions=1) as group:
        bad = [request(f"/refused/{number}.mp3") for number in range(30)]
        good = [request(f"/{number}.mp3") for number in range(10)]
        junk = [Record("", b"key", b"junk", [("ce_id", b"%d" % number)]) for number in range(15)]
        await group.send(*bad[:8], *good[:5], *bad[8:], *good[5:], *junk)
        count = "SELECT count(*) FROM dead_letters"
        for parked in (18, 28, 40, 45):
            member = group.start(fuse_consecutive=10)
            await group.wait_until(count, lambda n, least=parked: n >= least, timeout_s=60)
            await asyncio.sleep(1)
            assert await group.stop(member, signal.SIGTERM) == 0
            assert await rows(group.database, count) == [(parked,)]
        stored = await rows(group.database, "SELECT headers FROM dead_letters")
        published = await rows(group.database, "SELECT headers FROM outbox WHERE topic LIKE '%-dlq'")
        assert await rows(group.database, "SELECT count(*) FROM effects") == [(len(good),)]
    ids = sorted(header(record, "ce_id") for record in [*bad, *junk])
    for dead_letters in (stored, published):
        assert sorted(dict(decode_headers(headers))["ce_id"].decode() for (headers,) in dead_letters) == ids


def read_logs(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.glob("*.log")))


@pytest.mark.parametrize("hang", ["task", "closer", "thread", "loop"])
async def test_17_stop_ends_whatever_hangs(stack: Stack, tmp_path: Path, hang: str) -> None:
    async with consumer_group(stack, tmp_path, partitions=1) as group:
        await group.publish(40)
        member = group.start(hang=hang, stop_limit_s=3)
        await group.wait_until_processed(40, timeout_s=60)
        started = time.monotonic()
        code = await group.stop(member, signal.SIGTERM)
        stopped_s = time.monotonic() - started
        log = read_logs(tmp_path)
        assert stopped_s < 3 + 3
        if hang != "closer":  # its time limit ends it
            assert (code, "stop not finished after 3 s" in log) == (1, True)
            assert "Thread 0x" in log
        else:
            assert (code, "connection not closed in time" in log) == (0, True)


async def test_17_lost_cancellation_is_repeated(stack: Stack, tmp_path: Path) -> None:
    async with consumer_group(stack, tmp_path, partitions=1) as group:
        await group.publish(40)
        member = group.start(hang="lost")
        await group.wait_until_processed(40, timeout_s=60)
        started = time.monotonic()
        assert await group.stop(member, signal.SIGTERM) == 0
        stopped_s = time.monotonic() - started
        log = read_logs(tmp_path)
    assert stopped_s < 20
    assert "task does not stop, cancelling it again" in log


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(4, id="few"),
        pytest.param(100, id="many", marks=[pytest.mark.chaos, pytest.mark.timeout(3600)]),
    ],
)
async def test_17_stop_at_every_moment(stack: Stack, tmp_path: Path, rounds: int) -> None:
    """A copy is stopped while it starts, joins, works or leaves, and another one makes it rebalance."""
    dice = random.Random(5)
    stops: list[float] = []
    async with consumer_group(stack, tmp_path, partitions=8) as group:
        group.start(batch_size=50)
        for _ in range(rounds):
            await group.publish(50)
            copies = [group.start(batch_size=10, instance=name) for name in (None, f"copy-{dice.random()}")]
            for copy in copies:
                await asyncio.sleep(dice.uniform(0, 2.5))
                started = time.monotonic()
                assert await group.stop(copy, signal.SIGTERM, timeout_s=35) in {0, -signal.SIGTERM}
                stops.append(time.monotonic() - started)
        await group.wait_until_processed(50 * rounds, timeout_s=120)
        report = await group.report()
    print(f"17: {len(stops)} stops, the longest {max(stops):.1f} s, {report}")
    assert max(stops) < 30
    assert (report.lost, report.duplicated) == (0, 0)


@dataclass(frozen=True)
class Damage:
    """Batches that were damaged in the log of Kafka."""

    places: set[tuple[int, int]]
    """Partition and first offset of each."""
    event_ids: list[str]
    """Events that they held."""


def damage_batches(stack: Stack, topic: str, partitions: range) -> Damage:
    """Damage batches in every way: of each partition the first, the last and some between."""
    places: set[tuple[int, int]] = set()
    event_ids: list[str] = []
    damages = itertools.cycle(DAMAGES)
    for number in partitions:
        partition = TopicPartition(topic, number)
        batches = stored_batches(stack, partition)
        for batch in {*batches[:1], *batches[2 :: 4 + number], *batches[-1:]}:
            event_ids += [header(record, "ce_id") for record in read_batch(batch.read(), partition).records]
            batch.change(next(damages))
            places.add((number, batch.base_offset))
    return Damage(places, event_ids)


async def test_16_broken_batches_are_parked(stack: Stack, tmp_path: Path) -> None:
    async with consumer_group(stack, tmp_path, partitions=4) as group:
        await group.publish(EVENTS, seconds=4)
        damage = damage_batches(stack, group.topic, range(3))
        intact = TopicPartition(group.topic, 3)
        records = [
            record
            for batch in stored_batches(stack, intact)
            for record in read_batch(batch.read(), intact).records
        ]
        of_intact = ", ".join(f"'{header(record, 'ce_id')}'" for record in records)
        started = time.monotonic()
        group.start(batch_size=50)
        await group.wait_until(
            f"SELECT count(*) FROM effects WHERE event_id IN ({of_intact})",
            lambda n: n == len(records),
            timeout_s=30,
        )
        intact_s = time.monotonic() - started
        group.start(batch_size=50)  # a rebalance while batches are being tried again
        expected = EVENTS - len(damage.event_ids)
        await group.wait_until_processed(expected, timeout_s=120)
        await group.wait_until(
            "SELECT count(*) FROM dead_letters", lambda n: n == len(damage.places), timeout_s=120
        )
        await group.publish(40)
        await group.wait_until_processed(expected + 40, timeout_s=30)
        parked = await rows(
            group.database, 'SELECT partition, "offset", reason, attempts, value FROM dead_letters'
        )
        effects = [event_id for (event_id,) in await rows(group.database, "SELECT event_id FROM effects")]
        log = read_logs(tmp_path)
        async with kafka.connect(group.settings.kafka_bootstrap_servers) as client:
            published = await client.read_all([dead_letter_topic(group.topic)])
    print(f"16: {len(damage.places)} batches broken, the intact partition done after {intact_s:.1f} s")
    assert len(damage.places) > len(DAMAGES)
    assert {(row.partition, row.offset) for row in parked} == damage.places
    assert len(parked) == len(damage.places)
    assert {(row.reason, row.attempts) for row in parked} == {("unreadable_batch", 3)}
    assert all(row.value for row in parked)
    assert len(effects) == len(set(effects)) == expected + 40
    assert not set(effects) & set(damage.event_ids)
    assert {header(record, REASON_HEADER) for record in published} == {"unreadable_batch"}
    assert all(header(record, LAST_OFFSET_HEADER).isdecimal() for record in published)
    for number, offset in damage.places:
        assert re.search(rf'unreadable batch parked.*"partition": {number}, "offset": {offset}\b', log) or (
            re.search(rf'"partition": {number}\b.*"offset": {offset}\b.*unreadable batch parked', log)
        )


async def test_16_batch_that_kafka_cannot_read_is_passed(stack: Stack, tmp_path: Path) -> None:
    async with consumer_group(stack, tmp_path, partitions=2) as group:
        await group.publish(EVENTS // 5, seconds=2)
        partition = TopicPartition(group.topic, 0)
        stored_batches(stack, partition)[0].change(other_version)
        group.start(stall_after="PT8S")
        await group.wait_until("SELECT count(*) FROM dead_letters", lambda n: n == 1, timeout_s=60)
        await group.wait_until_processed(0, timeout_s=60)
        async with kafka.connect(group.settings.kafka_bootstrap_servers) as client:
            (published,) = await client.read_all([dead_letter_topic(group.topic)])
        # Kafka finds later batches by its index, which has an entry for every 4 KiB.
        passed = int(header(published, LAST_OFFSET_HEADER)) + 1
        await group.wait_until_processed(EVENTS // 5 - passed, timeout_s=60)
        parked = await rows(group.database, 'SELECT partition, "offset", reason, value FROM dead_letters')
        effects = await rows(group.database, "SELECT count(*) FROM effects")
        log = read_logs(tmp_path)
    assert passed < EVENTS // 5 / 4
    assert effects == [(EVENTS // 5 - passed,)]
    assert parked == [(0, 0, "unreadable_batch", None)]
    assert "partition stuck, examining it" in log


@pytest.mark.parametrize(
    "stall_after",
    [pytest.param("PT3S", id="quick"), pytest.param("PT1M", id="default", marks=pytest.mark.chaos)],
)
async def test_12_stalled_consumer_is_restarted(stack: Stack, tmp_path: Path, stall_after: str) -> None:
    async with consumer_group(stack, tmp_path) as group:
        group.start(heartbeats_fail=True, stall_after=stall_after, batch_size=10)
        await group.publish(EVENTS, seconds=8)
        await group.wait_until_processed(EVENTS, timeout_s=200)
        report = await group.report()
    print(f"12: {report}")
    assert (report.lost, report.duplicated) == (0, 0)
    assert 3 < report.longest_stall_s < 120
