"""Records that a service could not take: read from the dead-letter topics, sent back for one more try."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

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


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A parked record with what is known about its failure."""

    id: str
    service: str
    topic: str
    origin: str
    reason: str
    error: str
    parked_at: datetime
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    """The original ones."""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "id": self.id,
            "service": self.service,
            "topic": self.topic,
            "origin": self.origin,
            "reason": self.reason,
            "error": self.error,
            "parked_at": self.parked_at.isoformat(),
            "headers": {name: value.decode(errors="replace") for name, value in self.headers},
            "body": self.value.decode(errors="replace"),
        }


async def dead_letters(servers: str) -> list[DeadLetter]:
    """All of them, oldest first."""
    records = await kafka.read_all(servers, [dead_letter_topic(topic) for topic in TOPICS])
    return [_letter(record) for record in records]


async def replay(servers: str, letters: list[DeadLetter]) -> None:
    """Send records back to their topics, for the one service that could not take them."""
    await kafka.send(
        servers,
        [
            Record(
                letter.topic,
                letter.key,
                letter.value,
                [
                    *letter.headers,
                    (TARGET_HEADER, letter.service.encode()),
                    (DEAD_LETTER_HEADER, letter.id.encode()),
                ],
            )
            for letter in letters
        ],
    )


def _letter(record: "ConsumerRecord[bytes, bytes]") -> DeadLetter:
    about = {name: bytes(value or b"").decode(errors="replace") for name, value in record.headers}
    ours = {
        "phonograph-service",
        "phonograph-origin",
        "phonograph-reason",
        "phonograph-error",
        DEAD_LETTER_HEADER,
    }
    return DeadLetter(
        id=about.get(DEAD_LETTER_HEADER, f"{record.topic}/{record.offset}"),
        service=about.get("phonograph-service", ""),
        topic=record.topic.removesuffix(DEAD_LETTER_SUFFIX),
        origin=about.get("phonograph-origin", ""),
        reason=about.get("phonograph-reason", ""),
        error=about.get("phonograph-error", ""),
        parked_at=datetime.fromtimestamp(record.timestamp / 1000, UTC),
        key=record.key or b"",
        value=record.value or b"",
        headers=[(name, bytes(value or b"")) for name, value in record.headers if name not in ours],
    )
