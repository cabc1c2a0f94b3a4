"""CloudEvents 1.0 on Kafka: written in binary mode (attributes in `ce_*` headers), read in both modes.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

import base64
import json
import random
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from functools import lru_cache
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from phonograph_events.errors import PermanentError
from phonograph_events.payloads import Event
from phonograph_events.topics import EVENTS

CONTENT_TYPE = "application/json"
STRUCTURED_PREFIX = "application/cloudevents"
STRUCTURED_JSON = "application/cloudevents+json"
_BODY_MEMBERS: Final = {"data", "data_base64"}
OWN_PREFIX = "phonograph-"
"""Prefix of every header that Phonograph defines in addition to the CloudEvents attributes."""
TARGET_HEADER = "phonograph-target"
ACTION_HEADER = "phonograph-action"
DEAD_LETTER_HEADER = "phonograph-dead-letter"
SERVICE_HEADER = "phonograph-service"
ORIGIN_HEADER = "phonograph-origin"
REASON_HEADER = "phonograph-reason"
ERROR_HEADER = "phonograph-error"
BODY_HEADER = "phonograph-body"
LAST_OFFSET_HEADER = "phonograph-last-offset"
RESOLUTION_HEADER = "phonograph-resolution"

_LEAP_SECOND: Final = re.compile(r"(.+:\d\d:)60(\D.*)?", re.DOTALL)

DROP_ACTION = "drop"
"""Value of `ACTION_HEADER` that resolves a dead letter without processing its record."""

HEADERS: Final[dict[str, str]] = {
    "content-type": "Media type of the body: `application/json`.",
    "ce_specversion": "Version of CloudEvents: `1.0`.",
    "ce_id": "Unique among the events of one source, at most 200 characters; Phonograph uses UUIDv7. "
    "An event that is delivered again has the same `ce_source` and `ce_id`: ignore it.",
    "ce_source": "The publisher: the name of a service or any URI reference, at most 200 characters.",
    "ce_type": "Type of the event with its major version; it determines the schema of the body.",
    "ce_subject": "What the event is about; also the key of the record.",
    "ce_time": "Time of publication, RFC 3339.",
    "ce_dataschema": "`urn:phonograph:` followed by the type: the `$id` of the body's schema.",
    "ce_correlationid": "Common to all events that one request led to, at most 200 characters; "
    "the request's `ce_id` if the producer set none.",
    "ce_causationid": "`ce_id` of the event that caused this one; absent on a request.",
    "ce_aggregateversion": "Version of the object that the event describes, an integer from 1: "
    "ignore an event older than the version that you have.",
    "ce_traceparent": "W3C trace context, if the producer traces.",
    "traceparent": "The same value, under the name that OpenTelemetry reads.",
    TARGET_HEADER: "On a replayed record: the only service that processes it; all others skip it.",
    ACTION_HEADER: "On a replayed record: `drop` discards its dead letter without processing it.",
}
"""Meaning of each header of an event. External producers must set at least the first five."""
DEAD_LETTER_HEADERS: Final[dict[str, str]] = {
    DEAD_LETTER_HEADER: "Id of the dead letter; its resolution has the same id.",
    SERVICE_HEADER: "Name of the service that could not process the record.",
    ORIGIN_HEADER: "`topic/partition/offset` of the record.",
    REASON_HEADER: "Code of the reason.",
    ERROR_HEADER: "The reason as a sentence.",
    BODY_HEADER: "Only if the body is too large for this topic: it is stored in the service's table.",
    LAST_OFFSET_HEADER: "Only if no record of a batch could be read: offset of its last record. "
    "The body is then the batch itself.",
    RESOLUTION_HEADER: "Only on the record without a body that resolves a dead letter: how it was resolved.",
}
"""Meaning of the headers that a dead letter has in addition to the headers of its record."""


class EventError(PermanentError, ValueError):
    """A Kafka record that is not a valid event; `parse` lists the reason codes."""

    reason = "invalid"


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka record, independent of the client library."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Cause:
    """The event that caused another one; it joins all events of one request."""

    event_id: str
    correlation_id: str
    traceparent: str | None = None
    source: str = ""
    """Source of the event: with the id, it identifies the event. Empty where nothing depends on it."""


def _parse_time(value: Any, parse_usual: ValidatorFunctionWrapHandler) -> datetime:
    """Return a time in any form of RFC 3339; one without an offset is in UTC."""
    try:
        moment: datetime = parse_usual(value)
    except ValidationError:
        leap = _LEAP_SECOND.fullmatch(value) if isinstance(value, str) else None
        if leap is None:
            raise
        # Python has no second 60: it is the first of the next minute, as in POSIX.
        moment = parse_usual(f"{leap[1]}59{leap[2] or ''}") + timedelta(seconds=1)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Envelope(BaseModel):
    """An event with its CloudEvents attributes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1, max_length=200)
    """Unique among the events of one source; Phonograph uses UUIDv7."""
    source: str = Field(min_length=1, max_length=200)
    type: str
    subject: str
    time: Annotated[datetime, WrapValidator(_parse_time)]
    correlationid: str = Field(max_length=200)
    """Common to all events that one request led to."""
    causationid: str | None = Field(default=None, max_length=200)
    aggregateversion: int = Field(default=1, ge=1)
    traceparent: str | None = None
    data: Event

    def as_cause(self) -> Cause:
        """Return this event as the cause of another one."""
        return Cause(self.id, self.correlationid, self.traceparent, self.source)

    def to_record(self) -> Record:
        """Return the record to send; its key is the subject, so that one file's events stay in order."""
        cause = Cause(self.causationid or "", self.correlationid, self.traceparent)
        return _serialize(
            self.data,
            event_id=self.id,
            source=self.source,
            time=self.time,
            subject=self.subject,
            cause=cause,
            version=self.aggregateversion,
        )


def record(event: Event, *, source: str, cause: Cause | None = None, version: int = 1) -> Record:
    """Return the record of a new event, like `envelope(…).to_record()` but without the envelope.

    Args:
        event: Body of the event.
        source: Publisher: the name of a service.
        cause: Event that led to this one; its correlation id and trace context are kept.
        version: Version of the object that the event describes, from 1.
    """
    event_id = _new_event_id()
    return _serialize(
        event,
        event_id=event_id,
        source=source,
        subject=event.subject,
        time=datetime.now(UTC),
        cause=cause or Cause("", event_id),
        version=version,
    )


def _serialize(
    event: Event,
    *,
    event_id: str,
    source: str,
    subject: str,
    time: datetime,
    cause: Cause,
    version: int,
) -> Record:
    headers = [
        *_fixed_headers(event.event_type(), source),
        ("ce_id", event_id.encode()),
        ("ce_subject", subject.encode()),
        ("ce_time", time.isoformat().encode()),
        ("ce_correlationid", cause.correlation_id.encode()),
        ("ce_aggregateversion", b"%d" % version),
    ]
    if cause.event_id:
        headers.append(("ce_causationid", cause.event_id.encode()))
    if cause.traceparent:
        traceparent = cause.traceparent.encode()
        headers += [("ce_traceparent", traceparent), ("traceparent", traceparent)]
    return Record(
        topic=event.TOPIC,
        key=subject.encode(errors="surrogateescape"),
        value=event.model_dump_json().encode(),
        headers=headers,
    )


@lru_cache
def _fixed_headers(event_type: str, source: str) -> tuple[tuple[str, bytes], ...]:
    return (
        ("content-type", CONTENT_TYPE.encode()),
        ("ce_specversion", b"1.0"),
        ("ce_source", source.encode()),
        ("ce_type", event_type.encode()),
        ("ce_dataschema", f"urn:phonograph:{event_type}".encode()),
    )


def envelope(
    event: Event,
    *,
    source: str,
    cause: Cause | None = None,
    correlation_id: str | None = None,
    version: int = 1,
) -> Envelope:
    """Return a new event with its CloudEvents attributes.

    Args:
        event: Body of the event.
        source: Publisher: the name of a service, or any URI reference of an external producer.
        cause: Event that led to this one; its correlation id and trace context are kept.
        correlation_id: Common to all events of one request; by default that of the cause, or a new one.
        version: Version of the object that the event describes, from 1.
    """
    event_id = _new_event_id()
    inherited = cause.correlation_id if cause else event_id
    return Envelope(
        id=event_id,
        source=source,
        type=event.event_type(),
        subject=event.subject,
        time=datetime.now(UTC),
        correlationid=correlation_id or inherited,
        causationid=cause.event_id if cause else None,
        aggregateversion=version,
        traceparent=cause.traceparent if cause else None,
        data=event,
    )


def parse(
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]],
    *,
    default_time: datetime | None = None,
) -> Envelope:
    """Return the event of a record that any CloudEvents producer may have written, in either mode.

    A record is in structured mode if its content type says so, or if it has no CloudEvents header and its
    body is a JSON object with a `specversion`.

    Args:
        value: Body of the record.
        headers: Its headers.
        default_time: Time of an event that states none; now if None.

    Raises:
        EventError: With reason `not_cloudevents` (an attribute is missing), `unknown_type`, `empty_body`,
            `not_json` or `invalid` (a field is missing or wrong; the message names it).
    """
    headers = list(headers)
    attributes: dict[str, Any] = {
        attribute: raw.decode(errors="replace")
        for name, raw in headers
        if raw and (attribute := _attribute_name(name))
    }
    media_type, charset = _content_type(headers)
    is_structured = media_type.startswith(STRUCTURED_PREFIX)
    if is_structured or not attributes.keys() & {"id", "source", "type", "specversion"}:
        content = _parse_structured(value, media_type, charset, is_declared=is_structured)
        if content is not None:
            attributes |= content
            value = attributes.pop("data", None)
    missing = [name for name in ("id", "source", "type") if not attributes.get(name)]
    if missing:
        wanted = f"attribute {missing[0]}" if is_structured else f"header ce_{missing[0]}"
        raise EventError(f"The {wanted} is missing; CloudEvents requires it.", reason="not_cloudevents")
    model = EVENTS.get(attributes["type"])
    if model is None:
        raise EventError(
            f"The event type {attributes['type']!r} is unknown; docs/events.md lists all types.",
            reason="unknown_type",
        )
    if not value:
        raise EventError("The record has no body; it must be a JSON object.", reason="empty_body")
    try:
        data = model.model_validate_json(value)
        attributes.setdefault("correlationid", attributes["id"])
        if "time" not in attributes:
            attributes["time"] = default_time or datetime.now(UTC)
        if "subject" not in attributes:
            attributes["subject"] = data.subject
        attributes["data"] = data
        return Envelope.model_validate(attributes)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise EventError(f"The body is not JSON: {first['msg']}.", reason="not_json") from error
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise EventError(f"{attributes['type']}: {where}: {first['msg']}.", reason="invalid") from error


def _content_type(headers: Iterable[tuple[str, bytes | None]]) -> tuple[str, str]:
    """Return the media type of a record in lower case, and the charset of its body."""
    for name, raw in headers:
        if raw and name.lower() in {
            "content-type",
            "contenttype",
        }:  # the second is that of Spring Cloud Stream
            return _parse_content_type(raw)
    return "", "utf-8"


@lru_cache(maxsize=100)
def _parse_content_type(raw: bytes) -> tuple[str, str]:
    message = Message()
    # Some releases of Spring put quotation marks around the values of headers.
    message["content-type"] = raw.decode(errors="replace").strip().strip('"')
    return message.get_content_type(), str(message.get_param("charset") or "utf-8")


def _parse_structured(
    value: bytes | None, media_type: str, charset: str, *, is_declared: bool
) -> dict[str, Any] | None:
    """Return the attributes of an event in structured mode, with its body as JSON under `data`.

    Args:
        value: Body of the record.
        media_type: Its media type.
        charset: Its charset.
        is_declared: Whether the media type states the mode; otherwise the body must look like an event.

    Returns:
        None if the mode is not declared and the body does not look like an event.

    Raises:
        EventError: If the mode is declared and the body is not a JSON object.
    """
    if not value:
        if is_declared:
            raise EventError("The record has no body; it must be a JSON object.", reason="empty_body")
        return None
    if is_declared and media_type != STRUCTURED_JSON:
        raise EventError(
            f"The content type {media_type!r} is not read; {STRUCTURED_JSON} is.", reason="not_cloudevents"
        )
    try:
        content = json.loads(value.decode(charset).removeprefix("\ufeff"))
    except (ValueError, LookupError, RecursionError) as error:
        if is_declared:
            raise EventError(f"The body is not JSON in {charset}: {error}.", reason="not_json") from error
        return None
    if not isinstance(content, dict) or "specversion" not in content:
        if is_declared:
            raise EventError(
                "The body has no attribute specversion; CloudEvents requires it.", reason="not_cloudevents"
            )
        return None
    attributes: dict[str, Any] = {
        name: found for name, found in content.items() if found is not None and name not in _BODY_MEMBERS
    }
    for name in ("id", "source", "type"):
        if not isinstance(attributes.get(name, ""), str):
            raise EventError(f"The attribute {name} must be text.", reason="invalid")
    return attributes | {"data": _body_of(content)}


def _body_of(content: dict[str, Any]) -> bytes | None:
    """Return the body of an event in structured mode as JSON."""
    if content.get("data_base64") is not None:
        try:
            return base64.b64decode(content["data_base64"], validate=True)
        except (ValueError, TypeError) as error:
            raise EventError(f"data_base64 is not Base64: {error}.", reason="invalid") from error
    if content.get("data") is None:
        return None
    data = content["data"]
    # Every body is an object, so that text can only be an object which the producer has encoded twice.
    return (data if isinstance(data, str) else json.dumps(data)).encode()


@lru_cache(maxsize=1000)
def _attribute_name(header: str) -> str | None:
    """Return the CloudEvents attribute of a header, or None; producers may write the name in any case."""
    name = header.lower()
    if name == "traceparent":
        return name
    return name[3:] if name.startswith("ce_") else None


def uuid7() -> UUID:
    """Return a UUID that sorts by time (RFC 9562, version 7): 48 bits of milliseconds, 74 random bits."""
    return UUID(int=_uuid7())


def _uuid7() -> int:
    # An id is not a secret; `os.urandom` would cost a system call for each event.
    random_bits = random.getrandbits(74)
    value = (time.time_ns() // 1_000_000) << 80
    return value | 0x7 << 76 | (random_bits >> 62) << 64 | 0x2 << 62 | (random_bits & ((1 << 62) - 1))


def _new_event_id() -> str:
    """Return the text of a new `uuid7` without creating a UUID object."""
    digits = f"{_uuid7():032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
