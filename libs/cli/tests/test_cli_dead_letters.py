"""Dead letters: read as the runtime writes them, explained, replayed unchanged, dropped."""

import asyncio
import dataclasses
import inspect
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.support.golden import Golden
from tests.support.scratch import ScratchSettings, delivered, rows
from tests.support.stack import Stack, running
from tests.support.system import CommandResult, run_command

from phonograph_cli import kafka
from phonograph_cli.dead_letters import (
    EXPLANATIONS,
    DeadLetter,
    decode,
    from_records,
    read_dead_letters,
    resolve,
    with_body,
)
from phonograph_cli.kafka import KafkaClient
from phonograph_events import (
    BODY_HEADER,
    DEAD_LETTER_HEADER,
    ERROR_HEADER,
    ORIGIN_HEADER,
    REASON_HEADER,
    RESOLUTION_HEADER,
    SERVICE_HEADER,
    IngestRequested,
    Record,
    Service,
    envelope,
    parse,
)
from phonograph_runtime.app import ServiceApp
from phonograph_runtime.database import Transaction
from phonograph_runtime.errors import PermanentError

DATA = Path(__file__).parent / "data"
HEADERS = [
    ("ce_id", b"e1"),
    ("ce_type", b"phonograph.media.ready.v9"),
    ("x-raw", b"\xff\x00"),
    (DEAD_LETTER_HEADER, b"0198-dead-letter"),
    (SERVICE_HEADER, b"analysis"),
    (ORIGIN_HEADER, b"media-ready/2/41"),
    (REASON_HEADER, b"unknown_type"),
    (ERROR_HEADER, "Ça ne va pas.".encode()),
]


def parked(*, headers: list[tuple[str, Any]] | None = None, **changes: Any) -> Any:
    record = delivered(Record("media-ready-dlq", b"k", b'{"a": 1}', headers or HEADERS), offset=7)
    return dataclasses.replace(record, timestamp=1_700_000_000_000, **changes)


def resolved(dead_letter_id: str, resolution: str) -> Any:
    headers = [
        (DEAD_LETTER_HEADER, dead_letter_id.encode()),
        (SERVICE_HEADER, b"analysis"),
        (RESOLUTION_HEADER, resolution.encode()),
    ]
    record = delivered(Record("media-ready-dlq", b"k", None, headers), offset=8)
    return dataclasses.replace(record, timestamp=1_700_000_060_000)


def test_dead_letter_names_service_record_and_reason(golden: Golden) -> None:
    (found,) = from_records([parked()])
    assert found == DeadLetter(
        id="0198-dead-letter",
        service="analysis",
        topic="media-ready",
        origin="media-ready/2/41",
        reason="unknown_type",
        error="Ça ne va pas.",
        parked_at=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        key=b"k",
        value=b'{"a": 1}',
        headers=HEADERS[:3],
    )
    golden.check(DATA / "dead_letter.json", found.to_json())


def test_unknown_record_on_the_topic_is_shown_too(golden: Golden) -> None:
    (found,) = from_records([parked(headers=[("odd", None)], key=None, value=None)])
    assert (found.id, found.service, found.reason) == ("media-ready-dlq/7", "", "")
    assert (found.key, found.value, found.headers) == (None, None, [("odd", None)])
    golden.check(DATA / "unknown_record.json", found.to_json())


@pytest.mark.parametrize(
    ("raw", "text", "encoding"),
    [(None, None, None), (b"", "", "utf-8"), ("ö".encode(), "ö", "utf-8"), (b"\xff\xfe", "ff fe", "hex")],
)
def test_bytes_are_decoded_as_text_if_possible(
    raw: bytes | None, text: str | None, encoding: str | None
) -> None:
    assert decode(raw) == (text, encoding)


@pytest.mark.parametrize("resolution", ["replayed", "dropped"])
def test_dead_letter_and_its_resolution_are_read_as_one(resolution: str) -> None:
    other = [(name, b"other" if name == DEAD_LETTER_HEADER else value) for name, value in HEADERS]
    resolutions = [resolved("0198-dead-letter", resolution), resolved("gone", resolution)]
    records = [parked(), parked(), parked(headers=other), *resolutions]
    for order in (records, records[::-1]):
        found = {each.id: each for each in from_records(order)}
        assert found.keys() == {"0198-dead-letter", "other"}
        assert found["other"].state == "parked"
        assert found["0198-dead-letter"].resolution == resolution
        assert found["0198-dead-letter"].resolved_at == datetime(2023, 11, 14, 22, 14, 20, tzinfo=UTC)
        assert found["0198-dead-letter"].value == b'{"a": 1}'


def test_every_reason_of_the_parser_is_explained() -> None:
    reasons = set(re.findall(r'reason="(\w+)"', inspect.getsource(parse)))
    assert reasons
    assert reasons <= EXPLANATIONS.keys()


@asynccontextmanager
async def ingest(
    stack: Stack, folder: Path, process: Callable[[IngestRequested], None] = lambda _event: None
) -> AsyncIterator[ServiceApp]:
    """Run the ingest service with a handler of the test."""
    app = ServiceApp(Service.INGEST, ScratchSettings(**stack.settings(Service.INGEST, folder)))

    async def handle(event: IngestRequested, _transaction: Transaction) -> None:
        process(event)

    app.add_handler(IngestRequested, handle)
    async with running(app):
        yield app


@pytest.fixture
async def client(stack: Stack) -> AsyncIterator[KafkaClient]:
    async with kafka.connect(stack.addresses.kafka_bootstrap_servers) as client:
        yield client


async def unresolved(client: KafkaClient, key: bytes) -> list[DeadLetter]:
    """Return the unresolved dead letters of a key."""
    return [each for each in await read_dead_letters(client) if each.key == key and each.resolution is None]


async def wait_until_parked(client: KafkaClient, key: bytes) -> DeadLetter:
    async with asyncio.timeout(30):
        while not (found := await unresolved(client, key)):
            await asyncio.sleep(0.1)
    (dead_letter,) = found
    return dead_letter


async def test_unreadable_record_is_parked_again_as_a_new_dead_letter_and_dropped_for_good(
    stack: Stack, client: KafkaClient, tmp_path: Path
) -> None:
    key = str(uuid4()).encode()
    record = Record("ingest-requested", key, b"\xffrubbish", [("ce_id", b"x"), ("odd", None)])
    async with ingest(stack, tmp_path):
        await stack.send(record)
        first = await wait_until_parked(client, key)
        assert (first.reason, first.value) == ("not_cloudevents", record.value)
        assert first.headers == record.headers
        (resolution,) = await resolve(client, [first])
        assert resolution.outcome == "parked again"
        second = await wait_until_parked(client, key)
        assert resolution.successor == second
        assert (second.id != first.id, second.value, second.headers) == (True, first.value, first.headers)
        (resolution,) = await resolve(client, [second], drop=True)
        assert resolution.outcome == "dropped"
        assert await unresolved(client, key) == []


async def test_dead_letter_takes_effect_once_after_its_cause_is_fixed(
    stack: Stack, client: KafkaClient, tmp_path: Path
) -> None:
    wrapped = envelope(IngestRequested(uri=f"/{uuid4()}.mp3"), source="test")
    key, processed = wrapped.subject.encode(), list[str]()
    is_fixed = False

    def process(event: IngestRequested) -> None:
        if not is_fixed:
            raise PermanentError("This release cannot.", reason="bad_release")
        processed.append(event.uri)

    async with ingest(stack, tmp_path, process):
        await stack.send(wrapped.to_record())
        dead_letter = await wait_until_parked(client, key)
        assert dead_letter.reason == "bad_release"
        is_fixed = True
        (resolution,) = await resolve(client, [dead_letter])
        assert resolution.outcome == "replayed"
        assert await unresolved(client, key) == []
        again = await resolve(client, [dead_letter, dead_letter], timeout_s=2)
        assert [each.outcome for each in again] == ["no answer", "no answer"], "resolved already"
    assert processed == [wrapped.subject]


async def test_stopped_service_is_not_waited_for_endlessly(
    stack: Stack, client: KafkaClient, tmp_path: Path
) -> None:
    key = str(uuid4()).encode()
    async with ingest(stack, tmp_path):
        await stack.send(Record("ingest-requested", key, b"?", [("ce_id", b"x")]))
        dead_letter = await wait_until_parked(client, key)
    (unanswered,) = await resolve(client, [dead_letter], timeout_s=1)
    assert (unanswered.outcome, unanswered.is_complete) == ("no answer", False)
    (sent,) = await resolve(client, [dead_letter], drop=True, timeout_s=0)
    assert (sent.outcome, sent.is_complete) == ("sent", True)
    assert await unresolved(client, key) == [dead_letter]


def bodiless(origin: str) -> Any:
    """Return the record of a dead letter whose body was too large for its topic."""
    changed = {DEAD_LETTER_HEADER: str(uuid4()).encode(), ORIGIN_HEADER: origin.encode()}
    headers = [(name, changed.get(name, value)) for name, value in HEADERS]
    return parked(headers=[*headers, (BODY_HEADER, b"too large")], value=None)


async def test_body_too_large_for_the_dead_letter_topic_is_fetched_from_its_origin(
    client: KafkaClient,
) -> None:
    topic, body = "inventory-requested", uuid4().bytes
    (origin,) = await client.send([Record(topic, b"k", body, HEADERS[:3])])
    (dead_letter,) = from_records([bodiless(origin)])
    dead_letter = dataclasses.replace(dead_letter, topic=topic)
    assert (dead_letter.is_bodiless, dead_letter.headers) == (True, HEADERS[:3])
    assert (await with_body(client, dead_letter)).value == body
    await resolve(client, [dead_letter], timeout_s=0)
    (sent,) = [each for each in await client.read_all([topic]) if each.value == body][1:]
    assert dict(sent.headers)[DEAD_LETTER_HEADER].decode() == dead_letter.id


@pytest.mark.parametrize("origin", ["inventory-requested/0/999999999", "inventory-requested/77/0", "nowhere"])
async def test_dead_letter_whose_body_is_gone_is_not_sent(
    stack: Stack, client: KafkaClient, origin: str
) -> None:
    topic = "inventory-requested"
    record = bodiless(origin)
    dead_letter_id = from_records([record])[0].id
    await client.send([Record(f"{topic}-dlq", record.key, None, record.headers)])
    (dead_letter,) = [each for each in await read_dead_letters(client) if each.id == dead_letter_id]
    assert await with_body(client, dead_letter) == dead_letter
    before = len(await client.read_all([topic]))
    replayed = await run_command(stack.project, "dlq", "replay", dead_letter.id)
    assert (replayed.code, f"{dead_letter.id}: not sent. Its body was too large" in replayed.out) == (1, True)
    assert len(await client.read_all([topic])) == before
    raw = await run_command(stack.project, "dlq", "show", dead_letter.id, "--raw")
    assert (raw.code, raw.out, "the table dead_letters of analysis has it" in raw.err) == (1, "", True)
    shown = await run_command(stack.project, "dlq", "show", dead_letter.id)
    assert "body      Its body was too large" in shown.out


async def test_body_is_not_taken_from_another_record_at_the_same_place(client: KafkaClient) -> None:
    """Offsets of a topic that was created again start from 0."""
    (origin,) = await client.send([Record("inventory-requested", b"k", b"another", [("ce_id", b"e2")])])
    (dead_letter,) = from_records([bodiless(origin)])
    assert await with_body(client, dead_letter) == dead_letter


@pytest.mark.parametrize("command", ["list", "replay", "drop"])
@pytest.mark.parametrize("kind", ["service", "topic"])
async def test_mistyped_name_is_an_error_and_not_an_empty_list(stack: Stack, command: str, kind: str) -> None:
    answer = await run_command(stack.project, "dlq", command, f"--{kind}", "analisys")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"There is no {kind} 'analisys'; there are: ")


async def test_record_without_key_and_body_can_be_sent(client: KafkaClient) -> None:
    topic, mark = "inventory-requested-dlq", str(uuid4()).encode()
    (place,) = await client.send([Record(topic, None, None, [("mark", mark)])])
    found = await client.read_one(topic, 0, int(place.rpartition("/")[2]))
    assert found is not None
    assert (found.key, found.value, found.headers) == (None, None, (("mark", mark),))


async def test_command_lists_explains_replays_and_drops(
    stack: Stack, client: KafkaClient, tmp_path: Path
) -> None:
    key = str(uuid4()).encode()

    async def phonograph(*arguments: str) -> CommandResult:
        return await run_command(stack.project, "dlq", *arguments)

    async with ingest(stack, tmp_path) as app:
        await stack.send(Record("ingest-requested", key, b"rubbish", [("ce_id", b"x")]))
        dead_letter = await wait_until_parked(client, key)
        listed = await phonograph("list", "--service", "ingest", "--reason", "not_cloudevents", "--json")
        assert dead_letter.id in [each["id"] for each in listed.json["dead_letters"]]
        assert dead_letter.id not in (await phonograph("list", "--reason", "invalid")).out
        assert dead_letter.id not in (await phonograph("list", "--topic", "media-ready")).out

        shown = await phonograph("show", dead_letter.id)
        for text in (dead_letter.origin, "Fix the producer", "ce_id: x", "7 bytes, text", "rubbish"):
            assert text in shown.out
        assert (await phonograph("show", dead_letter.id[:30], "--json")).json["body"] == "rubbish"
        assert (await phonograph("show", dead_letter.id, "--raw")).out == "rubbish"
        assert (await phonograph("show", "nothing")).code == 2

        assert (await phonograph("replay")).code == 2
        assert (await phonograph("replay", dead_letter.id, "--all")).code == 2
        replayed = await phonograph("replay", dead_letter.id)
        successor = await wait_until_parked(client, key)
        assert replayed.code == 1
        assert "could not process it this time either" in replayed.out
        assert successor.id in replayed.out
        again = await phonograph("replay", dead_letter.id)
        assert (again.code, "was replayed on" in again.err) == (1, True)

        unconfirmed = await phonograph("drop", successor.id)
        assert (unconfirmed.code, "--yes" in unconfirmed.err) == (2, True)
        assert await wait_until_parked(client, key) == successor
        dropped = await phonograph("drop", successor.id, "--yes", "--json")
        assert (dropped.code, dropped.json["dead_letters"][0]["outcome"]) == (0, "dropped")
        states = {
            each["id"]: each["state"]
            for each in (await phonograph("list", "--all", "--json")).json["dead_letters"]
        }
        assert (states[dead_letter.id], states[successor.id]) == ("replayed", "dropped")
        kept = await rows(
            app.database,
            f"""SELECT resolution FROM dead_letters
                WHERE id IN ('{dead_letter.id}', '{successor.id}') ORDER BY parked_at""",
        )
        assert kept == [("replayed",), ("dropped",)]
        assert (await phonograph("replay", "--reason", "no_such_reason")).out == "No parked event matches.\n"
