"""The envelope: records of any CloudEvents producer are parsed, invalid ones rejected with a reason."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from phonograph_events import (
    Cause,
    EventError,
    IngestRequested,
    JobRetryRequested,
    MusicAnalyzed,
    envelope,
    parse,
    uuid7,
)
from phonograph_events.documents import MusicDocument
from phonograph_events.examples import EXAMPLES

MINIMAL = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"42"),
    ("ce_source", b"/studio/7"),
    ("ce_type", b"phonograph.ingest.requested.v1"),
]


def test_external_producer_needs_four_headers_and_a_uri() -> None:
    received = parse(b'{"uri": "/music/a.mp3"}', MINIMAL)
    assert isinstance(received.data, IngestRequested)
    assert received.data.uri == "/music/a.mp3"
    assert received.correlationid == "42"
    assert received.subject == "/music/a.mp3"


def test_key_is_the_media_id_so_that_one_file_stays_in_order() -> None:
    media_id = uuid4()
    event = JobRetryRequested(media_id=media_id, job_id=uuid4(), service="analysis")
    record = envelope(event, source="cli").to_record()
    assert record.key == str(media_id).encode()
    assert record.topic == "job-retry-requested"


def test_cause_joins_the_events_of_one_request() -> None:
    first = envelope(IngestRequested(uri="/a.mp3"), source="cli")
    second = envelope(IngestRequested(uri="/b.mp3"), source="ingest", cause=first.as_cause())
    assert second.correlationid == first.correlationid
    assert second.causationid == first.id
    assert first.as_cause() == Cause(first.id, first.correlationid)


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (b"{}", [], "not_cloudevents"),
        (b"{}", [("ce_id", None), *MINIMAL[2:]], "not_cloudevents"),
        (b"{}", [*MINIMAL[:3], ("ce_type", b"phonograph.nothing.v1")], "unknown_type"),
        (None, MINIMAL, "empty_body"),
        (b"", MINIMAL, "empty_body"),
        (b"not json", MINIMAL, "not_json"),
        (b"\xff\xfe", MINIMAL, "not_json"),
        (b"[" * 100_000, MINIMAL, "not_json"),
        (b"[]", MINIMAL, "invalid"),
        (b"{}", MINIMAL, "invalid"),
        (b'{"uri": 7}', MINIMAL, "invalid"),
        (b'{"uri": "/a.mp3"}', [*MINIMAL, ("ce_time", b"yesterday")], "invalid"),
    ],
)
def test_invalid_record_has_a_reason(
    value: bytes | None, headers: list[tuple[str, bytes | None]], reason: str
) -> None:
    with pytest.raises(EventError) as caught:
        parse(value, headers)
    assert caught.value.reason == reason
    assert caught.value.message.endswith(".")


@given(
    st.binary(max_size=200),
    st.lists(st.tuples(st.sampled_from(["ce_id", "ce_source", "ce_type"]), st.binary())),
)
def test_arbitrary_bytes_raise_only_event_errors(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    with suppress(EventError):
        parse(value, headers)


def test_invalid_message_names_the_field() -> None:
    body = json.dumps({"uri": "/a.mp3", "priority": "soon"}).encode()
    with pytest.raises(EventError, match="priority"):
        parse(body, MINIMAL)


ANALYZED = next(event for event in EXAMPLES if isinstance(event, MusicAnalyzed))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", '"NaN"', '"Infinity"', "1e999"])
@pytest.mark.parametrize("field", ["bpm", "media.duration_s", "bpm_candidates.0"])
def test_number_that_json_does_not_have_is_invalid(field: str, number: str) -> None:
    """Python writes NaN and infinity into JSON by default; other languages cannot read them."""
    record = envelope(ANALYZED, source="test").to_record()
    body = json.loads(record.value or b"")
    *path, last = [int(part) if part.isdecimal() else part for part in field.split(".")]
    parent = body
    for step in path:
        parent = parent[step]
    parent[last] = "HERE"
    invalid = json.dumps(body).replace('"HERE"', number).encode()
    with pytest.raises(EventError, match=f"v1: {field}: Input should be a finite number") as caught:
        parse(invalid, record.headers)
    assert caught.value.reason == "invalid"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_number_that_json_does_not_have_is_not_published(number: float) -> None:
    fields = ANALYZED.model_dump()
    with pytest.raises(ValidationError, match=r"bpm\n  Input should be a finite number"):
        MusicAnalyzed(**fields | {"bpm": number})
    document = {name: fields.get(name) for name in MusicDocument.model_fields}
    with pytest.raises(ValidationError, match=r"beats.0\n  Input should be a finite number"):
        MusicDocument(**document | {"engine": "essentia", "beats": [number]})


def test_uuid7_sorts_by_time() -> None:
    before = datetime.now(UTC).timestamp()
    ids = [uuid7() for _ in range(100)]
    assert {uuid.version for uuid in ids} == {7}
    milliseconds = ids[0].int >> 80
    assert abs(milliseconds / 1000 - before) < 5
    assert [uuid.int >> 80 for uuid in ids] == sorted(uuid.int >> 80 for uuid in ids)
