"""Tasks of the jobs of this service."""

from pydantic import BaseModel, ConfigDict

from phonograph_events import MediaRef


class AnalyzeTask(BaseModel):
    """Measure the music of a recording (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
