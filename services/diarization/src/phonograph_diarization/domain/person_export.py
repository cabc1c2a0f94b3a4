"""The document with everything that is kept about a person, for that person."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from phonograph_diarization.domain.people import DecisionRecord, IdentifiedVoice, Person
from phonograph_diarization.domain.voices import Prototype, encode_vector


class ExportedVoiceprint(BaseModel):
    """A voiceprint; `vector` is base64 of little-endian float32."""

    model_id: str
    dim: int
    vector: str
    sample_count: int
    speech_s: float


class ExportedSpeaker(BaseModel):
    """A speaker who is the person, or may be."""

    media_id: UUID
    meeting_id: UUID
    speaker_id: UUID
    label: str
    speech_s: float
    state: str
    score: float | None
    decided_by: str | None
    decided_at: datetime | None
    model_id: str | None
    vector: str | None
    """The voiceprint of the speaker, as in `ExportedVoiceprint`."""


class ExportedDecision(BaseModel):
    """A decision about the person, with the user who made it and the time."""

    decision: str
    decided_by: str
    decided_at: datetime | None
    speaker_id: UUID | None
    other_person_id: UUID | None
    score: float | None


class PersonExport(BaseModel):
    """Everything that is kept about a person."""

    person_id: UUID
    owner: str | None
    name: str
    consent: bool
    voiceprints: list[ExportedVoiceprint]
    speakers: list[ExportedSpeaker]
    decisions: list[ExportedDecision]


def build_export(
    person: Person,
    speakers: Iterable[IdentifiedVoice],
    prototypes: Iterable[Prototype],
    decisions: Iterable[DecisionRecord],
) -> PersonExport:
    """Return the document about a person.

    Args:
        person: The person.
        speakers: Speakers who are the person, or may be.
        prototypes: Voiceprints of the person.
        decisions: Decisions about the person.
    """
    return PersonExport(
        person_id=person.person_id,
        owner=person.owner,
        name=person.name,
        consent=person.consent,
        voiceprints=[
            ExportedVoiceprint(
                model_id=each.voiceprint.model_id,
                dim=each.voiceprint.dim,
                vector=encode_vector(each.voiceprint.vector),
                sample_count=each.sample_count,
                speech_s=each.speech_s,
            )
            for each in prototypes
        ],
        speakers=[
            ExportedSpeaker(
                media_id=speaker.media_id,
                meeting_id=speaker.meeting_id,
                speaker_id=speaker.speaker_id,
                label=speaker.label,
                speech_s=speaker.speech_s,
                state=speaker.state.value,
                score=speaker.score,
                decided_by=speaker.decided_by,
                decided_at=speaker.decided_at,
                model_id=speaker.voiceprint and speaker.voiceprint.model_id,
                vector=speaker.voiceprint and encode_vector(speaker.voiceprint.vector),
            )
            for speaker in speakers
        ],
        decisions=[
            ExportedDecision(
                decision=each.decision.value,
                decided_by=each.decided_by,
                decided_at=each.decided_at,
                speaker_id=each.speaker_id,
                other_person_id=each.other_person_id,
                score=each.score,
            )
            for each in decisions
        ],
    )
