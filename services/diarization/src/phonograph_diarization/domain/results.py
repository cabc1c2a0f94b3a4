"""Results of the engine with the documents that it stored."""

from dataclasses import dataclass

from phonograph_diarization.domain.diarization import Diarization
from phonograph_events import Facts


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A document in the object store."""

    key: str
    uri: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoredDiarization:
    """A diarization whose documents are in the object store."""

    diarization: Diarization
    document: StoredObject
    rttm: StoredObject | None
    """None if there are no turns."""
    used: Facts
    """What made it: engine, model and limits of the number of speakers."""
