"""Results of the service: silence, segments and clips of a recording."""

from dataclasses import dataclass
from uuid import UUID, uuid5

from phonograph_events.documents import HighlightsDocument, TranscriptSegment
from phonograph_highlights.constants import ID_NAMESPACE
from phonograph_highlights.domain.regions import SilenceRegion


@dataclass(frozen=True, slots=True)
class TopicSegment:
    """Consecutive utterances on one topic."""

    first: int
    """Index of the first utterance."""
    last: int
    """Index of the last utterance."""
    title: str
    keywords: tuple[str, ...]
    importance: float
    """From 0 (off topic) to 1 (the core of the talk)."""


@dataclass(frozen=True, slots=True)
class ContentSegment:
    """A topic with its id and its times, in seconds of the recording."""

    segment_id: str
    start_s: float
    end_s: float
    topic: TopicSegment


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in the object store."""

    key: str
    uri: str


@dataclass(frozen=True, slots=True)
class Clip:
    """An excerpt of the recording with its files; times in seconds of the recording."""

    clip_id: str
    segment_id: str
    start_s: float
    end_s: float
    title: str
    importance: float
    media: StoredObject
    srt: StoredObject
    vtt: StoredObject
    thumbnail: StoredObject | None
    """None for sound alone, and if the picture is blank throughout the clip."""


@dataclass(frozen=True, slots=True)
class SilenceResult:
    """The result of the first stage."""

    regions: tuple[SilenceRegion, ...]
    document_uri: str


@dataclass(frozen=True, slots=True)
class HighlightsResult:
    """The result of the second stage."""

    engine: str
    """Name of the topic segmenter."""
    transcript: tuple[TranscriptSegment, ...]
    regions: tuple[SilenceRegion, ...]
    segments: tuple[ContentSegment, ...]
    clips: tuple[Clip, ...]
    reason: str | None
    """Reason code for missing segments or clips."""
    warnings: tuple[str, ...]
    """A sentence for each clip that could not be written."""
    stage_seconds: dict[str, float]
    """Time of each `ProcessingStage` in the engine."""
    document_uri: str


@dataclass(frozen=True, slots=True)
class AttributedHighlights:
    """The result of the second stage with speakers."""

    transcript: tuple[TranscriptSegment, ...]
    """Segments by speaker; `speaker` is the id of the speaker, or the label if the id is unknown."""
    document: HighlightsDocument
    document_uri: str


def derive_id(prefix: str, *names: object) -> str:
    """Return an id such as `clip_0f…`: a prefix and the hexadecimal UUID that derives from names (C-46)."""
    return f"{prefix}_{uuid5(ID_NAMESPACE, '|'.join(map(str, (prefix, *names)))).hex}"


def recording_job_id(media_id: UUID) -> str:
    """Return the `job_id` of a recording's row in `jobs` (C-17, C-46)."""
    return f"job_{media_id.hex}"
