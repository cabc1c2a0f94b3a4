"""The envelope: records of any CloudEvents producer are parsed, invalid ones rejected with a reason."""

import base64
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
    assert first.as_cause() == Cause(first.id, first.correlationid, source="cli")


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


STRUCTURED = {
    "specversion": "1.0",
    "id": "42",
    "source": "/studio/7",
    "type": "phonograph.ingest.requested.v1",
    "time": "2026-02-03T04:05:06Z",
    "correlationid": "c",
    "data": {"uri": "/musik/Ümläut.mp3", "profile": "music"},
}


def structured(**changes: object) -> bytes:
    return json.dumps(
        {key: value for key, value in (STRUCTURED | changes).items() if value != "absent"}
    ).encode()


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ([("content-type", b"application/cloudevents+json")], structured()),
        ([("Content-Type", b"application/cloudevents+json; charset=UTF-8")], structured()),
        ([("content-type", b'application/cloudevents+json;charset="utf-8"')], structured()),
        ([("contentType", b'"application/cloudevents+json"')], structured()),
        ([("content-type", b"APPLICATION/CLOUDEVENTS+JSON")], b"\xef\xbb\xbf" + structured()),
        (
            [("content-type", b"application/cloudevents+json; charset=utf-16")],
            json.dumps(STRUCTURED, ensure_ascii=False).encode("utf-16"),
        ),
        ([], structured()),
        ([("content-type", b"application/json")], structured()),
        ([("content-type", b"application/cloudevents+json")], structured(datacontenttype="application/json")),
        (
            [("content-type", b"application/cloudevents+json")],
            structured(
                data="absent", data_base64=base64.b64encode(json.dumps(STRUCTURED["data"]).encode()).decode()
            ),
        ),
        (
            [("content-type", b"application/cloudevents+json")],
            structured(data=json.dumps(STRUCTURED["data"])),
        ),
        ([("content-type", b"application/cloudevents+json")], structured(subject=None, vendor={"a": 1})),
        (
            [("content-type", b"application/cloudevents+json"), *MINIMAL],
            structured(),
        ),
    ],
)
def test_structured_mode_is_read_like_binary_mode(
    headers: list[tuple[str, bytes | None]], value: bytes
) -> None:
    binary = parse(
        json.dumps(STRUCTURED["data"]).encode(),
        [*MINIMAL, ("ce_time", b"2026-02-03T04:05:06Z"), ("ce_correlationid", b"c")],
    )
    assert parse(value, headers) == binary


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty_body"),
        (b"", "empty_body"),
        (b"junk", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[]", "not_cloudevents"),
        (b"{}", "not_cloudevents"),
        (structured(id="absent"), "not_cloudevents"),
        (structured(id=""), "not_cloudevents"),
        (structured(id=42), "invalid"),
        (structured(type="other.v1"), "unknown_type"),
        (structured(data="absent"), "empty_body"),
        (structured(data=[1]), "invalid"),
        (structured(data="not JSON"), "not_json"),
        (structured(data_base64="%"), "invalid"),
        (structured(data_base64=5), "invalid"),
        (structured(time="yesterday"), "invalid"),
        (structured(source={"a": 1}), "invalid"),
    ],
)
def test_rubbish_in_structured_mode_has_a_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(EventError) as raised:
        parse(value, [("content-type", b"application/cloudevents+json")])
    assert raised.value.reason == reason


def test_other_formats_of_structured_mode_are_named() -> None:
    for media_type in (b"application/cloudevents-batch+json", b"application/cloudevents+avro"):
        with pytest.raises(EventError, match="is not read") as raised:
            parse(structured(), [("content-type", media_type)])
        assert raised.value.reason == "not_cloudevents"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-02-03T04:05:06Z", "2026-02-03T04:05:06+00:00"),
        ("2026-02-03t04:05:06z", "2026-02-03T04:05:06+00:00"),
        ("2026-02-03 04:05:06Z", "2026-02-03T04:05:06+00:00"),
        ("2026-02-03T04:05:06.1Z", "2026-02-03T04:05:06.100000+00:00"),
        ("2026-02-03T04:05:06.123456789Z", "2026-02-03T04:05:06.123456+00:00"),
        (f"2026-02-03T04:05:06.{'7' * 40}Z", "2026-02-03T04:05:06.777777+00:00"),
        ("2026-02-03T04:05:06+05:30", "2026-02-02T22:35:06+00:00"),
        ("2026-02-03T04:05:06-00:00", "2026-02-03T04:05:06+00:00"),
        ("2026-02-03T04:05:06-23:59", "2026-02-04T04:04:06+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.250000+00:00"),
        ("2017-01-01T05:29:60+05:30", "2017-01-01T00:00:00+00:00"),
        ("2026-02-03T04:05:06", "2026-02-03T04:05:06+00:00"),
    ],
)
def test_every_form_of_an_rfc_3339_time_is_read(written: str, expected: str) -> None:
    received = parse(b'{"uri": "/music/a.mp3"}', [*MINIMAL, ("ce_time", written.encode())])
    assert received.time == datetime.fromisoformat(expected)
    assert received.time.tzinfo is not None


@pytest.mark.parametrize("written", ["2026-02-03T04:05:61Z", "2026-02-30T04:05:06Z", "26-02-03", "x:60"])
def test_what_is_no_time_is_invalid(written: str) -> None:
    with pytest.raises(EventError):
        parse(b'{"uri": "/music/a.mp3"}', [*MINIMAL, ("ce_time", written.encode())])


def test_event_without_a_time_has_the_time_of_its_record() -> None:
    written_at = datetime(2026, 2, 3, tzinfo=UTC)
    assert parse(b'{"uri": "/music/a.mp3"}', MINIMAL, default_time=written_at).time == written_at
