"""CloudEvents 1.0 in Kafka binary mode: attributes in `ce_*` headers, the body as JSON.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
"""

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from phonograph_events.errors import PermanentError
from phonograph_events.payloads import Event
from phonograph_events.topics import EVENTS

CONTENT_TYPE = "application/json"
OWN_PREFIX = "phonograph-"
"""Prefix of every header that Phonograph defines beside the CloudEvents attributes."""
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

DROP_ACTION = "drop"
"""Value of `ACTION_HEADER` that resolves a dead letter without processing its record."""

HEADERS: Final[dict[str, str]] = {
    "content-type": "Of the body: `application/json`.",
    "ce_specversion": "`1.0`.",
    "ce_id": "Unique among the events of one source, at most 200 characters; ours are UUIDv7. "
    "An event that comes a second time has the same `ce_source` and `ce_id`: do nothing for it.",
    "ce_source": "Who published: a service's name, or any URI reference, at most 200 characters.",
    "ce_type": "Which event, with its major version: tells the schema of the body.",
    "ce_subject": "What it is about; also the key of the record.",
    "ce_time": "When it was published, RFC 3339.",
    "ce_dataschema": "`urn:phonograph:` and the type: the `$id` of the body's schema.",
    "ce_correlationid": "The same on every event that one request led to, at most 200 characters; "
    "the request's `ce_id` where the producer gave none.",
    "ce_causationid": "`ce_id` of the event that led to this one; absent on a request.",
    "ce_aggregateversion": "Version of what the event describes, a whole number from 1: "
    "ignore what is older than what you hold.",
    "ce_traceparent": "W3C trace context, where the producer traces.",
    "traceparent": "The same, where OpenTelemetry looks for it.",
    TARGET_HEADER: "On a replayed record: the one service that it is for; all others pass it over.",
    ACTION_HEADER: "On a replayed record: `drop` gives its dead letter up instead of taking it.",
}
"""What each header of an event says. A producer gives the first five; our services give what they know."""
DEAD_LETTER_HEADERS: Final[dict[str, str]] = {
    DEAD_LETTER_HEADER: "Id of the dead letter, the same when it is resolved.",
    SERVICE_HEADER: "Which service could not take the record.",
    ORIGIN_HEADER: "`topic/partition/offset` of the record.",
    REASON_HEADER: "Why, in a word.",
    ERROR_HEADER: "Why, in a sentence.",
    BODY_HEADER: "Only where the body was too large for this topic: the service's table has it.",
    LAST_OFFSET_HEADER: "Only where no record of a batch could be read: offset of its last record. "
    "The body is the batch itself.",
    RESOLUTION_HEADER: "Only on the record without a body that settles a letter: how it was.",
}
"""What the headers of a dead letter say; beside them it keeps the headers and the bytes of the record."""


class EventError(PermanentError, ValueError):
    """A Kafka record that is not a valid event; `parse` lists the reason codes."""

    reason = "invalid"


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka record, for any client."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Cause:
    """What led to an event: kept so that all events of one request can be joined."""

    event_id: str
    correlation_id: str
    traceparent: str | None = None


class Envelope(BaseModel):
    """An event with its CloudEvents attributes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1, max_length=200)
    """Unique among the events of one source; ours are UUIDv7."""
    source: str = Field(min_length=1, max_length=200)
    type: str
    subject: str
    time: datetime
    correlationid: str = Field(max_length=200)
    """Joins all events that one request led to."""
    causationid: str | None = Field(default=None, max_length=200)
    aggregateversion: int = Field(default=1, ge=1)
    traceparent: str | None = None
    data: Event

    def as_cause(self) -> Cause:
        """This event as the cause of the next one."""
        return Cause(self.id, self.correlationid, self.traceparent)

    def to_record(self) -> Record:
        """The record to send. The key is the subject, so that one file's events stay in order."""
        about = Cause(self.causationid or "", self.correlationid, self.traceparent)
        return _record(self.data, self.id, self.source, self.subject, self.time, about, self.aggregateversion)


def record(event: Event, *, source: str, cause: Cause | None = None, version: int = 1) -> Record:
    """The record of a new event, as `envelope(…).to_record()` gives it, without the envelope between."""
    event_id = _event_id()
    about = cause or Cause("", event_id)
    return _record(event, event_id, source, event.subject, datetime.now(UTC), about, version)


def _record(  # noqa: PLR0917  # called from two places, on the way of every event
    event: Event, event_id: str, source: str, subject: str, time: datetime, cause: Cause, version: int
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
    """Wrap a body for publishing.

    Args:
        event: the body.
        source: who publishes; a service's name, or any URI reference of a producer outside.
        cause: what led to this event; its correlation id and trace are kept.
        correlation_id: joins all events of one request; a new one when neither it nor a cause is given.
        version: version of the aggregate that the event describes, from 1.
    """
    event_id = _event_id()
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


def parse(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> Envelope:
    """Read a record that any CloudEvents producer may have written.

    Raises:
        EventError: `not_cloudevents` (a `ce_` header is missing), `unknown_type`, `empty_body`,
            `not_json` or `invalid` (a field is missing or wrong; the message names it).
    """
    attributes: dict[str, Any] = {
        attribute: raw.decode(errors="replace")
        for name, raw in headers
        if raw and (attribute := _attribute(name))
    }
    missing = [name for name in ("id", "source", "type") if not attributes.get(name)]
    if missing:
        raise EventError(f"The header ce_{missing[0]} is missing.", reason="not_cloudevents")
    model = EVENTS.get(attributes["type"])
    if model is None:
        raise EventError(f"No event has the type {attributes['type']!r}.", reason="unknown_type")
    if not value:
        raise EventError("The record has no body.", reason="empty_body")
    try:
        data = model.model_validate_json(value)
        attributes.setdefault("correlationid", attributes["id"])
        if "time" not in attributes:
            attributes["time"] = datetime.now(UTC)
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


@lru_cache(maxsize=1000)
def _attribute(header: str) -> str | None:
    """The CloudEvents attribute that a header holds; its case is the producer's affair."""
    name = header.lower()
    if name == "traceparent":
        return name
    return name[3:] if name.startswith("ce_") else None


def uuid7() -> UUID:
    """A UUID that sorts by time (RFC 9562, version 7): 48 bits of milliseconds, 74 random bits."""
    return UUID(int=_uuid7())


def _uuid7() -> int:
    chance = random.getrandbits(74)  # a name, not a secret; `os.urandom` costs a system call for each event
    value = (time.time_ns() // 1_000_000) << 80
    return value | 0x7 << 76 | (chance >> 62) << 64 | 0x2 << 62 | (chance & ((1 << 62) - 1))


def _event_id() -> str:
    """The text of a `uuid7`, without the object between."""
    digits = f"{_uuid7():032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
