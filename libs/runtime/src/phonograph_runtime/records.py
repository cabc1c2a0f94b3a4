"""A Kafka record as the runtime consumes it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiokafka import ConsumerRecord

from phonograph_events import DEAD_LETTER_HEADER, OWN_PREFIX, Envelope, EventError, parse
from phonograph_runtime.record_batches import UnreadableBatch

UNREADABLE_BATCH = "unreadable_batch"
"""Reason code of a batch below whose level no record can be read."""


@dataclass(frozen=True, slots=True)
class ConsumedRecord:
    """A record with its event, or with the reason why it has none."""

    record: "ConsumerRecord[bytes | None, bytes | None]"
    content: Envelope | EventError
    headers: dict[str, str] = field(default_factory=dict)
    """The `phonograph-…` headers; most records have none."""

    @property
    def dead_letter_id(self) -> UUID | None:
        """Id of the dead letter that this record replays or drops."""
        if not self.headers:
            return None
        try:
            return UUID(self.headers.get(DEAD_LETTER_HEADER, ""))
        except ValueError:
            return None

    def to_logging_context(self) -> dict[str, Any]:
        """Return the record as fields of a log line."""
        context: dict[str, Any] = {
            "topic": self.record.topic,
            "partition": self.record.partition,
            "offset": self.record.offset,
        }
        if isinstance(self.record, UnreadableBatch):
            context |= {"offset": self.record.first_offset, "last_offset": self.record.offset}
        if isinstance(self.content, Envelope):
            context["event_id"] = self.content.id
            context["correlation_id"] = self.content.correlationid
            media_id = getattr(self.content.data, "media_id", None)
            if media_id is not None:
                context["media_id"] = str(media_id)
        return context


def read_record(record: "ConsumerRecord[bytes | None, bytes | None]") -> ConsumedRecord:
    """Return a record with its event parsed; a record that is not a valid event raises nothing."""
    if isinstance(record, UnreadableBatch):
        offsets = f"{record.topic}/{record.partition}/{record.first_offset}-{record.offset}"
        error = f"The batch {offsets} cannot be read: {record.error}."
        return ConsumedRecord(record, EventError(error, reason=UNREADABLE_BATCH))
    headers = {
        name: bytes(value or b"").decode(errors="replace")
        for name, value in record.headers
        if name.startswith(OWN_PREFIX)
    }
    try:
        # An event without a time has the record's, which is the same at every delivery.
        written_at = datetime.fromtimestamp(record.timestamp / 1000, UTC) if record.timestamp > 0 else None
        return ConsumedRecord(record, parse(record.value, record.headers, default_time=written_at), headers)
    except EventError as error:
        return ConsumedRecord(record, error, headers)
