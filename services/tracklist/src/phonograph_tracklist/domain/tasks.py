"""Tasks of the jobs of the service."""

from pydantic import BaseModel, ConfigDict

from phonograph_events import Chapter, MediaRef


class TracklistTask(BaseModel):
    """Find the tracklist of a recording and a better file name (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    tags: dict[str, list[str]]
    """By lower-case name, each with its values in order."""
    chapters: list[Chapter]
