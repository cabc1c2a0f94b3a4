"""Parked records: read as the runtime writes them, explained, sent back as they were, given up."""

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
from tests.support.scratch import ScratchSettings, delivered, rows
from tests.support.stack import Stack, running
from tests.support.system import Answer, asked

from phonograph_cli import dead_letters, kafka
from phonograph_cli.dead_letters import DeadLetter, decoded, fold, settle, whole
from phonograph_events import IngestRequested, Record, Service, make_envelope, parse
from phonograph_runtime.app import ServiceApp
from phonograph_runtime.database import Transaction
from phonograph_runtime.errors import PermanentError

HEADERS = [
    ("ce_id", b"e1"),
    ("ce_type", b"phonograph.media.ready.v9"),
    ("x-raw", b"\xff\x00"),
    ("phonograph-dead-letter", b"0198-letter"),
    ("phonograph-service", b"analysis"),
    ("phonograph-origin", b"media-ready/2/41"),
    ("phonograph-reason", b"unknown_type"),
    ("phonograph-error", "Ça ne va pas.".encode()),
]


def parked(*, headers: list[tuple[str, Any]] | None = None, **changes: Any) -> Any:
    record = delivered(Record("media-ready-dlq", b"k", b'{"a": 1}', headers or HEADERS), offset=7)
    return dataclasses.replace(record, timestamp=1_700_000_000_000, **changes)


def resolved(letter_id: str, how: str) -> Any:
    headers = [
        ("phonograph-dead-letter", letter_id.encode()),
        ("phonograph-service", b"analysis"),
        ("phonograph-resolution", how.encode()),
    ]
    record = delivered(Record("media-ready-dlq", b"k", None, headers), offset=8)
    return dataclasses.replace(record, timestamp=1_700_000_060_000)


def test_letter_tells_who_could_not_take_what_and_why() -> None:
    (found,) = fold([parked()])
    assert found == DeadLetter(
        id="0198-letter",
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
    told = found.to_json()
    assert (told["state"], told["resolved_at"]) == ("parked", None)
    assert (told["body"], told["body_encoding"], told["body_bytes"]) == ('{"a": 1}', "utf-8", 8)
    assert told["headers"]["x-raw"] == "ff 00"
    assert "major version" in told["meaning"]
    assert "replay" in told["advice"]


def test_rubbish_on_the_topic_is_shown_all_the_same() -> None:
    (found,) = fold([parked(headers=[("odd", None)], key=None, value=None)])
    assert (found.id, found.service, found.reason) == ("media-ready-dlq/7", "", "")
    assert (found.key, found.value, found.headers) == (None, None, [("odd", None)])
    told = found.to_json()
    assert (told["key"], told["body"], told["body_bytes"], told["headers"]) == (
        None,
        None,
        None,
        {"odd": None},
    )
    assert "No service parked it" in told["meaning"]


@pytest.mark.parametrize(
    ("raw", "text", "encoding"),
    [(None, None, None), (b"", "", "utf-8"), ("ö".encode(), "ö", "utf-8"), (b"\xff\xfe", "ff fe", "hex")],
)
def test_bytes_are_text_where_they_can_be(raw: bytes | None, text: str | None, encoding: str | None) -> None:
    assert decoded(raw) == (text, encoding)


@pytest.mark.parametrize("how", ["replayed", "dropped"])
def test_letter_and_its_resolution_are_one_thing(how: str) -> None:
    other = [(name, b"other" if name == "phonograph-dead-letter" else value) for name, value in HEADERS]
    records = [parked(), parked(), parked(headers=other), resolved("0198-letter", how), resolved("gone", how)]
    for order in (records, records[::-1]):
        found = {letter.id: letter for letter in fold(order)}
        assert found.keys() == {"0198-letter", "other"}
        assert found["other"].state == "parked"
        assert found["0198-letter"].resolution == how
        assert found["0198-letter"].resolved_at == datetime(2023, 11, 14, 22, 14, 20, tzinfo=UTC)
        assert found["0198-letter"].value == b'{"a": 1}'


def test_every_reason_of_the_parser_is_explained() -> None:
    reasons = set(re.findall(r'EventError\(\s*"(\w+)"', inspect.getsource(parse)))
    assert reasons
    assert reasons <= dead_letters.EXPLANATIONS.keys()


@asynccontextmanager
async def ingest(
    stack: Stack, folder: Path, take: Callable[[IngestRequested], None] = lambda _event: None
) -> AsyncIterator[ServiceApp]:
    """The runtime of the ingest service, with a handler of the test's own."""
    shell = ServiceApp(Service.INGEST, ScratchSettings(**stack.settings(Service.INGEST, folder)))

    async def handle(event: IngestRequested, _transaction: Transaction) -> None:
        take(event)

    shell.on(IngestRequested, handle)
    async with running(shell):
        yield shell


async def lying(stack: Stack, key: bytes) -> list[DeadLetter]:
    """Letters of a key that nobody has resolved."""
    servers = stack.addresses.kafka_bootstrap_servers
    found = await dead_letters.dead_letters(servers)
    return [letter for letter in found if letter.key == key and letter.resolution is None]


async def until_parked(stack: Stack, key: bytes) -> DeadLetter:
    async with asyncio.timeout(30):
        while not (found := await lying(stack, key)):
            await asyncio.sleep(0.1)
    (letter,) = found
    return letter


async def test_rubbish_is_parked_again_as_a_new_letter_and_dropped_for_good(
    stack: Stack, tmp_path: Path
) -> None:
    servers, key = stack.addresses.kafka_bootstrap_servers, str(uuid4()).encode()
    rubbish = Record("ingest-requested", key, b"\xffrubbish", [("ce_id", b"x"), ("odd", None)])
    async with ingest(stack, tmp_path):
        await stack.send(rubbish)
        first = await until_parked(stack, key)
        assert (first.reason, first.value) == ("not_cloudevents", rubbish.value)
        assert first.headers == rubbish.headers
        (answer,) = await settle(servers, [first])
        assert answer.outcome == "parked again"
        second = await until_parked(stack, key)
        assert answer.successor == second
        assert (second.id != first.id, second.value, second.headers) == (True, first.value, first.headers)
        (answer,) = await settle(servers, [second], drop=True)
        assert answer.outcome == "dropped"
        assert await lying(stack, key) == []


async def test_after_the_cause_was_mended_a_letter_takes_effect_once(stack: Stack, tmp_path: Path) -> None:
    servers = stack.addresses.kafka_bootstrap_servers
    wrapped = make_envelope(IngestRequested(uri=f"/{uuid4()}.mp3"), source="test")
    key, taken = wrapped.subject.encode(), list[str]()
    mended = False

    def take(event: IngestRequested) -> None:
        if not mended:
            raise PermanentError("This release cannot.", reason="bad_release")
        taken.append(event.uri)

    async with ingest(stack, tmp_path, take):
        await stack.send(wrapped.to_record())
        letter = await until_parked(stack, key)
        assert letter.reason == "bad_release"
        mended = True
        (answer,) = await settle(servers, [letter])
        assert answer.outcome == "replayed"
        assert await lying(stack, key) == []
        again = await settle(servers, [letter, letter], patience_s=2)
        assert [answer.outcome for answer in again] == ["no answer", "no answer"], "resolved already"
    assert taken == [wrapped.subject]


async def test_service_that_does_not_run_is_not_waited_for_endlessly(stack: Stack, tmp_path: Path) -> None:
    servers, key = stack.addresses.kafka_bootstrap_servers, str(uuid4()).encode()
    async with ingest(stack, tmp_path):
        await stack.send(Record("ingest-requested", key, b"?", [("ce_id", b"x")]))
        letter = await until_parked(stack, key)
    (answer,) = await settle(servers, [letter], patience_s=1)
    assert (answer.outcome, answer.ok) == ("no answer", False)
    (sent,) = await settle(servers, [letter], drop=True, patience_s=0)
    assert (sent.outcome, sent.ok) == ("sent", True)
    assert await lying(stack, key) == [letter]


def bodiless(origin: str) -> Any:
    """A letter whose body was too large for its topic, as it lies there."""
    changed = {
        "phonograph-dead-letter": str(uuid4()).encode(),
        "phonograph-origin": origin.encode(),
    }
    headers = [(name, changed.get(name, value)) for name, value in HEADERS]
    return parked(headers=[*headers, ("phonograph-body", b"too large")], value=None)


async def test_body_too_large_for_the_dead_letter_topic_is_fetched_from_its_origin(stack: Stack) -> None:
    servers, topic, body = stack.addresses.kafka_bootstrap_servers, "inventory-requested", uuid4().bytes
    (origin,) = await kafka.send(servers, [Record(topic, b"k", body, HEADERS[:3])])
    (letter,) = fold([bodiless(origin)])
    letter = dataclasses.replace(letter, topic=topic)
    assert (letter.bodiless, letter.headers) == (True, HEADERS[:3])
    assert (await whole(servers, letter)).value == body
    await settle(servers, [letter], patience_s=0)
    (sent,) = [each for each in await kafka.read_all(servers, [topic]) if each.value == body][1:]
    assert dict(sent.headers)["phonograph-dead-letter"].decode() == letter.id


@pytest.mark.parametrize("origin", ["inventory-requested/0/999999999", "inventory-requested/77/0", "nowhere"])
async def test_letter_whose_body_is_gone_is_not_sent(stack: Stack, origin: str) -> None:
    servers, topic = stack.addresses.kafka_bootstrap_servers, "inventory-requested"
    record = bodiless(origin)
    await kafka.send(servers, [Record(f"{topic}-dlq", record.key, None, record.headers)])
    (letter,) = [each for each in await dead_letters.dead_letters(servers) if each.id == fold([record])[0].id]
    assert await whole(servers, letter) == letter
    before = len(await kafka.read_all(servers, [topic]))
    replayed = await asked(stack.project, "dlq", "replay", letter.id)
    assert (replayed.code, f"{letter.id}: not sent. Its body was too large" in replayed.out) == (1, True)
    assert len(await kafka.read_all(servers, [topic])) == before
    raw = await asked(stack.project, "dlq", "show", letter.id, "--raw")
    assert (raw.code, raw.out, "the table dead_letters of analysis has it" in raw.err) == (1, "", True)
    assert "body      Its body was too large" in (await asked(stack.project, "dlq", "show", letter.id)).out


async def test_body_is_not_taken_from_another_record_at_the_same_place(stack: Stack) -> None:
    """A topic that was made anew counts from 0 again."""
    servers, topic = stack.addresses.kafka_bootstrap_servers, "inventory-requested"
    (origin,) = await kafka.send(servers, [Record(topic, b"k", b"another", [("ce_id", b"e2")])])
    (letter,) = fold([bodiless(origin)])
    assert await whole(servers, letter) == letter


@pytest.mark.parametrize("command", ["list", "replay", "drop"])
@pytest.mark.parametrize("kind", ["service", "topic"])
async def test_mistaken_name_is_told_and_not_taken_for_none_parked(
    stack: Stack, command: str, kind: str
) -> None:
    answer = await asked(stack.project, "dlq", command, f"--{kind}", "analisys")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"There is no {kind} 'analisys'; there are: ")


async def test_record_with_nothing_in_it_can_be_sent(stack: Stack) -> None:
    servers, mark = stack.addresses.kafka_bootstrap_servers, str(uuid4()).encode()
    (place,) = await kafka.send(servers, [Record("inventory-requested-dlq", None, None, [("mark", mark)])])
    found = await kafka.read_one(servers, "inventory-requested-dlq", 0, int(place.rpartition("/")[2]))
    assert found is not None
    assert (found.key, found.value, found.headers) == (None, None, (("mark", mark),))


async def test_command_lists_explains_replays_and_drops(stack: Stack, tmp_path: Path) -> None:
    key = str(uuid4()).encode()

    async def phonograph(*arguments: str) -> Answer:
        return await asked(stack.project, "dlq", *arguments)

    async with ingest(stack, tmp_path) as shell:
        await stack.send(Record("ingest-requested", key, b"rubbish", [("ce_id", b"x")]))
        letter = await until_parked(stack, key)
        listed = await phonograph("list", "--service", "ingest", "--reason", "not_cloudevents", "--json")
        assert letter.id in [each["id"] for each in listed.json["dead_letters"]]
        assert letter.id not in (await phonograph("list", "--reason", "invalid")).out
        assert letter.id not in (await phonograph("list", "--topic", "media-ready")).out

        shown = await phonograph("show", letter.id)
        for words in (letter.origin, "Mend the producer", "ce_id: x", "7 bytes, text", "rubbish"):
            assert words in shown.out
        assert (await phonograph("show", letter.id[:30], "--json")).json["body"] == "rubbish"
        assert (await phonograph("show", letter.id, "--raw")).out == "rubbish"
        assert (await phonograph("show", "nothing")).code == 2

        assert (await phonograph("replay")).code == 2
        assert (await phonograph("replay", letter.id, "--all")).code == 2
        replayed = await phonograph("replay", letter.id)
        successor = await until_parked(stack, key)
        assert replayed.code == 1
        assert "could not take it this time either" in replayed.out
        assert successor.id in replayed.out
        again = await phonograph("replay", letter.id)
        assert (again.code, "was replayed on" in again.err) == (1, True)

        unsaid = await phonograph("drop", successor.id)
        assert (unsaid.code, "--yes" in unsaid.err) == (2, True)
        assert await until_parked(stack, key) == successor
        dropped = await phonograph("drop", successor.id, "--yes", "--json")
        assert (dropped.code, dropped.json["dead_letters"][0]["outcome"]) == (0, "dropped")
        states = {
            each["id"]: each["state"]
            for each in (await phonograph("list", "--all", "--json")).json["dead_letters"]
        }
        assert (states[letter.id], states[successor.id]) == ("replayed", "dropped")
        kept = await rows(
            shell.database,
            f"""SELECT resolution FROM dead_letters
                WHERE id IN ('{letter.id}', '{successor.id}') ORDER BY parked_at""",
        )
        assert kept == [("replayed",), ("dropped",)]
        assert (
            await phonograph("replay", "--reason", "no_such_reason")
        ).out == "Nothing like this is parked.\n"
