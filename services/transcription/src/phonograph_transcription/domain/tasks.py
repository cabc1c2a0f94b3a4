"""What the jobs of this service are asked to do."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict

from phonograph_events import MediaRef


class TranscribeTask(BaseModel):
    """Recognise the speech of a file (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef


class MergeTask(BaseModel):
    """Give the words of a transcript their speakers (a JSONB column)."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    result_id: UUID
    """The transcript without speakers."""
    transcript_uri: str
    language_probability: float | None
    diarization_job_id: UUID
    diarization_engine: str | None
    turns_uri: str | None
    """Null: the diarization found nobody."""
