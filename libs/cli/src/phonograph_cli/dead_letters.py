"""Records that a service could not take: what lies there, why, and what came of trying again."""

import asyncio
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import ConsumerRecord

from phonograph_cli import kafka
from phonograph_events import (
    DEAD_LETTER_HEADER,
    DEAD_LETTER_SUFFIX,
    TARGET_HEADER,
    TOPICS,
    Record,
    dead_letter_topic,
)

REPLAYED, DROPPED = "replayed", "dropped"
BODY_GONE = "body gone"
RESOLUTION_HEADER, ACTION_HEADER = "phonograph-resolution", "phonograph-action"
ABOUT: Final = {
    DEAD_LETTER_HEADER,
    "phonograph-service",
    "phonograph-origin",
    "phonograph-reason",
    "phonograph-error",
    "phonograph-body",
}
"""Headers that the service adds to the record."""
PATIENCE_S = 30.0

EXPLANATIONS: Final = {
    "not_cloudevents": (
        "A header that every event carries is missing, so nobody can tell what it is.",
        "Mend the producer (docs/producing-events.md) and let it publish again; then drop this one.",
    ),
    "unknown_type": (
        "No event known to this release of the service has this type and major version.",
        "Is the producer newer? Update the service, then replay. Is the type wrong? Mend the producer; drop.",
    ),
    "empty_body": (
        "The record has headers but no body.",
        "Mend the producer and let it publish again; then drop this one.",
    ),
    "not_json": (
        "The body is not JSON, or not UTF-8.",
        "Mend the producer and let it publish again; then drop this one.",
    ),
    "invalid": (
        "The body breaks the event's schema; the error names the field. The schemas lie in schemas/events.",
        "Is the producer wrong? Mend it; drop. Is the service too old or too strict? Update it, then replay.",
    ),
    "too_large": (
        "An event that this one leads to would be larger than Kafka takes.",
        "The service must put the large part into the object store: update it, then replay.",
    ),
    "refused_by_database": (
        "PostgreSQL will never store a value of it: it is too long, or breaks a rule of a table.",
        "The error names column or rule. Mend the service or the value, then replay; or drop.",
    ),
    "refused_by_graph": (
        "Neo4j will never store a value of it.",
        "Mend the service, then replay. `phonograph graph check` tells what is missing meanwhile.",
    ),
    "too_large_for_graph": (
        "The graph's transaction needs more memory than Neo4j gives one.",
        "Raise dbms.memory.transaction.total.max, then replay.",
    ),
    "missing_object": (
        "An object that the event names is not in the object store.",
        "Bring it back, then replay; or drop.",
    ),
    "foreign_object": (
        "The event names an object outside the object store of this installation.",
        "Compare OBJECT_STORE_URL of the services, then replay; or drop.",
    ),
}
UNEXPLAINED: Final = (
    "The service tried again and again for its retry budget (20 s unless set) and failed with this error.",
    "Look into the service's log. Once the cause is mended, replay.",
)
RUBBISH: Final = (
    "No service parked it: somebody wrote it to the dead-letter topic directly.",
    "Nothing can be done with it; Kafka removes it when it is 30 days old.",
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A parked record with what is known about its failure."""

    id: str
    service: str
    topic: str
    origin: str
    """`topic/partition/offset`."""
    reason: str
    error: str
    parked_at: datetime
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    """The original ones."""
    bodiless: bool = False
    """Whether its body was too large for the dead-letter topic; it lies at its origin."""
    resolution: str | None = None
    """`replayed` or `dropped`; null while it lies here."""
    resolved_at: datetime | None = None

    @property
    def state(self) -> str:
        """In a word."""
        return self.resolution or "parked"

    @property
    def explanation(self) -> tuple[str, str]:
        """What the reason means, and what to do."""
        return EXPLANATIONS.get(self.reason, UNEXPLAINED) if self.service else RUBBISH

    @property
    def data(self) -> Any:
        """The body as JSON, if it is; null otherwise."""
        try:
            return json.loads(self.value or b"")
        except (ValueError, RecursionError):
            return None

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        meaning, advice = self.explanation
        body, encoding = decoded(self.value)
        return {
            "id": self.id,
            "state": self.state,
            "service": self.service,
            "topic": self.topic,
            "origin": self.origin,
            "reason": self.reason,
            "error": self.error,
            "meaning": meaning,
            "advice": advice,
            "parked_at": self.parked_at.isoformat(),
            "resolved_at": None if self.resolved_at is None else self.resolved_at.isoformat(),
            "key": decoded(self.key)[0],
            "headers": {name: decoded(value)[0] for name, value in self.headers},
            "body": body,
            "body_encoding": encoding,
            "body_bytes": None if self.value is None else len(self.value),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of trying a letter again, or of dropping it."""

    letter: DeadLetter
    outcome: str
    """`replayed`, `dropped`, `parked again`, `sent` (nobody waited), `no answer`, `body gone` (not sent)."""
    successor: DeadLetter | None = None
    """The new letter, if it was parked again."""

    @property
    def ok(self) -> bool:
        """Whether nothing is left to do."""
        return self.outcome in {REPLAYED, DROPPED, "sent"}

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        successor = self.successor
        return {
            "id": self.letter.id,
            "service": self.letter.service,
            "outcome": self.outcome,
            "successor": None if successor is None else successor.id,
            "reason": None if successor is None else successor.reason,
            "error": None if successor is None else successor.error,
        }


def decoded(raw: bytes | None) -> tuple[str | None, str | None]:
    """Bytes as text, or in hexadecimal where they are none; and which of the two."""
    if raw is None:
        return None, None
    try:
        return raw.decode(), "utf-8"
    except UnicodeDecodeError:
        return raw.hex(" "), "hex"


async def dead_letters(servers: str) -> list[DeadLetter]:
    """All of them, oldest first, those that were resolved among them."""
    return fold(await kafka.read_all(servers, [dead_letter_topic(topic) for topic in TOPICS]))


def fold(records: Iterable["ConsumerRecord[bytes | None, bytes | None]"]) -> list[DeadLetter]:
    """Letters by their ids, each with what became of it; records that were sent twice count once."""
    letters: dict[str, DeadLetter] = {}
    resolved: dict[str, tuple[str, datetime]] = {}
    for record in records:
        resolution = _about(record).get(RESOLUTION_HEADER)
        letter = _letter(record)
        if resolution is None:
            letters.setdefault(letter.id, letter)
        else:
            resolved[letter.id] = resolution, letter.parked_at
    return [
        replace(letter, resolution=resolved[key][0], resolved_at=resolved[key][1])
        if key in resolved
        else letter
        for key, letter in letters.items()
    ]


async def settle(
    servers: str, letters: Sequence[DeadLetter], *, drop: bool = False, patience_s: float = PATIENCE_S
) -> list[Answer]:
    """Send parked records to the services that could not take them, or have them given up.

    Args:
        servers: Kafka.
        letters: parked by a service, not resolved.
        drop: give them up.
        patience_s: how long to wait for the next answer; 0 does not wait.
    """
    if not drop:
        letters = [await whole(servers, letter) for letter in letters]
    gone = [] if drop else [Answer(letter, BODY_GONE) for letter in letters if letter.bodiless]
    letters = [letter for letter in letters if drop or not letter.bodiless]
    return gone + (await _settle(servers, letters, drop=drop, patience_s=patience_s) if letters else [])


async def _settle(
    servers: str, letters: Sequence[DeadLetter], *, drop: bool, patience_s: float
) -> list[Answer]:
    if not patience_s:
        await kafka.send(servers, [_order(letter, drop=drop) for letter in letters])
        return [Answer(letter, "sent") for letter in letters]
    answers: dict[str, Answer] = {}
    parked: dict[str, DeadLetter] = {}
    topics = {dead_letter_topic(letter.topic) for letter in letters}
    async with kafka.tail(servers, topics) as tail:
        sent = await kafka.send(servers, [_order(letter, drop=drop) for letter in letters])
        places = {letter.id: place for letter, place in zip(letters, sent, strict=True)}
        waiting = {letter.id: letter for letter in letters}
        try:
            async with asyncio.timeout(patience_s) as patience:
                async for record in tail.records():
                    told = _letter(record)
                    resolution = _about(record).get(RESOLUTION_HEADER)
                    if resolution is None:
                        parked[told.origin] = told
                    elif told.id in waiting:
                        letter = waiting.pop(told.id)
                        successor = parked.get(places[told.id])
                        outcome = resolution if successor is None else "parked again"
                        answers[letter.id] = Answer(letter, outcome, successor)
                        patience.reschedule(asyncio.get_running_loop().time() + patience_s)
                    if not waiting:
                        break
        except TimeoutError:
            pass
    return [answers.get(letter.id, Answer(letter, "no answer")) for letter in letters]


async def whole(servers: str, letter: DeadLetter) -> DeadLetter:
    """The letter with its body: a large one is fetched from its origin, if Kafka still has it."""
    place = re.fullmatch(r"(.+)/(\d+)/(\d+)", letter.origin)
    if not letter.bodiless or place is None:
        return letter
    record = await kafka.read_one(servers, place[1], int(place[2]), int(place[3]))
    if record is None or (record.key, _ce_id(record.headers)) != (letter.key, _ce_id(letter.headers)):
        return letter
    return replace(letter, value=record.value, bodiless=False)


def _order(letter: DeadLetter, *, drop: bool) -> Record:
    """The record as it was, for the one service; or, to have it dropped, only its name."""
    ours = [(TARGET_HEADER, letter.service.encode()), (DEAD_LETTER_HEADER, letter.id.encode())]
    if drop:
        return Record(letter.topic, letter.key, None, [*ours, (ACTION_HEADER, b"drop")])
    return Record(letter.topic, letter.key, letter.value, [*letter.headers, *ours])


def _ce_id(headers: Iterable[tuple[str, bytes | None]]) -> bytes | None:
    return dict(headers).get("ce_id")


def _about(record: "ConsumerRecord[bytes | None, bytes | None]") -> dict[str, str]:
    return {name: bytes(value or b"").decode(errors="replace") for name, value in record.headers}


def _letter(record: "ConsumerRecord[bytes | None, bytes | None]") -> DeadLetter:
    about = _about(record)
    return DeadLetter(
        id=about.get(DEAD_LETTER_HEADER, f"{record.topic}/{record.offset}"),
        service=about.get("phonograph-service", ""),
        topic=record.topic.removesuffix(DEAD_LETTER_SUFFIX),
        origin=about.get("phonograph-origin", ""),
        reason=about.get("phonograph-reason", ""),
        error=about.get("phonograph-error", ""),
        parked_at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        key=record.key,
        value=record.value,
        headers=[
            (name, None if value is None else bytes(value))
            for name, value in record.headers
            if name not in ABOUT
        ],
        bodiless="phonograph-body" in about,
    )
