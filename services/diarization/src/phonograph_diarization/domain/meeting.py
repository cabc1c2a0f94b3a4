"""A meeting's speakers as they are kept."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from phonograph_diarization.domain.diarization import SpeakerVoice
from phonograph_diarization.domain.voices import Match


class MeetingStatus(StrEnum):
    """State of a meeting (M-04)."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


class ArtifactType(StrEnum):
    """What an artifact of a meeting is (M-08, and the turns)."""

    TRANSCRIPT_MD = "transcript.md"
    TRANSCRIPT_VTT = "transcript.vtt"
    TRANSCRIPT_SRT = "transcript.srt"
    SUMMARY_JSON = "summary.json"
    SPEAKERS_JSON = "speakers.json"
    TURNS_RTTM = "turns.rttm"


@dataclass(frozen=True, slots=True)
class Speaker:
    """A speaker of a meeting; `match` is None where nobody known was recognised (M-13)."""

    speaker_id: UUID
    voice: SpeakerVoice
    match: Match | None
