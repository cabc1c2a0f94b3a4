"""Tasks of the service's jobs."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict

from phonograph_events import Facts, MediaRef, Options
from phonograph_transcription.domain.enhancement import EnhancementRules
from phonograph_transcription.domain.results import Meeting


class TranscribeTask(BaseModel):
    """Recognize the speech of a recording; stored as JSONB in the job table."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    changed_options: Options | None = None
    """Options of a rerun, in place of those of the recording."""

    @property
    def options(self) -> Options:
        """Return the options that apply."""
        return self.changed_options or self.media.options


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
    meeting: Meeting | None = None
    """None if the diarization did not report one."""


class EnhanceTask(BaseModel):
    """Enhance a transcript by rules; stored as JSONB in the job table."""

    model_config = ConfigDict(frozen=True)

    media: MediaRef
    result_id: UUID
    """Id of the transcript as an engine recognized it."""
    transcript_uri: str
    language_probability: float | None
    rules: EnhancementRules
    used: Facts
    """What made the transcript."""
