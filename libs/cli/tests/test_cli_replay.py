"""`replay`: a service reads a topic again, and only events that had no effect take effect."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from sqlalchemy import text
from tests.support.broken_batches import send_batches, stored_batches, wrong_checksum
from tests.support.scratch import ScratchSettings
from tests.support.stack import Stack, running
from tests.support.system import run_command

from phonograph_cli.dead_letters import read_dead_letters
from phonograph_cli.kafka import connect
from phonograph_cli.offsets import Start
from phonograph_cli.replays import plan_replay
from phonograph_events import IngestRequested, Service, envelope
from phonograph_runtime.app import ServiceApp
from phonograph_runtime.database import Transaction

TOPIC = IngestRequested.TOPIC


def ingest_app(stack: Stack, folder: Path, processed: list[str]) -> ServiceApp:
    app = ServiceApp(Service.INGEST, ScratchSettings(**stack.settings(Service.INGEST, folder)))

    async def handle(event: IngestRequested, _transaction: Transaction) -> None:
        processed.append(event.uri)

    app.add_handler(IngestRequested, handle)
    return app


@asynccontextmanager
async def continuing(app: ServiceApp) -> AsyncIterator[None]:
    """Run a service from the offsets of its group, unlike `running`."""
    stop = asyncio.Event()
    task = asyncio.create_task(app.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def wait_until(processed: list[str], expected: set[str]) -> None:
    async with asyncio.timeout(60):
        while not expected <= set(processed):
            await asyncio.sleep(0.05)


async def test_only_what_had_no_effect_takes_effect(stack: Stack, tmp_path: Path) -> None:
    """As after a restored backup: three of ten events are unknown to the inbox again."""
    began = datetime.now(UTC)
    events = [envelope(IngestRequested(uri=f"/{uuid4()}.mp3"), source="test") for _ in range(10)]
    uris = [event.subject for event in events]
    processed: list[str] = []
    app = ingest_app(stack, tmp_path, processed)
    async with running(app):
        await stack.send(*[event.to_record() for event in events])
        await wait_until(processed, set(uris))
        answer = await run_command(stack.project, "replay", TOPIC, "--from", began.isoformat(), "--yes")
        assert (answer.code, "still reading" in answer.err) == (1, True), (
            "Kafka does not set the offsets of a group that is reading"
        )
    app = ingest_app(stack, tmp_path, processed)
    async with app.database.transaction() as transaction:
        lost = {"lost": [event.id for event in events[:3]]}
        await transaction.session.execute(text("DELETE FROM inbox WHERE event_id = ANY(:lost)"), lost)
    unconfirmed = await run_command(stack.project, "replay", TOPIC, "--from", began.isoformat())
    assert (unconfirmed.code, "--yes" in unconfirmed.err, "ingest 10" in unconfirmed.err) == (2, True, True)
    arguments = ["replay", TOPIC, "--from", began.isoformat(), "--service", "ingest", "--yes", "--json"]
    answer = await run_command(stack.project, *arguments)
    assert answer.code == 0, answer.err
    assert answer.json["services"] == [{"service": "ingest", "events": 10, "left": None}]
    unread = envelope(IngestRequested(uri=f"/{uuid4()}.mp3"), source="test")
    await stack.send(unread.to_record())
    async with connect(stack.addresses.kafka_bootstrap_servers) as client:
        partitions = await client.partitions([TOPIC])
        beginning = await plan_replay(client, Service.INGEST, partitions, Start())
    size = sum(beginning.ends[place] - start for place, start in beginning.starts.items())
    assert size == beginning.events, "an event that the service has not read yet is no part of a replay"
    processed.clear()
    last = envelope(IngestRequested(uri=f"/{uuid4()}.mp3"), source="test")
    async with continuing(app):
        await stack.send(last.to_record())
        await wait_until(processed, {*uris[:3], unread.subject, last.subject})
    assert sorted(processed) == sorted([*uris[:3], unread.subject, last.subject])
    nothing = await run_command(
        stack.project, "replay", TOPIC, "--from", datetime.now(UTC).isoformat(), "--yes"
    )
    assert (nothing.code, "No event" in nothing.out) == (0, True)


async def test_events_that_the_inbox_has_forgotten_need_an_option(stack: Stack, tmp_path: Path) -> None:
    processed: list[str] = []
    event = envelope(IngestRequested(uri=f"/{uuid4()}.mp3"), source="test")
    async with running(ingest_app(stack, tmp_path, processed)):
        await stack.send(event.to_record())
        await wait_until(processed, {event.subject})
    environment = dict(stack.project.environment) | {"INGEST_KEEP_INBOX": "PT0S"}
    project = type(stack.project)(stack.project.root, environment)
    arguments = ("replay", TOPIC, "--from", "beginning", "--yes", "--json")
    refused = await run_command(project, *arguments)
    assert (refused.code, "--forgotten" in refused.err) == (2, True)
    agreed = await run_command(project, *arguments, "--forgotten")
    assert agreed.code == 0, agreed.err
    assert agreed.json["services"][0]["events"] > 0


async def test_skipped_records_become_dead_letters_with_the_reason(stack: Stack, tmp_path: Path) -> None:
    """Of three records the second cannot be read; the service passes it, and the first is replayed."""
    processed: list[str] = []
    app = ingest_app(stack, tmp_path, processed)
    before = envelope(IngestRequested(uri=f"/{uuid4()}.mp3"), source="test")
    async with running(app):
        await stack.send(before.to_record())
        await wait_until(processed, {before.subject})
    place = TopicPartition(TOPIC, 1)
    events = [envelope(IngestRequested(uri=f"/{uuid4()}.mp3"), source="test") for _ in range(3)]
    servers = stack.addresses.kafka_bootstrap_servers
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        await send_batches(producer, place, *([event.to_record()] for event in events))
    first, broken, last = stored_batches(stack, place)[-3:]
    broken.change(wrong_checksum)

    arguments = ["replay", TOPIC, "--service", "ingest", "--partition", "1", "--yes", "--json"]
    reason = ["--reason", "disk 3 is broken"]
    for offset, message in ((last.last_offset + 1, "no offset"), (first.base_offset - 1, "has passed")):
        refused = await run_command(stack.project, *arguments, "--skip", str(offset), *reason)
        assert (refused.code, message in refused.err) == (1, True), refused.err
    answer = await run_command(stack.project, *arguments, "--skip", str(broken.last_offset), *reason)
    assert answer.code == 0, answer.err
    assert answer.json == {
        "topic": TOPIC,
        "partition": 1,
        "service": "ingest",
        "first_offset": first.base_offset,
        "last_offset": broken.last_offset,
        "dead_letters": 2,
    }

    processed.clear()
    app = ingest_app(stack, tmp_path, processed)
    async with continuing(app):
        await wait_until(processed, {events[2].subject})
        assert processed == [events[2].subject]
        async with connect(servers) as client:
            found = {
                letter.origin: letter
                for letter in await read_dead_letters(client)
                if "disk 3 is broken" in letter.error and letter.resolution is None
            }
            skipped = found.pop(f"{TOPIC}/1/{first.base_offset}")
            unreadable = found.pop(f"{TOPIC}/1/{broken.base_offset}")
            assert found == {}
            assert (skipped.reason, skipped.last_offset) == ("skipped", None)
            assert skipped.error.startswith("Skipped by ")
            assert (unreadable.reason, unreadable.last_offset) == ("unreadable_batch", broken.last_offset)
            assert unreadable.value == broken.read()
        replayed = await run_command(stack.project, "dlq", "replay", skipped.id)
        assert (replayed.code, "has processed it" in replayed.out) == (0, True), replayed.err
        assert processed == [events[2].subject, events[0].subject]
        refused = await run_command(stack.project, "dlq", "replay", unreadable.id)
        assert (refused.code, "not sent: it is a batch" in refused.out) == (1, True), refused.out
        shown = await run_command(stack.project, "dlq", "show", unreadable.id)
        assert f"batch     {TOPIC}/1/{broken.base_offset}" in shown.out
        dropped = await run_command(stack.project, "dlq", "drop", unreadable.id, "--yes")
        assert dropped.code == 0, dropped.err
    broken.change(wrong_checksum)  # the bit is flipped back: other tests read this topic


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TOPIC,), "Name --from"),
        ((TOPIC, "--from", "0", "--skip", "1"), "--skip goes forward"),
        ((TOPIC, "--skip", "1", "--partition", "0", "--reason", "x"), "--skip needs one --service"),
        ((TOPIC, "--skip", "1", "--service", "ingest", "--partition", "0"), "a --reason"),
        ((TOPIC, "--skip", "1", "--service", "ingest", "--reason", "x"), "its --partition"),
        (("media-redy", "--from", "beginning"), "There is no topic"),
        ((TOPIC, "--from", "yesterday"), "not 'yesterday'"),
        ((TOPIC, "--from", "0", "--service", "analysis"), "does not read"),
        (("media-ready", "--from", "0", "--service", "graph-sync"), "graph rebuild"),
        ((TOPIC, "--from", "0", "--partition", "77"), "There is no partition '77'; there are: 0, 1"),
    ],
)
async def test_wrong_argument_is_named(arguments: tuple[str, ...], message: str, stack: Stack) -> None:
    answer = await run_command(stack.project, "replay", *arguments)
    assert (answer.code, message in answer.err) == (2, True), answer.err
