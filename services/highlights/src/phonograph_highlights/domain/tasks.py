"""Tasks of the jobs of this service."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict

from phonograph_events import MediaRef


class DetectSilenceTask(BaseModel):
    """Detect silence and blank pictures (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef


class TranscriptRef(BaseModel):
    """Reference to a transcript of the transcription service."""

    model_config = ConfigDict(frozen=True)

    result_id: UUID
    version: int
    uri: str | None
    """None if the recording contains no speech."""


class SpokenTranscript(BaseModel):
    """A v4 transcript with the speakers that its labels stand for."""

    model_config = ConfigDict(frozen=True)

    result_id: UUID
    parent_result_id: UUID
    """The v1 transcript, from which the highlights derive."""
    version: int
    transcript_uri: str
    speaker_ids: dict[str, UUID]
    """Id of each speaker by its label."""


class RecordingInputs(BaseModel):
    """Everything from which the highlights of a recording can be found again (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    transcript: TranscriptRef | None = None
    """The newest transcript without speakers."""
    spoken_transcript: SpokenTranscript | None = None
    """The newest transcript with speakers."""


class AttributeTask(BaseModel):
    """Find who speaks in each segment (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    transcript: SpokenTranscript
    highlights_uri: str
    """Document of the second stage."""
    engine: str | None
    """Engine that found the segments."""
    reason: str | None
    """Reason code for missing segments or clips."""


class SegmentTask(BaseModel):
    """Find topics and write clips (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    result_id: UUID
    """Id of the transcript."""
    version: int
    """Version of the transcript."""
    transcript_uri: str | None
    """None if the recording contains no speech."""
    silence_uri: str | None
    """Document of the first stage; if None, the job detects silence itself."""
    request_id: UUID | None = None
    """Request to run again, from which the ids of segments and clips derive, too."""
