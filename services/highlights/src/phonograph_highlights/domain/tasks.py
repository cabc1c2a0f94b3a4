"""What the jobs are asked to do, as the job table keeps it."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict

from phonograph_events import MediaRef


class SilenceTask(BaseModel):
    """Find silence and blank pictures (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef


class SegmentsTask(BaseModel):
    """Find topics and cut clips (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    result_id: UUID
    """The transcript."""
    version: int
    transcript_uri: str | None
    """Null when nothing was said."""
    silence_uri: str | None
    """Document of the first stage; null when it is not there yet."""
