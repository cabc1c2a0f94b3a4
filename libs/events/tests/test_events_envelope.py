"""The envelope: what any CloudEvents producer may write, and how rubbish is named."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph_events import Cause, EventError, IngestRequested, JobRetryRequested, envelope, parse, uuid7

MINIMAL = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"42"),
    ("ce_source", b"/studio/7"),
    ("ce_type", b"phonograph.ingest.requested.v1"),
]


def test_foreign_producer_needs_four_headers_and_a_uri() -> None:
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
def test_rubbish_has_a_reason(
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
def test_no_bytes_crash_the_reader(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    with suppress(EventError):
        parse(value, headers)


def test_invalid_message_names_the_field() -> None:
    body = json.dumps({"uri": "/a.mp3", "priority": "soon"}).encode()
    with pytest.raises(EventError, match="priority"):
        parse(body, MINIMAL)


def test_uuid7_sorts_by_time() -> None:
    before = datetime.now(UTC).timestamp()
    ids = [uuid7() for _ in range(100)]
    assert {uuid.version for uuid in ids} == {7}
    milliseconds = ids[0].int >> 80
    assert abs(milliseconds / 1000 - before) < 5
    assert [uuid.int >> 80 for uuid in ids] == sorted(uuid.int >> 80 for uuid in ids)
