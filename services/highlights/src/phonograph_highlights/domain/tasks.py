"""Tasks of the jobs of this service."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict

from phonograph_events import MediaRef


class DetectSilenceTask(BaseModel):
    """Detect silence and blank pictures (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef


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
    """Document of the first stage; None if it was not stored when the transcript arrived."""
