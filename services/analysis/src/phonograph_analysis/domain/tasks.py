"""A request for an analysis, as the job keeps it."""

from pydantic import BaseModel, ConfigDict

from phonograph_events import MediaRef


class AnalysisTask(BaseModel):
    """The task of an analysis job (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
