"""Dead letters: records that a service could not process, with the failure and the resolution."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from phonograph_cli.kafka import KafkaClient, StoredRecord
from phonograph_events import (
    ACTION_HEADER,
    BODY_HEADER,
    DEAD_LETTER_HEADER,
    DEAD_LETTER_SUFFIX,
    DROP_ACTION,
    ERROR_HEADER,
    LAST_OFFSET_HEADER,
    ORIGIN_HEADER,
    REASON_HEADER,
    RESOLUTION_HEADER,
    SERVICE_HEADER,
    TARGET_HEADER,
    TOPICS,
    Record,
    dead_letter_topic,
)
from phonograph_events.envelope import DEAD_LETTER_HEADERS

REPLAYED: Final = "replayed"
DROPPED: Final = "dropped"
PARKED_AGAIN: Final = "parked again"
SENT: Final = "sent"
NO_ANSWER: Final = "no answer"
BODY_GONE: Final = "body gone"
NO_EVENT: Final = "no event"
ANSWER_TIMEOUT_S = 30.0

EXPLANATIONS: Final = {
    "not_cloudevents": (
        "A header that every event has is missing, so the type of the event is unknown.",
        "Fix the producer (docs/producing-events.md) and let it publish again; then drop this one.",
    ),
    "unknown_type": (
        "No event known to this release of the service has this type and major version.",
        "If the producer is newer, update the service, then replay. If the type is wrong, fix it, then drop.",
    ),
    "empty_body": (
        "The record has headers but no body.",
        "Fix the producer and let it publish again; then drop this one.",
    ),
    "not_json": (
        "The body is not JSON, or not UTF-8.",
        "Fix the producer and let it publish again; then drop this one.",
    ),
    "invalid": (
        "The body violates the event's schema; the error names the field. Schemas are in schemas/events.",
        "If the producer is wrong, fix it, then drop. If the service is too old, update it, then replay.",
    ),
    "too_large": (
        "An event that results from this one would be larger than Kafka accepts.",
        "The service must store the large part in the object store: update it, then replay.",
    ),
    "refused_by_database": (
        "PostgreSQL will never store one of its values: it is too long, or violates a constraint.",
        "The error names the column or constraint. Fix the service or the value, then replay; or drop.",
    ),
    "refused_by_graph": (
        "Neo4j will never store one of its values.",
        "Fix the service, then replay. Until then `phonograph graph check` lists what is missing.",
    ),
    "too_large_for_graph": (
        "The graph's transaction needs more memory than Neo4j allows one transaction.",
        "Raise dbms.memory.transaction.total.max, then replay.",
    ),
    "unreadable_batch": (
        "No record of this batch could be read; the error has the reason. The body is the batch, as bytes.",
        "Check disks and producer (docs/runbooks/BatchesUnreadable.md), publish again, then drop this one.",
    ),
    "skipped": (
        "An operator let the service go on behind this record; the error names the operator and the reason.",
        "Once the cause is fixed, replay; or drop.",
    ),
    "missing_object": (
        "An object that the event names is not in the object store.",
        "Restore it, then replay; or drop.",
    ),
    "foreign_object": (
        "The event names an object outside the object store of this installation.",
        "Compare OBJECT_STORE_URL of the services, then replay; or drop.",
    ),
}
"""Meaning and advice by reason code."""
UNEXPLAINED: Final = (
    "The service retried until its retry budget was used up (20 s unless set) and failed with this error.",
    "Read the service's log. Once the cause is fixed, replay.",
)
UNKNOWN_RECORD: Final = (
    "No service parked it: it was written to the dead-letter topic directly.",
    "It can neither be replayed nor dropped; Kafka deletes it after 30 days.",
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A parked record and what is known about its failure."""

    id: str
    service: str
    topic: str
    origin: str
    """`topic/partition/offset` of the record that failed."""
    reason: str
    error: str
    parked_at: datetime
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    """Headers of the record that failed."""
    is_bodiless: bool = False
    """True if the body was too large for the dead-letter topic, so that only the origin has it."""
    last_offset: int | None = None
    """Offset of the last record of a batch that could not be read; the body is then the batch itself."""
    resolution: str | None = None
    """`replayed` or `dropped`; None while it is parked."""
    resolved_at: datetime | None = None

    @property
    def place(self) -> str:
        """Origin, as a range of offsets if it is a batch."""
        origin = self.origin
        if self.last_offset is None or origin.endswith(f"/{self.last_offset}"):
            return origin
        return f"{origin}-{self.last_offset}"

    @property
    def state(self) -> str:
        """`parked`, `replayed` or `dropped`."""
        return self.resolution or "parked"

    @property
    def explanation(self) -> tuple[str, str]:
        """Meaning of the reason, and advice."""
        return EXPLANATIONS.get(self.reason, UNEXPLAINED) if self.service else UNKNOWN_RECORD

    @property
    def is_json(self) -> bool:
        """True if the body is JSON other than `null`."""
        try:
            return json.loads(self.value or b"") is not None
        except (ValueError, RecursionError):
            return False

    def to_json(self) -> dict[str, Any]:
        """Return the dead letter for `--json`."""
        meaning, advice = self.explanation
        body, encoding = decode(self.value)
        return {
            "id": self.id,
            "state": self.state,
            "service": self.service,
            "topic": self.topic,
            "origin": self.origin,
            "last_offset": self.last_offset,
            "reason": self.reason,
            "error": self.error,
            "meaning": meaning,
            "advice": advice,
            "parked_at": self.parked_at.isoformat(),
            "resolved_at": None if self.resolved_at is None else self.resolved_at.isoformat(),
            "key": decode(self.key)[0],
            "headers": {name: decode(value)[0] for name, value in self.headers},
            "body": body,
            "body_encoding": encoding,
            "body_bytes": None if self.value is None else len(self.value),
        }


@dataclass(frozen=True, slots=True)
class Resolution:
    """Outcome of replaying or dropping a dead letter."""

    dead_letter: DeadLetter
    outcome: str
    """`replayed`, `dropped`, `parked again`, `sent` (not waited for), `no answer`; not sent: `body gone`,
    `no event`."""
    successor: DeadLetter | None = None
    """The new dead letter if the record was parked again."""

    @property
    def is_complete(self) -> bool:
        """True if nothing is left to do."""
        return self.outcome in {REPLAYED, DROPPED, SENT}

    def to_json(self) -> dict[str, Any]:
        """Return the resolution for `--json`."""
        successor = self.successor
        return {
            "id": self.dead_letter.id,
            "service": self.dead_letter.service,
            "outcome": self.outcome,
            "successor": None if successor is None else successor.id,
            "reason": None if successor is None else successor.reason,
            "error": None if successor is None else successor.error,
        }


def decode(raw: bytes | None) -> tuple[str | None, str | None]:
    """Return bytes as text and their encoding: `utf-8`, or `hex` for bytes that are not UTF-8."""
    if raw is None:
        return None, None
    try:
        return raw.decode(), "utf-8"
    except UnicodeDecodeError:
        return raw.hex(" "), "hex"


async def read_dead_letters(client: KafkaClient) -> list[DeadLetter]:
    """Return all dead letters, resolved ones included, oldest first."""
    return from_records(await client.read_all([dead_letter_topic(topic) for topic in TOPICS]))


def from_records(records: Iterable[StoredRecord]) -> list[DeadLetter]:
    """Return one dead letter per ID, with its resolution; a record that was sent twice counts once."""
    parked: dict[str, DeadLetter] = {}
    resolved: dict[str, dict[str, Any]] = {}
    for record in records:
        dead_letter = _from_record(record)
        if dead_letter.resolution is None:
            parked.setdefault(dead_letter.id, dead_letter)
        else:
            resolved[dead_letter.id] = {
                "resolution": dead_letter.resolution,
                "resolved_at": dead_letter.resolved_at,
            }
    return [replace(dead_letter, **resolved.get(dead_letter.id, {})) for dead_letter in parked.values()]


async def with_body(client: KafkaClient, dead_letter: DeadLetter) -> DeadLetter:
    """Return the dead letter with a large body fetched from its origin, if Kafka still has it there."""
    origin = re.fullmatch(r"(.+)/(\d+)/(\d+)", dead_letter.origin)
    if not dead_letter.is_bodiless or origin is None:
        return dead_letter
    record = await client.read_one(origin[1], int(origin[2]), int(origin[3]))
    # A topic that was created again counts from 0, so that another record can be at the same place.
    if record is None or _identity(record.key, record.headers) != _identity(
        dead_letter.key, dead_letter.headers
    ):
        return dead_letter
    return replace(dead_letter, value=record.value, is_bodiless=False)


async def resolve(
    client: KafkaClient,
    dead_letters: Sequence[DeadLetter],
    *,
    drop: bool = False,
    timeout_s: float = ANSWER_TIMEOUT_S,
) -> list[Resolution]:
    """Send parked records to the services that could not process them, or have them dropped.

    Args:
        client: Connection to Kafka.
        dead_letters: Dead letters that a service parked and that are not resolved.
        drop: Whether to drop them.
        timeout_s: Longest wait for the next answer; 0 does not wait for any.
    """
    if not drop:
        dead_letters = [await with_body(client, dead_letter) for dead_letter in dead_letters]
    unsendable = {} if drop else {each.id: _obstacle(each) for each in dead_letters}
    sendable = [each for each in dead_letters if unsendable.get(each.id) is None]
    resolutions = [
        Resolution(each, obstacle)
        for each in dead_letters
        if (obstacle := unsendable.get(each.id)) is not None
    ]
    records = [_replay_record(each, drop=drop) for each in sendable]
    if not records:
        return resolutions
    if not timeout_s:
        await client.send(records)
        return resolutions + [Resolution(each, SENT) for each in sendable]
    # The tail is opened before sending, so that no answer is missed.
    tail = await client.tail({dead_letter_topic(each.topic) for each in sendable})
    places = await client.send(records)
    waiting = {each.id: (each, place) for each, place in zip(sendable, places, strict=True)}
    answers = await _collect_answers(tail.records(), waiting, timeout_s)
    return resolutions + [answers.get(each.id, Resolution(each, NO_ANSWER)) for each in sendable]


def _obstacle(dead_letter: DeadLetter) -> str | None:
    """Return the outcome of a dead letter that cannot be sent again, or None."""
    if dead_letter.last_offset is not None:
        return NO_EVENT
    return BODY_GONE if dead_letter.is_bodiless else None


async def _collect_answers(
    records: AsyncIterator[StoredRecord], sent: Mapping[str, tuple[DeadLetter, str]], timeout_s: float
) -> dict[str, Resolution]:
    """Return resolutions by ID until all have arrived, or the next one takes longer than `timeout_s`."""
    waiting = dict(sent)
    resolutions: dict[str, Resolution] = {}
    parked: dict[str, DeadLetter] = {}
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s) as deadline:
            async for record in records:
                received = _from_record(record)
                if received.resolution is None:
                    # A service parks a record again before it resolves the old dead letter.
                    parked[received.origin] = received
                elif received.id in waiting:
                    dead_letter, place = waiting.pop(received.id)
                    successor = parked.get(place)
                    outcome = received.resolution if successor is None else PARKED_AGAIN
                    resolutions[received.id] = Resolution(dead_letter, outcome, successor)
                    deadline.reschedule(loop.time() + timeout_s)
                if not waiting:
                    break
    except TimeoutError:
        pass
    return resolutions


def _replay_record(dead_letter: DeadLetter, *, drop: bool) -> Record:
    """Return the original record for the one service; to drop the dead letter, only its ID and key."""
    added = [
        (TARGET_HEADER, dead_letter.service.encode()),
        (DEAD_LETTER_HEADER, dead_letter.id.encode()),
    ]
    if drop:
        headers = [*added, (ACTION_HEADER, DROP_ACTION.encode())]
        return Record(dead_letter.topic, dead_letter.key, None, headers)
    return Record(dead_letter.topic, dead_letter.key, dead_letter.value, [*dead_letter.headers, *added])


def _identity(
    key: bytes | None, headers: Iterable[tuple[str, bytes | None]]
) -> tuple[bytes | None, bytes | None]:
    return key, dict(headers).get("ce_id")


def _from_record(record: StoredRecord) -> DeadLetter:
    texts = {name: bytes(value or b"").decode(errors="replace") for name, value in record.headers}
    written_at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    resolution = texts.get(RESOLUTION_HEADER)
    return DeadLetter(
        id=texts.get(DEAD_LETTER_HEADER, f"{record.topic}/{record.offset}"),
        service=texts.get(SERVICE_HEADER, ""),
        topic=record.topic.removesuffix(DEAD_LETTER_SUFFIX),
        origin=texts.get(ORIGIN_HEADER, ""),
        reason=texts.get(REASON_HEADER, ""),
        error=texts.get(ERROR_HEADER, ""),
        parked_at=written_at,
        key=record.key,
        value=record.value,
        headers=[
            (name, None if value is None else bytes(value))
            for name, value in record.headers
            if name not in DEAD_LETTER_HEADERS
        ],
        is_bodiless=BODY_HEADER in texts,
        last_offset=int(last) if (last := texts.get(LAST_OFFSET_HEADER, "")).isdecimal() else None,
        resolution=resolution,
        resolved_at=None if resolution is None else written_at,
    )
