"""Results of the service, and the inputs of a merge."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from phonograph_events import Facts, MediaRef, PipelineVersion, SpeakerSummary
from phonograph_transcription.domain.enhancement import Improvement
from phonograph_transcription.domain.speakers import Turn
from phonograph_transcription.domain.transcript import Transcript


class Meeting(BaseModel):
    """A diarization with its speakers; stored as JSONB. Who they are is not known here."""

    model_config = ConfigDict(frozen=True)

    meeting_id: UUID
    speakers: list[SpeakerSummary]


@dataclass(frozen=True, slots=True)
class EnhancedContent:
    """The changes of an enhanced transcript."""

    improvements: tuple[Improvement, ...]
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoredTranscript:
    """A transcript whose document is in the object store."""

    transcript: Transcript
    document_uri: str
    used: Facts
    """What made it: engine, model, language and settings."""
    turns: tuple[Turn, ...] = ()
    """Speaker turns that were merged into the transcript."""
    enhanced: EnhancedContent | None = None
    """Changes to the transcript from which it was derived."""


@dataclass(frozen=True, slots=True)
class TranscriptionResult:
    """One version of the transcript of a recording; versions are added, never replaced."""

    id: UUID
    media_id: UUID
    job_id: UUID
    pipeline_version: PipelineVersion
    parent_id: UUID | None
    stored: StoredTranscript
    processing_s: float | None
    """Time in the engine, in seconds."""
    meeting: Meeting | None = None
    """The meeting whose speakers a v4 transcript has."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """The newest transcript of a recording as an engine recognized it."""

    result_id: UUID
    media: MediaRef
    document_uri: str
    language_probability: float | None
    used: Facts
    """What made it."""


@dataclass(frozen=True, slots=True)
class StoredText:
    """The text of one version of a transcript."""

    result_id: UUID
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class Diarization:
    """Reference to a diarization by the diarization service."""

    media: MediaRef
    job_id: UUID
    """Ids of jobs increase with time: of two diarizations, the one with the larger id is newer."""
    engine: str | None
    document_uri: str | None
    """None if the diarization found no speakers."""
    meeting: Meeting | None = None


@dataclass(frozen=True, slots=True)
class LatestTranscript:
    """Reference to the newest transcript without speakers."""

    result_id: UUID
    document_uri: str
    language_probability: float | None


@dataclass(frozen=True, slots=True)
class MergeInputs:
    """The newest transcript and the newest diarization of a recording; a merge needs both."""

    version: int
    """Number of results of the recording."""
    transcript: LatestTranscript | None
    diarization: Diarization | None
