"""What recognisers and merges give, and how results of one file belong together."""

from dataclasses import dataclass
from uuid import UUID

from phonograph_events import MediaRef, PipelineVersion
from phonograph_transcription.domain.speakers import Turn
from phonograph_transcription.domain.transcript import Transcript


@dataclass(frozen=True, slots=True)
class StoredTranscript:
    """A transcript whose document lies in the object store."""

    transcript: Transcript
    document_uri: str
    settings: dict[str, str | int]
    """How the engine was run."""
    turns: tuple[Turn, ...] = ()
    """Who spoke when, of a transcript with speakers."""


@dataclass(frozen=True, slots=True)
class Result:
    """One version of a file's transcript; versions are added, never replaced."""

    id: UUID
    media_id: UUID
    job_id: UUID
    pipeline_version: PipelineVersion
    parent_id: UUID | None
    stored: StoredTranscript
    processing_s: float | None


@dataclass(frozen=True, slots=True)
class Diarization:
    """Who spoke when in a file, as another service found."""

    media: MediaRef
    job_id: UUID
    """Ids of jobs grow with time: of two diarizations the larger one is newer."""
    engine: str | None
    document_uri: str | None


@dataclass(frozen=True, slots=True)
class LatestTranscript:
    """The newest transcript without speakers."""

    result_id: UUID
    document_uri: str
    language_probability: float | None


@dataclass(frozen=True, slots=True)
class MergeInputs:
    """What is known of a file so far; both together make a transcript with speakers."""

    version: int
    """Number of results of this file."""
    transcript: LatestTranscript | None
    diarization: Diarization | None
