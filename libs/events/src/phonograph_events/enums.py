"""Enumerations that events carry; readers accept unknown values."""

from enum import StrEnum
from typing import Final


class Service(StrEnum):
    """A service, under the name that it uses in `source` and in job summaries."""

    INGEST = "ingest"
    ANALYSIS = "analysis"
    TRANSCRIPTION = "transcription"
    DIARIZATION = "diarization"
    TRACKLIST = "tracklist"
    HIGHLIGHTS = "highlights"
    GRAPH_SYNC = "graph-sync"

    @property
    def role(self) -> str:
        """Return the name with underscores: for PostgreSQL roles, Python packages and variables."""
        return self.value.replace("-", "_")


class Profile(StrEnum):
    """The content that the producer states; it decides which services process the file."""

    AUTO = "auto"
    MUSIC = "music"
    SPEECH = "speech"
    MEETING = "meeting"
    LECTURE = "lecture"


class Preset(StrEnum):
    """Balance between the time and the accuracy of a recognition."""

    FAST = "fast"
    BALANCED = "balanced"
    ACCURATE = "accurate"


class MediaKind(StrEnum):
    """Video if the file has moving pictures, otherwise audio; cover art is not video."""

    AUDIO = "audio"
    VIDEO = "video"


class JobStatus(StrEnum):
    """State of a job; `completed` and `failed` are final."""

    PENDING = "pending"
    PROCESSING = "processing"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"


class DuplicateKind(StrEnum):
    """The property that two duplicate files share."""

    SAME_BYTES = "same_bytes"
    SAME_SOUND = "same_sound"


class PipelineVersion(StrEnum):
    """Level of a transcript: v1 recognized, v2 enhanced, v3 multi-pass, v4 with speakers."""

    V1 = "v1"
    V2 = "v2"
    V3 = "v3"
    V4 = "v4"


class SpeakerDecision(StrEnum):
    """A decision that a user requests about a speaker: a name, or the answer to a suggestion."""

    NAME = "name"
    CONFIRM = "confirm"
    REFUSE = "refuse"


class PersonChange(StrEnum):
    """A change that a user requests of a person."""

    RENAME = "rename"
    CONSENT = "consent"
    MERGE = "merge"
    SPLIT = "split"
    FORGET = "forget"
    EXPORT = "export"


class IdentityState(StrEnum):
    """The certainty of who a speaker is; only a user confirms."""

    UNKNOWN = "unknown"
    SUGGESTED = "suggested"
    CONFIRMED = "confirmed"


class IdentityDecision(StrEnum):
    """A decision that was made about a speaker or a person."""

    SUGGESTED = "suggested"
    WITHDRAWN = "withdrawn"
    NAMED = "named"
    CONFIRMED = "confirmed"
    CARRIED_OVER = "carried_over"
    REFUSED = "refused"
    CREATED = "created"
    RENAMED = "renamed"
    LEARNED = "learned"
    CONSENT_CHANGED = "consent_changed"
    MERGED = "merged"
    SPLIT = "split"
    FORGOTTEN = "forgotten"
    EXPORTED = "exported"


class Fillers(StrEnum):
    """Words without meaning that an enhancement removes: none, hesitations, or phrases as well."""

    NONE = "none"
    SOME = "some"
    ALL = "all"


class ExportFormat(StrEnum):
    """Format of a file that is made from a transcript."""

    JSON = "json"
    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"
    MD = "md"
    SUMMARY = "summary"
    RTTM = "rttm"


class HighlightsStage(StrEnum):
    """The extent of the highlights in an event."""

    SILENCE = "silence"
    SEGMENTS = "segments"
    SPEAKERS = "speakers"


RESULT_SERVICES: Final[dict[Profile, frozenset[Service]]] = {
    Profile.AUTO: frozenset(
        {
            Service.ANALYSIS,
            Service.TRANSCRIPTION,
            Service.DIARIZATION,
            Service.TRACKLIST,
            Service.HIGHLIGHTS,
        }
    ),
    Profile.MUSIC: frozenset({Service.ANALYSIS, Service.TRACKLIST}),
    Profile.SPEECH: frozenset({Service.TRANSCRIPTION, Service.DIARIZATION}),
    Profile.MEETING: frozenset({Service.TRANSCRIPTION, Service.DIARIZATION, Service.HIGHLIGHTS}),
    Profile.LECTURE: frozenset({Service.TRANSCRIPTION, Service.HIGHLIGHTS}),
}
"""The services that produce a result for a file, by its profile."""
