"""A meeting: one diarization of a recording, with its speakers."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from phonograph_diarization.domain.diarization import SpeakerVoice


class MeetingStatus(StrEnum):
    """State of a meeting (M-04)."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class ArtifactType(StrEnum):
    """Type of an artifact of a meeting (M-08, and the turns)."""

    TRANSCRIPT_MD = "transcript.md"
    TRANSCRIPT_VTT = "transcript.vtt"
    TRANSCRIPT_SRT = "transcript.srt"
    SUMMARY_JSON = "summary.json"
    SPEAKERS_JSON = "speakers.json"
    TURNS_RTTM = "turns.rttm"


@dataclass(frozen=True, slots=True)
class Speaker:
    """A speaker of a meeting."""

    speaker_id: UUID
    voice: SpeakerVoice
