"""`replay`: a service takes a topic once more; what took effect before takes none again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from tests.support.scratch import ScratchSettings
from tests.support.stack import Stack, running
from tests.support.system import asked

from phonograph_events import IngestRequested, Service, make_envelope
from phonograph_runtime.app import ServiceApp
from phonograph_runtime.database import Transaction

TOPIC = IngestRequested.TOPIC


def service(stack: Stack, folder: Path, taken: list[str]) -> ServiceApp:
    shell = ServiceApp(Service.INGEST, ScratchSettings(**stack.settings(Service.INGEST, folder)))

    async def handle(event: IngestRequested, _transaction: Transaction) -> None:
        taken.append(event.uri)

    shell.on(IngestRequested, handle)
    return shell


@asynccontextmanager
async def continuing(shell: ServiceApp) -> AsyncIterator[None]:
    """The service from where its group was, unlike `running`."""
    stop = asyncio.Event()
    task = asyncio.create_task(shell.run(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def until(taken: list[str], wanted: set[str]) -> None:
    async with asyncio.timeout(60):
        while not wanted <= set(taken):
            await asyncio.sleep(0.05)


async def test_only_what_had_no_effect_takes_effect(stack: Stack, tmp_path: Path) -> None:
    """As after a database came back from a backup: three of ten events are unknown to its inbox again."""
    began = datetime.now(UTC)
    events = [make_envelope(IngestRequested(uri=f"/{uuid4()}.mp3"), source="test") for _ in range(10)]
    uris = [event.subject for event in events]
    taken: list[str] = []
    shell = service(stack, tmp_path, taken)
    async with running(shell):
        await stack.send(*[event.to_record() for event in events])
        await until(taken, set(uris))
        told = await asked(stack.project, "replay", TOPIC, "--from", began.isoformat(), "--yes")
        assert (told.code, "still reading" in told.err) == (1, True), "Kafka sets back no group that reads"
    shell = service(stack, tmp_path, taken)
    async with shell.database.transaction() as transaction:
        lost = {"lost": [event.id for event in events[:3]]}
        await transaction.session.execute(text("DELETE FROM inbox WHERE event_id = ANY(:lost)"), lost)
    unsaid = await asked(stack.project, "replay", TOPIC, "--from", began.isoformat())
    assert (unsaid.code, "--yes" in unsaid.err, "ingest 10" in unsaid.err) == (2, True, True)
    arguments = ["replay", TOPIC, "--from", began.isoformat(), "--service", "ingest", "--yes", "--json"]
    told = await asked(stack.project, *arguments)
    assert told.code == 0, told.err
    assert told.json["services"] == [{"service": "ingest", "events": 10, "left": None}]
    taken.clear()
    last = make_envelope(IngestRequested(uri=f"/{uuid4()}.mp3"), source="test")
    async with continuing(shell):
        await stack.send(last.to_record())
        await until(taken, {*uris[:3], last.subject})
    assert sorted(taken) == sorted([*uris[:3], last.subject])
    nothing = await asked(stack.project, "replay", TOPIC, "--from", datetime.now(UTC).isoformat(), "--yes")
    assert (nothing.code, "No event" in nothing.out) == (0, True)


async def test_events_that_the_inbox_forgot_are_not_replayed_by_accident(
    stack: Stack, tmp_path: Path
) -> None:
    taken: list[str] = []
    event = make_envelope(IngestRequested(uri=f"/{uuid4()}.mp3"), source="test")
    async with running(service(stack, tmp_path, taken)):
        await stack.send(event.to_record())
        await until(taken, {event.subject})
    environment = dict(stack.project.environment) | {"INGEST_KEEP_INBOX": "PT0S"}
    project = type(stack.project)(stack.project.root, environment)
    arguments = ("replay", TOPIC, "--from", "beginning", "--yes", "--json")
    refused = await asked(project, *arguments)
    assert (refused.code, "--forgotten" in refused.err) == (2, True)
    agreed = await asked(project, *arguments, "--forgotten")
    assert agreed.code == 0, agreed.err
    assert agreed.json["services"][0]["events"] > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("media-redy", "--from", "beginning"), "There is no topic"),
        ((TOPIC, "--from", "yesterday"), "not 'yesterday'"),
        ((TOPIC, "--from", "0", "--service", "analysis"), "does not read"),
        (("media-ready", "--from", "0", "--service", "graph-sync"), "graph rebuild"),
        ((TOPIC, "--from", "0", "--partition", "77"), "There is no partition '77'; there are: 0, 1"),
    ],
)
async def test_wrong_words_are_told(arguments: tuple[str, ...], told: str, stack: Stack) -> None:
    answer = await asked(stack.project, "replay", *arguments)
    assert (answer.code, told in answer.err) == (2, True), answer.err
