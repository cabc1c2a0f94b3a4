"""Batches of events: each event takes effect once, and a bad one does not affect the others."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from aiokafka import TopicPartition
from pydantic import SecretStr
from sqlalchemy import text
from tests.support.scratch import delivered, rows, scratch_database
from tests.support.stack import Stack

from phonograph_events import IngestRequested, Record, envelope, parse
from phonograph_runtime import metrics
from phonograph_runtime.consumer import CircuitBreaker, EventConsumer, HandlerSink
from phonograph_runtime.database import Database, Transaction, decode_headers
from phonograph_runtime.errors import (
    BatchInterruptedError,
    CircuitOpenError,
    PermanentError,
    UnavailableError,
)
from phonograph_runtime.record_batches import UnreadableBatch

JUNK = Record("ingest-requested", b"", b"junk", [])


def request(uri: str) -> Record:
    return envelope(IngestRequested(uri=uri), source="test").to_record()


async def effects(database: Database) -> list[str]:
    return [uri for (uri,) in await rows(database, "SELECT uri FROM addresses ORDER BY uri")]


async def consumer(database: Database, *, fuse: int = 100) -> EventConsumer:
    """Return a consumer that stores each URI and fails on those that contain certain words."""
    attempts: dict[str, int] = {}

    async def handler(event: IngestRequested, transaction: Transaction) -> None:
        attempts[event.uri] = attempts.get(event.uri, 0) + 1
        await transaction.session.execute(text("INSERT INTO addresses VALUES (:uri)"), {"uri": event.uri})
        if "forbidden" in event.uri:
            raise PermanentError("It is forbidden.", reason="forbidden")
        if "flaky" in event.uri and attempts[event.uri] < 3:
            raise RuntimeError("not yet")
        if "hopeless" in event.uri:
            raise RuntimeError("never")

    async with database.engine.begin() as connection:
        await connection.execute(text("CREATE TABLE IF NOT EXISTS addresses (uri text)"))
    sink = HandlerSink(database, {IngestRequested: handler})
    return EventConsumer(database, sink, retry_budget=timedelta(seconds=2), fuse_consecutive=fuse)


async def test_batch_takes_effect_and_its_repetition_does_nothing(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        events = await consumer(database)
        batch = [delivered(request(f"/{number}.mp3"), number) for number in range(20)]
        await events.consume(batch)
        await events.consume(batch)
        await events.consume([*batch[:3], *batch[:3]])
        assert len(await effects(database)) == 20


async def test_one_event_twice_in_a_batch_counts_once(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        record = request("/a.mp3")
        await (await consumer(database)).consume([delivered(record, 0), delivered(record, 1)])
        assert await effects(database) == ["/a.mp3"]


async def test_record_at_the_place_of_a_parked_one_is_parked_too(stack: Stack) -> None:
    """A topic that was deleted and created again starts at offset 0."""
    async with scratch_database(stack) as (database, _):
        events = await consumer(database)
        for record in (JUNK, JUNK, replace(JUNK, value=b"rubbish"), replace(JUNK, headers=[("ce_id", b"1")])):
            await events.consume([delivered(record, 0)])
        parked = await rows(database, "SELECT value, headers FROM dead_letters ORDER BY parked_at")
        assert parked == [(b"junk", []), (b"rubbish", []), (b"junk", [["ce_id", "1"]])]


async def test_bad_records_are_parked_and_affect_no_other(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        events = await consumer(database)
        records = [
            request("/a.mp3"),
            JUNK,
            request("/forbidden.mp3"),
            request("/flaky.mp3"),
            request("/b.mp3"),
        ]
        await events.consume([delivered(record, offset) for offset, record in enumerate(records)])
        assert await effects(database) == ["/a.mp3", "/b.mp3", "/flaky.mp3"]
        parked = await rows(database, 'SELECT "offset", reason, value FROM dead_letters ORDER BY "offset"')
        assert [(offset, reason) for offset, reason, _ in parked] == [
            (1, "not_cloudevents"),
            (2, "forbidden"),
        ]
        assert parked[0].value == b"junk"
        published = await rows(database, "SELECT topic, value FROM outbox ORDER BY seq")
        assert [topic for topic, _ in published] == ["ingest-requested-dlq", "ingest-requested-dlq"]
        assert {value for _, value in published} == {records[1].value, records[2].value}


async def test_transient_failure_is_parked_when_its_retry_budget_is_spent(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        await (await consumer(database)).consume([delivered(request("/hopeless.mp3"), 7)])
        ((reason, attempts),) = await rows(database, "SELECT reason, attempts FROM dead_letters")
        assert reason == "RuntimeError"
        assert attempts > 1
        assert await effects(database) == []


async def test_record_parked_twice_has_one_dead_letter(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        events = await consumer(database)
        await events.consume([delivered(JUNK, 3)])
        await events.consume([delivered(JUNK, 3)])
        assert len(await rows(database, "SELECT 1 FROM dead_letters")) == 1
        assert len(await rows(database, "SELECT 1 FROM outbox")) == 1


async def test_replayed_record_is_for_one_service_and_resolves_its_dead_letter(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        events = await consumer(database)
        record = request("/a.mp3")
        await events.consume([delivered(replace(record, value=b"{}"), 0)])
        ((dead_letter,),) = await rows(database, "SELECT id FROM dead_letters")
        replay = [("phonograph-target", b"scratch"), ("phonograph-dead-letter", str(dead_letter).encode())]
        other = [("phonograph-target", b"analysis")]
        await events.consume(
            [delivered(Record(record.topic, record.key, record.value, record.headers + other), 1)]
        )
        assert await effects(database) == []
        await events.consume(
            [delivered(Record(record.topic, record.key, record.value, record.headers + replay), 2)]
        )
        assert await effects(database) == ["/a.mp3"]
        assert await rows(database, "SELECT 1 FROM dead_letters WHERE resolution IS NULL") == []


async def test_without_postgresql_nothing_is_parked_and_nothing_acknowledged(
    stack: Stack, unused_tcp_port: int
) -> None:
    async with scratch_database(stack) as (database, settings):
        await consumer(database)
        unreachable = settings.model_copy(
            update={"database_url": SecretStr(f"postgresql+asyncpg://x:x@127.0.0.1:{unused_tcp_port}/x")}
        )
        unavailable = Database(unreachable, source="scratch")
        events = EventConsumer(unavailable, HandlerSink(unavailable))
        with pytest.raises(UnavailableError):
            await events.consume([delivered(request("/a.mp3"), 0), delivered(JUNK, 1)])
        with pytest.raises(UnavailableError):
            await events.consume([delivered(JUNK, 1)])


async def test_fuse_stops_consumption_when_everything_is_parked(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phonograph_runtime.consumer.CIRCUIT_OPEN_PAUSE_S", 0.0)
    async with scratch_database(stack) as (database, _):
        events = await consumer(database, fuse=3)
        batch = [delivered(JUNK, offset) for offset in range(5)]
        for _ in range(2):
            with pytest.raises(CircuitOpenError, match="the last 3 events were parked"):
                await events.consume(batch)
        with pytest.raises(CircuitOpenError):
            await events.consume([delivered(request("/a.mp3"), 5)])
        assert await effects(database) == []
        assert await rows(database, "SELECT count(*) FROM dead_letters") == [(3,)]
        restarted = EventConsumer(database, HandlerSink(database), fuse_consecutive=3)
        await restarted.consume(batch)
        assert await rows(database, "SELECT count(*) FROM dead_letters") == [(5,)]


def test_fuse_blows_when_too_large_a_share_is_parked() -> None:
    breaker = CircuitBreaker(consecutive=1000, ratio=0.1)
    for _ in range(100):
        breaker.record_failure()
        breaker.record_successes(8)
    with pytest.raises(CircuitOpenError, match="of the last 1000"):
        for _ in range(20):
            breaker.record_failure()
            breaker.record_successes(8)


async def test_dropped_dead_letter_is_resolved_and_its_event_takes_no_effect(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        events = await consumer(database)
        record = request("/a.mp3")
        await events.consume([delivered(replace(record, value=b"{}"), 0)])
        ((dead_letter,),) = await rows(database, "SELECT id FROM dead_letters")
        drop = [
            ("phonograph-target", b"scratch"),
            ("phonograph-dead-letter", str(dead_letter).encode()),
            ("phonograph-action", b"drop"),
        ]
        await events.consume(
            [delivered(Record(record.topic, record.key, record.value, [*record.headers, *drop]), 1)]
        )
        assert await effects(database) == []
        assert await rows(database, "SELECT resolution FROM dead_letters") == [("dropped",)]
        ((value, headers),) = await rows(
            database, "SELECT value, headers FROM outbox WHERE topic LIKE '%-dlq' ORDER BY seq DESC LIMIT 1"
        )
        assert value is None
        assert dict(decode_headers(headers))["phonograph-resolution"] == b"dropped"


async def test_dead_letter_carries_no_reserved_headers_of_the_record(stack: Stack) -> None:
    """A dead letter with a resolution header of its producer would never be listed."""
    claims = [("phonograph-resolution", b"dropped"), ("phonograph-body", b"too large"), ("other", b"kept")]
    async with scratch_database(stack) as (database, _):
        await (await consumer(database)).consume([delivered(replace(JUNK, headers=claims), 0)])
        ((headers,),) = await rows(database, "SELECT headers FROM outbox")
        names = [name for name, _ in decode_headers(headers)]
        assert names[0] == "other"
        assert not {"phonograph-resolution", "phonograph-body"} & set(names)
        ((stored,),) = await rows(database, "SELECT headers FROM dead_letters")
        assert decode_headers(stored) == claims


async def test_replay_that_fails_again_leaves_one_unresolved_dead_letter(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        events = await consumer(database)
        await events.consume([delivered(JUNK, 0)])
        ((dead_letter,),) = await rows(database, "SELECT id FROM dead_letters")
        headers = [("phonograph-target", b"scratch"), ("phonograph-dead-letter", str(dead_letter).encode())]
        await events.consume([delivered(replace(JUNK, headers=headers), 1)])
        assert await rows(database, 'SELECT "offset", resolution FROM dead_letters ORDER BY "offset"') == [
            (0, "replayed"),
            (1, None),
        ]


async def test_null_key_and_tombstone_are_parked_unchanged(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        await (await consumer(database)).consume([delivered(Record("ingest-requested", None, None, []), 0)])
        assert await rows(database, "SELECT key, value FROM dead_letters") == [(None, None)]
        assert await rows(database, "SELECT key, value FROM outbox") == [(None, None)]


async def test_stopped_consumer_interrupts_its_batch_and_parks_nothing(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):

        async def fails(_event: IngestRequested, _transaction: Transaction) -> None:
            raise RuntimeError("not yet")

        events = EventConsumer(database, HandlerSink(database, {IngestRequested: fails}))
        consuming = asyncio.create_task(events.consume([delivered(request("/a.mp3"), 0)]))
        await asyncio.sleep(0.5)
        events.stop()
        async with asyncio.timeout(5):
            with pytest.raises(BatchInterruptedError):
                await consuming
        assert await rows(database, "SELECT 1 FROM dead_letters") == []


async def test_text_that_postgresql_refuses_is_parked_at_once(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        record = request("/nul\x00.mp3")
        assert parse(record.value, record.headers).data
        await (await consumer(database)).consume([delivered(record, 0), delivered(request("/a.mp3"), 1)])
        assert await effects(database) == ["/a.mp3"]
        ((reason, attempts),) = await rows(database, "SELECT reason, attempts FROM dead_letters")
        assert (reason, attempts) == ("refused_by_database", 1)


async def test_batch_that_cannot_be_read_is_parked_with_its_offsets_and_bytes(stack: Stack) -> None:
    batch = UnreadableBatch.at(
        TopicPartition("ingest-requested", 2),
        range(7, 12),
        b"bytes",
        error="the checksum is wrong",
        attempts=3,
    )
    counter = metrics.BATCHES_UNREADABLE.labels("ingest-requested")
    before = counter._value.get()
    async with scratch_database(stack) as (database, _):
        events = await consumer(database)
        await events.consume([delivered(request("/a.mp3"), 6, partition=2), batch])
        await events.consume([batch])
        assert await effects(database) == ["/a.mp3"]
        ((partition, offset, reason, error, attempts, value),) = await rows(
            database, 'SELECT partition, "offset", reason, error, attempts, value FROM dead_letters'
        )
        assert (partition, offset, reason, attempts, value) == (2, 7, "unreadable_batch", 3, b"bytes")
        assert error == "The batch ingest-requested/2/7-11 cannot be read: the checksum is wrong."
        ((headers,),) = await rows(database, "SELECT headers FROM outbox")
        published = dict(decode_headers(headers))
        assert published["phonograph-origin"] == b"ingest-requested/2/7"
        assert published["phonograph-last-offset"] == b"11"
    assert counter._value.get() == before + 1
