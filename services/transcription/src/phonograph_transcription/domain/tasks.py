"""Tasks of the service's jobs."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict

from phonograph_events import MediaRef


class TranscribeTask(BaseModel):
    """Recognize the speech of a recording; stored as JSONB in the job table."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef


class MergeTask(BaseModel):
    """Assign speakers to the words of a transcript; stored as JSONB in the job table."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    result_id: UUID
    """Id of the transcript without speakers."""
    transcript_uri: str
    language_probability: float | None
    diarization_job_id: UUID
    diarization_engine: str | None
    turns_uri: str | None
    """None if the diarization found no speakers."""
