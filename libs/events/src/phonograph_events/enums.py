"""The closed vocabularies that events carry; readers accept unknown words."""

from enum import StrEnum
from typing import Final


class Service(StrEnum):
    """A service, as it names itself in `source` and in job summaries."""

    INGEST = "ingest"
    ANALYSIS = "analysis"
    TRANSCRIPTION = "transcription"
    DIARIZATION = "diarization"
    TRACKLIST = "tracklist"
    HIGHLIGHTS = "highlights"
    GRAPH_SYNC = "graph-sync"

    @property
    def role(self) -> str:
        """Its name where no hyphen may stand: PostgreSQL role and schema, Python package, environment."""
        return self.value.replace("-", "_")


class Profile(StrEnum):
    """What the producer says the file is; decides which services look at it."""

    AUTO = "auto"
    MUSIC = "music"
    SPEECH = "speech"
    MEETING = "meeting"
    LECTURE = "lecture"


class MediaKind(StrEnum):
    """Whether the file has moving pictures; a cover is not one."""

    AUDIO = "audio"
    VIDEO = "video"


class JobStatus(StrEnum):
    """State of a job; completed and failed are final."""

    PENDING = "pending"
    PROCESSING = "processing"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"


class DuplicateKind(StrEnum):
    """What two files have in common."""

    SAME_BYTES = "same_bytes"
    SAME_SOUND = "same_sound"


class PipelineVersion(StrEnum):
    """Level of a transcript: v1 recognised, v2 enhanced, v3 multi-pass, v4 with speakers."""

    V1 = "v1"
    V2 = "v2"
    V3 = "v3"
    V4 = "v4"


class HighlightsStage(StrEnum):
    """How much of the highlights an event holds."""

    SILENCE = "silence"
    SEGMENTS = "segments"


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
"""Which services give a result for a file of each profile."""
