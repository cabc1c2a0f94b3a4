"""Parked records: read as the runtime writes them, sent back as they were."""

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.scratch import delivered

from phonograph_cli import dead_letters, kafka
from phonograph_events import TOPICS, Record

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


async def letter(record: Any, monkeypatch: pytest.MonkeyPatch) -> dead_letters.DeadLetter:
    """The record as `phonograph dlq` reads it."""
    asked: list[str] = []

    async def read_all(_servers: str, topics: Iterable[str]) -> list[Any]:
        asked.extend(topics)
        return [record]

    monkeypatch.setattr(kafka, "read_all", read_all)
    (found,) = await dead_letters.dead_letters("servers")
    assert asked == [f"{topic}-dlq" for topic in TOPICS]
    return found


async def test_letter_tells_who_could_not_take_what_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await letter(parked(), monkeypatch)
    assert found == dead_letters.DeadLetter(
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
    assert told["body"] == '{"a": 1}'
    assert told["headers"]["x-raw"] == "\ufffd\x00"


async def test_rubbish_on_the_topic_is_shown_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await letter(parked(headers=[("odd", None)], key=None, value=None), monkeypatch)
    assert (found.id, found.service, found.reason) == ("media-ready-dlq/7", "", "")
    assert (found.key, found.value, found.headers) == (b"", b"", [("odd", b"")])


async def test_replay_sends_the_record_as_it_was_to_the_one_service(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Record] = []

    async def send(_servers: str, records: Iterable[Record]) -> None:
        sent.extend(records)

    monkeypatch.setattr(kafka, "send", send)
    await dead_letters.replay("servers", [await letter(parked(), monkeypatch)])
    (record,) = sent
    assert (record.topic, record.key, record.value) == ("media-ready", b"k", b'{"a": 1}')
    ours = [("phonograph-target", b"analysis"), ("phonograph-dead-letter", b"0198-letter")]
    assert record.headers == [*HEADERS[:3], *ours]
