"""What the catalogue is asked for one file, and what it answers."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from phonograph_events import Chapter, MediaRef
from phonograph_tracklist.domain.rename import RenameProposal
from phonograph_tracklist.domain.tracklist import Finding


class RecordingStatus(StrEnum):
    """State of a recording (C-10)."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    DELETED = "deleted"
    """Another file lies at its path now."""


class ProposalStatus(StrEnum):
    """State of a rename proposal (C-10)."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    APPLIED = "applied"
    FAILED = "failed"


class CatalogueTask(BaseModel):
    """The task of a tracklist job (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    tags: dict[str, list[str]]
    chapters: list[Chapter]


@dataclass(frozen=True, slots=True)
class Catalogued:
    """What a look at the file, its folder and its tags gave."""

    finding: Finding
    proposal: RenameProposal | None
    document_uri: str | None
    """Address of the full tracklist; null when there is none."""
    modified_at: datetime | None
    """When the file was last changed; null when it is out of reach."""
