"""What a diarization job is asked for, and what it gives."""

from dataclasses import dataclass
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from phonograph_diarization.domain.diarization import Diarization
from phonograph_events import MediaRef


class DiarizeTask(BaseModel):
    """The task of a diarization job (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    meeting_id: UUID


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Something in the object store."""

    key: str
    uri: str
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Diarized:
    """A result and where its documents lie."""

    diarization: Diarization
    document: StoredObject
    rttm: StoredObject | None
    """None where there are no turns."""
