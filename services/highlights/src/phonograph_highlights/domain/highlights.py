"""What the service finds in a recording."""

from dataclasses import dataclass
from uuid import UUID, uuid5

from phonograph_events.documents import TranscriptSegment
from phonograph_highlights.constants import ID_NAMESPACE
from phonograph_highlights.domain.regions import SilenceRegion


@dataclass(frozen=True, slots=True)
class Topic:
    """Utterances about one thing: indices of the first and the last, both included."""

    first: int
    last: int
    title: str
    keywords: tuple[str, ...]
    importance: float
    """From 0 (off topic) to 1 (the core of the talk)."""


@dataclass(frozen=True, slots=True)
class ContentSegment:
    """A stretch about one topic; times in seconds."""

    segment_id: str
    start_s: float
    end_s: float
    title: str
    keywords: tuple[str, ...]
    importance: float


@dataclass(frozen=True, slots=True)
class Stored:
    """Something in the object store."""

    key: str
    uri: str


@dataclass(frozen=True, slots=True)
class Clip:
    """A cut of the recording with its files; times in seconds of the recording."""

    clip_id: str
    segment_id: str
    start_s: float
    end_s: float
    title: str
    importance: float
    media: Stored
    srt: Stored
    vtt: Stored
    thumbnail: Stored | None


@dataclass(frozen=True, slots=True)
class SilenceFound:
    """The first stage: nothing but what is missing."""

    regions: tuple[SilenceRegion, ...]
    document_uri: str


@dataclass(frozen=True, slots=True)
class HighlightsFound:
    """The second stage: everything."""

    transcript: tuple[TranscriptSegment, ...]
    regions: tuple[SilenceRegion, ...]
    segments: tuple[ContentSegment, ...]
    clips: tuple[Clip, ...]
    reason: str | None
    """Why there is nothing, or not more."""
    warnings: tuple[str, ...]
    """A sentence for each clip that could not be cut."""
    stage_seconds: dict[str, float]
    """Time of each stage in the engine."""
    document_uri: str


def public_id(prefix: str, *parts: object) -> str:
    """An id such as `clip_0f…`: a prefix and the hexadecimal UUID that follows from the parts (C-46)."""
    return f"{prefix}_{uuid5(ID_NAMESPACE, '|'.join(map(str, (prefix, *parts)))).hex}"


def job_id(media_id: UUID) -> str:
    """The id of a recording's row in `jobs` (C-17, C-46)."""
    return f"job_{media_id.hex}"
