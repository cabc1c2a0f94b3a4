"""Files that are made from a transcript on request."""

from dataclasses import dataclass
from uuid import UUID

from phonograph_events import ExportFormat, MediaRef


@dataclass(frozen=True, slots=True)
class ExportSource:
    """A version of a transcript, and what belongs to it."""

    result_id: UUID
    version: int
    media: MediaRef
    document_uri: str
    turns_uri: str | None
    """Document of the newest diarization of the recording; None without speakers."""


@dataclass(frozen=True, slots=True)
class Export:
    """A file in the object store that was made from a transcript."""

    id: UUID
    result_id: UUID
    export_format: ExportFormat
    uri: str
    size: int
    """In bytes."""
    sha256: str
    """Of its bytes, hexadecimal."""
