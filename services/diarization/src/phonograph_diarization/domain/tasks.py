"""Tasks of the service's jobs."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict

from phonograph_events import MediaRef, Options


class DiarizeTask(BaseModel):
    """Diarize a recording; stored as JSONB in the job table."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    meeting_id: UUID
    """The pending meeting that the result completes."""
    changed_options: Options | None = None
    """Options of a rerun, in place of those of the recording."""
    engine: str | None = None
    """Engine that a rerun asks for."""

    @property
    def options(self) -> Options:
        """Return the options that apply."""
        return self.changed_options or self.media.options
