"""Results of the service, and the inputs of a merge."""

from dataclasses import dataclass
from uuid import UUID

from phonograph_events import MediaRef, PipelineVersion
from phonograph_transcription.domain.speakers import Turn
from phonograph_transcription.domain.transcript import Transcript


@dataclass(frozen=True, slots=True)
class StoredTranscript:
    """A transcript whose document is in the object store."""

    transcript: Transcript
    document_uri: str
    settings: dict[str, str | int]
    """Settings of the engine."""
    turns: tuple[Turn, ...] = ()
    """Speaker turns that were merged into the transcript."""


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


@dataclass(frozen=True, slots=True)
class Diarization:
    """Reference to a diarization by the diarization service."""

    media: MediaRef
    job_id: UUID
    """Ids of jobs increase with time: of two diarizations, the one with the larger id is newer."""
    engine: str | None
    document_uri: str | None
    """None if the diarization found no speakers."""


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
