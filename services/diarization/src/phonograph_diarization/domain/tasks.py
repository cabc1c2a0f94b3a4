"""Tasks of the service's jobs."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict

from phonograph_events import MediaRef


class DiarizeTask(BaseModel):
    """Diarize a recording; stored as JSONB in the job table."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    meeting_id: UUID
    """The pending meeting that the result completes."""
