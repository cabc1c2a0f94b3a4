"""Faults between Kafka and the tables of one service: every event has one effect and one result."""

import asyncio
import random
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import group, header, request
from tests.support.scratch import rows
from tests.support.stack import Stack

from phonograph_cli import kafka
from phonograph_events import DEAD_LETTER_HEADER, MAX_MESSAGE_BYTES, TARGET_HEADER, Record, dead_letter_topic
from phonograph_runtime.database import decode_headers

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
    async with group(stack, tmp_path) as members:
        await members.publish(EVENTS)
        victim = members.start(kill=kill, batch_size=100)
        assert await members.ended(victim) == -signal.SIGKILL
        members.start()
        await members.until_taken(EVENTS, timeout_s=90)
        outcome = await members.outcome()
    print(f"01 {kill}: {outcome}")
    assert len(outcome.published) == EVENTS
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert outcome.repeated == (0 if kill in {"before_commit", "after_offsets"} else 100)
    assert outcome.delivered == EVENTS + (0 if kill == "after_offsets" else 100)


async def test_02_killed_relay_repeats_a_result_at_most_once(stack: Stack, tmp_path: Path) -> None:
    async with group(stack, tmp_path) as members:
        await members.publish(EVENTS)
        victim = members.start(kill="before_mark", kill_after=1, batch_size=100)
        assert await members.ended(victim) == -signal.SIGKILL
        members.start()
        await members.until_taken(EVENTS, timeout_s=90)
        outcome = await members.outcome()
    print(f"02: {outcome}")
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert outcome.result_duplicates > 0
    assert max(count for each in outcome.results.values() for count in each.values()) == 2


@pytest.mark.parametrize(
    ("pause_s", "repeated"),
    [
        pytest.param(0.02, False, id="ends"),
        pytest.param(0.2, True, id="rolled_back", marks=pytest.mark.chaos),
    ],
)
async def test_03_stop_in_the_middle_of_a_batch(
    stack: Stack, tmp_path: Path, pause_s: float, *, repeated: bool
) -> None:
    async with group(stack, tmp_path, partitions=1) as members:
        await members.publish(400)
        member = members.start(pause_s=pause_s)
        await members.until("SELECT count(*) FROM deliveries", lambda n: n > 0, timeout_s=60)
        started = time.monotonic()
        assert await members.stop(member, signal.SIGTERM) == 0
        stopped_s = time.monotonic() - started
        members.start()
        await members.until_taken(400, timeout_s=60)
        outcome = await members.outcome()
    print(f"03: stopped in {stopped_s:.1f} s, {outcome}")
    assert stopped_s < 30
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert (outcome.delivered_again > 0) == repeated
    assert outcome.duplicates == 0


@pytest.mark.chaos
async def test_03_stop_while_a_commit_of_offsets_hangs(stack: Stack, tmp_path: Path) -> None:
    async with group(stack, tmp_path, partitions=1) as members:
        await members.publish(EVENTS)
        member = members.start(mute=True)
        await members.until_taken(EVENTS, timeout_s=60)
        assert await members.stop(member, signal.SIGTERM) == 0
        members.start()
        await members.until("SELECT sum(records) FROM deliveries", lambda n: n >= 2 * EVENTS, timeout_s=60)
        outcome = await members.outcome()
    print(f"03, hanging commit: {outcome}")
    assert (outcome.lost, outcome.twice, outcome.delivered) == (0, 0, 2 * EVENTS)


async def test_07_everything_twice_and_from_the_first_offset_changes_nothing(
    stack: Stack, tmp_path: Path
) -> None:
    async with group(stack, tmp_path) as members:
        records = [request(f"/{number}.mp3") for number in range(EVENTS)]
        await members.send(*records[: EVENTS // 2], *records, *reversed(records))
        member = members.start()
        await members.until(
            "SELECT coalesce(sum(records), 0) FROM deliveries", lambda n: n >= 2.5 * EVENTS, timeout_s=60
        )
        await members.stop(member, signal.SIGTERM)
        await members.rewind()
        members.start()
        await members.until("SELECT sum(records) FROM deliveries", lambda n: n >= 5 * EVENTS, timeout_s=60)
        await members.until_taken(EVENTS, timeout_s=60)
        outcome = await members.outcome()
    print(f"07: {outcome}")
    assert len(outcome.published) == EVENTS
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert outcome.delivered == 5 * EVENTS


GOOD = request("/poison.mp3")


def spoilt(
    value: bytes | None = GOOD.value, *, key: bytes | None = b"key", **headers: bytes | None
) -> Record:
    """A good record with another body, key or header."""
    return Record(GOOD.topic, key, value, [*{**dict(GOOD.headers), **headers}.items()])  # type: ignore[arg-type]


POISON: dict[str, tuple[Record, str]] = {
    "bad_json": (spoilt(b'{"uri": '), "not_json"),
    "bad_schema": (spoilt(b'{"uri": 5}'), "invalid"),
    "no_object": (spoilt(b"[]"), "invalid"),
    "nul_character": (spoilt(b'{"uri": "/nul\\u0000.mp3"}', ce_id=b"nul"), "refused_by_database"),
    "unknown_type": (spoilt(ce_type=b"phonograph.nothing.happened.v1"), "unknown_type"),
    "unknown_major": (spoilt(ce_type=b"phonograph.ingest.requested.v9"), "unknown_type"),
    "no_headers": (Record(GOOD.topic, b"key", GOOD.value, []), "not_cloudevents"),
    "strange_headers": (spoilt(b"?", nothing=None, empty=b"", bytes=b"\xff\x00"), "not_json"),
    "null_key": (spoilt(b"?", key=None), "not_json"),
    "tombstone": (spoilt(None), "empty_body"),
    "null_key_tombstone": (Record(GOOD.topic, None, None, []), "not_cloudevents"),  # type: ignore[arg-type]
    "empty_body": (spoilt(b"", key=b""), "empty_body"),
    "two_megabytes": (spoilt(random.randbytes(2 * 1024 * 1024)), "not_json"),
    "as_large_as_kafka_takes": (spoilt(random.randbytes(MAX_MESSAGE_BYTES - 1_000)), "not_json"),
    "deep_nesting": (spoilt(b"[" * 100_000), "not_json"),
    "invalid_utf8": (spoilt(b'{"uri": "/\xff\xfe.mp3"}'), "not_json"),
}


@dataclass(frozen=True)
class Parked:
    """What became of every poison, by its name."""

    letters: dict[str, Any]
    published: dict[str, Any]
    effects: Sequence[str]


@pytest.fixture(scope="module")
async def parked(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Parked:
    """Every poison between two good events, in one partition."""
    async with group(stack, tmp_path_factory.mktemp("poison"), partitions=1) as members:
        sent = []
        for name, (record, _) in POISON.items():
            sent += await members.send(request(f"/before/{name}"), record, request(f"/after/{name}"))
        member = members.start()
        await members.until_taken(2 * len(POISON), timeout_s=90)
        await members.until("SELECT count(*) FROM dead_letters", lambda n: n == len(POISON), timeout_s=60)
        await members.until_taken(0, timeout_s=60)
        await members.stop(member, signal.SIGTERM)
        letters = {row.offset: row for row in await rows(members.database, "SELECT * FROM dead_letters")}
        async with kafka.connect(members.settings.kafka_bootstrap_servers) as client:
            records = await client.read_all([dead_letter_topic(members.topic)])
        published = {header(record, DEAD_LETTER_HEADER): record for record in records}
        uris = [uri for (uri,) in await rows(members.database, "SELECT uri FROM effects")]
        found = {name: letters[sent[3 * number + 1].offset] for number, name in enumerate(POISON)}
        told = {name: published[str(letter.id)] for name, letter in found.items()}
    print(f"08: {len(found)} parked, {len(uris)} neighbours")
    return Parked(found, told, uris)


@pytest.mark.parametrize("poison", POISON)
async def test_08_poison_is_parked(parked: Parked, poison: str) -> None:
    record, reason = POISON[poison]
    letter, told = parked.letters[poison], parked.published[poison]
    assert letter.reason == reason
    assert letter.error
    assert (letter.key, letter.value) == (record.key, record.value)
    assert decode_headers(letter.headers) == record.headers
    assert (told.key, told.value) == (record.key, record.value)
    assert list(told.headers[: len(record.headers)]) == record.headers
    assert header(told, "phonograph-reason") == reason
    for neighbour in (f"/before/{poison}", f"/after/{poison}"):
        assert parked.effects.count(neighbour) == 1


async def test_08_good_event_without_key_is_taken(stack: Stack, tmp_path: Path) -> None:
    async with group(stack, tmp_path) as members:
        await members.send(spoilt(key=None))
        members.start()
        await members.until_taken(1, timeout_s=60)


async def test_08_replay_after_a_fix_works_once(stack: Stack, tmp_path: Path) -> None:
    async with group(stack, tmp_path) as members:
        record = request("/refused.mp3")
        await members.send(record)
        member = members.start()
        lying = "SELECT count(*) FROM dead_letters WHERE resolution IS NULL"
        await members.until(lying, lambda n: n == 1, timeout_s=60)
        await members.stop(member, signal.SIGTERM)
        member = members.start(refuse="nothing")
        ((letter,),) = await rows(members.database, "SELECT id FROM dead_letters")
        replay = [(TARGET_HEADER, members.name.encode()), (DEAD_LETTER_HEADER, str(letter).encode())]
        again = Record(record.topic, record.key, record.value, record.headers + replay)
        await members.send(again, again)
        await members.until_taken(1, timeout_s=60)
        await members.until("SELECT sum(records) FROM deliveries", lambda n: n == 3, timeout_s=60)
        await members.until(
            "SELECT resolution FROM dead_letters", lambda word: word is not None, timeout_s=60
        )
        await members.until_taken(1, timeout_s=60)
        await members.stop(member, signal.SIGTERM)
        assert await rows(members.database, "SELECT resolution FROM dead_letters") == [("replayed",)]
        assert len(await rows(members.database, "SELECT 1 FROM effects")) == 1
        async with kafka.connect(members.settings.kafka_bootstrap_servers) as client:
            told = await client.read_all([dead_letter_topic(members.topic)])
            assert len(await client.read_all([members.results])) == 1
    assert [dict(each.headers).get("phonograph-resolution") for each in told] == [None, b"replayed"]


async def test_08_record_that_kafka_refuses_does_not_block_the_outbox(stack: Stack, tmp_path: Path) -> None:
    async with group(stack, tmp_path, letter_bytes=MAX_MESSAGE_BYTES // 4) as members:
        await members.send(spoilt(random.randbytes(MAX_MESSAGE_BYTES // 2)), request("/good.mp3"))
        members.start()
        await members.until("SELECT count(*) FROM dead_letters", lambda n: n == 1, timeout_s=60)
        await members.until_taken(1, timeout_s=60)
        async with kafka.connect(members.settings.kafka_bootstrap_servers) as client:
            (told,) = await client.read_all([dead_letter_topic(members.topic)])
            assert len(await client.read_all([members.results])) == 1
    assert (told.key, told.value, header(told, "phonograph-body")) == (b"key", None, "too large")


async def not_ready(port: int) -> str:
    """What /health/ready says while it says no."""

    def ask() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=10):
                return ""
        except urllib.error.HTTPError as error:
            return error.read().decode()

    return await asyncio.to_thread(ask)


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
    async with group(stack, tmp_path, partitions=1) as members:
        records = [
            request(f"/refused/{number}.mp3") if number % bad_every == 0 else request(f"/{number}.mp3")
            for number in range(1_500)
        ]
        await members.send(*records)
        member = members.start(http_port=unused_tcp_port, **settings)
        await members.until("SELECT count(*) FROM dead_letters", lambda n: n >= 10, timeout_s=90)
        async with asyncio.timeout(90):
            while "parked" not in (why := await not_ready(unused_tcp_port)):
                await asyncio.sleep(0.2)
        counts = "SELECT (SELECT count(*) FROM dead_letters), (SELECT count(*) FROM effects)"
        ((parked, taken),) = await rows(members.database, counts)
        await asyncio.sleep(5)
        assert await rows(members.database, counts) == [(parked, taken)]
        assert await members.stop(member, signal.SIGTERM) == 0
        members.start(refuse="nothing")
        await members.until_taken(len(records) - parked, timeout_s=60)
        letters = await rows(members.database, "SELECT headers FROM dead_letters")
        outcome = await members.outcome()
    print(f"09: {why.strip()}; {parked} parked, {taken} taken before the fix; {outcome}")
    assert parked == 10 if bad_every == 1 else 50 < parked < 200
    lying = {dict(decode_headers(headers))["ce_id"].decode() for (headers,) in letters}
    assert outcome.twice == 0
    assert outcome.effects.keys() | lying == outcome.published.keys()  # a batch of letters may come again


@pytest.mark.chaos
async def test_09_restart_with_a_blown_fuse_parks_nothing_twice(stack: Stack, tmp_path: Path) -> None:
    """The fuse blows in the middle of a batch: its letters stay, and its records come again."""
    async with group(stack, tmp_path, partitions=1) as members:
        bad = [request(f"/refused/{number}.mp3") for number in range(30)]
        good = [request(f"/{number}.mp3") for number in range(10)]
        junk = [Record("", b"key", b"junk", [("ce_id", b"%d" % number)]) for number in range(15)]
        await members.send(*bad[:8], *good[:5], *bad[8:], *good[5:], *junk)
        count = "SELECT count(*) FROM dead_letters"
        for parked in (18, 28, 40, 45):
            member = members.start(fuse_consecutive=10)
            await members.until(count, lambda n, least=parked: n >= least, timeout_s=60)
            await asyncio.sleep(1)
            assert await members.stop(member, signal.SIGTERM) == 0
            assert await rows(members.database, count) == [(parked,)]
        letters = await rows(members.database, "SELECT headers FROM dead_letters")
        told = await rows(members.database, "SELECT headers FROM outbox WHERE topic LIKE '%-dlq'")
        assert await rows(members.database, "SELECT count(*) FROM effects") == [(len(good),)]
    ids = sorted(header(record, "ce_id") for record in [*bad, *junk])
    for found in (letters, told):
        assert sorted(dict(decode_headers(headers))["ce_id"].decode() for (headers,) in found) == ids


@pytest.mark.parametrize(
    "stall_after",
    [pytest.param("PT3S", id="quick"), pytest.param("PT1M", id="default", marks=pytest.mark.chaos)],
)
async def test_12_wedged_consumer_comes_back(stack: Stack, tmp_path: Path, stall_after: str) -> None:
    async with group(stack, tmp_path) as members:
        members.start(wedge=True, stall_after=stall_after, batch_size=10)
        await members.publish(EVENTS, seconds=8)
        await members.until_taken(EVENTS, timeout_s=200)
        outcome = await members.outcome()
    print(f"12: {outcome}")
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert 3 < outcome.silence_s < 120
