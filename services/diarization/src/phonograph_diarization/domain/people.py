"""People, and the speakers that they are."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from phonograph_diarization.domain.diarization import Voiceprint
from phonograph_diarization.exceptions import RequestRefusedError
from phonograph_events import IdentityDecision, IdentityState

MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class Person:
    """A person, known by name to one owner of recordings."""

    person_id: UUID
    owner: str | None
    name: str
    consent: bool
    """Whether voiceprints may be kept."""
    version: int


@dataclass(frozen=True, slots=True)
class IdentifiedVoice:
    """A speaker of a meeting with the person that it is, or may be."""

    speaker_id: UUID
    meeting_id: UUID
    media_id: UUID
    owner: str | None
    label: str
    speech_s: float
    voiceprint: Voiceprint | None
    state: IdentityState
    person_id: UUID | None
    score: float | None
    decided_by: str | None
    decided_at: datetime | None

    def is_confirmed_as(self, person_id: UUID) -> bool:
        """Return whether a user has said that this is a person."""
        return self.state is IdentityState.CONFIRMED and self.person_id == person_id


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision, with the user who made it and the time; it contains no name."""

    decision: IdentityDecision
    person_id: UUID
    decided_by: str
    decided_at: datetime | None = None
    """None until it is stored."""
    speaker_id: UUID | None = None
    other_person_id: UUID | None = None
    score: float | None = None


def clean_name(name: str | None) -> str:
    """Return a name as it is stored: composed characters, single spaces.

    Raises:
        RequestRefusedError: If there is no name, or it is too long or has control characters.
    """
    cleaned = " ".join(unicodedata.normalize("NFC", name or "").split())
    if (
        not cleaned
        or len(cleaned) > MAX_NAME
        or any(unicodedata.category(c) in {"Cc", "Cs"} for c in cleaned)
    ):
        raise RequestRefusedError(
            f"A name has 1 to {MAX_NAME} characters and no control characters.", reason="bad_name"
        )
    return cleaned
