"""Full result documents, stored in the object store; result events carry their URIs.

Times are seconds from the start of the file. The shapes are those of `phonograph show --json`.
"""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Document(BaseModel):
    """A result document: immutable, open to fields of later versions."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    @classmethod
    def document_type(cls) -> str:
        """Return the name with its major version, for example `phonograph.document.transcript.v1`."""
        return f"phonograph.document.{cls.__name__.removesuffix('Document').lower()}.v1"


class Word(Document):
    """One recognized word."""

    word: str
    start: float | None
    end: float | None
    confidence: float | None = Field(ge=0, le=1)
    speaker: str | None = None
    is_spaced: bool | None = None
    """Whether the text has a space before it, unless it is the first; `null` if unknown."""


class TranscriptSegment(Document):
    """A passage of speech by one speaker in one language; both are `null` if unknown."""

    start: float
    end: float
    text: str
    speaker: str | None = None
    confidence: float | None = Field(default=None, ge=0, le=1)
    language: str | None = None
    words: list[Word] = []


class TranscriptWarning(Document):
    """A problem that readers of the transcript should know of; `segment` is an index into `segments`."""

    code: str
    message: str
    segment: int | None = None


class TranscriptDocument(Document):
    """A transcript; `pipeline_version` v4 includes the speakers."""

    pipeline_version: str
    engine: str
    model: str
    language: str | None
    """The language of most of the speech, as ISO 639-1 code."""
    languages: list[str] = []
    """All languages of the speech, in the order of their first words."""
    text: str
    warnings: list[TranscriptWarning] = []
    segments: list[TranscriptSegment] = []


class Turn(Document):
    """One turn of a speaker."""

    start: float
    end: float
    speaker: str


class SpeakersWarning(Document):
    """A problem that readers of the turns should know of."""

    code: str
    message: str


class SpeakersDocument(Document):
    """The turns of all speakers of a recording."""

    engine: str
    count: int = Field(ge=0)
    turns: list[Turn] = []
    """Turns of different speakers overlap where they talk at once."""
    exclusive: list[Turn] = []
    """The same with one speaker at each moment; empty in results of earlier versions."""
    warnings: list[SpeakersWarning] = []


class TempoSection(Document):
    """A stretch of one tempo; times in seconds."""

    start: float
    end: float
    bpm: float


class KeySection(Document):
    """A stretch of one key; times in seconds."""

    start: float
    end: float
    key: str
    scale: str


class MusicDocument(Document):
    """All measurements of the music; a value not measured is `null`, with a code in `reasons`."""

    engine: str
    algorithm_build: str
    bpm: float | None
    bpm_confidence: float | None
    bpm_candidates: list[float]
    key: str | None
    scale: str | None
    key_strength: float | None
    loudness_lufs: float | None
    danceability: float | None
    beats: list[float]
    timbre_mean: list[float] | None
    timbre_variance: list[float] | None
    tempo_needs_review: bool | None = None
    """Whether the evidence for the tempo is thin; `null` without a tempo."""
    tempo_sections: list[TempoSection] = []
    beats_per_bar: int | None = None
    downbeats: list[float] = []
    key_sections: list[KeySection] = []
    camelot: str | None = None
    open_key: str | None = None
    tuning_hz: float | None = None
    loudness_range_lu: float | None = None
    true_peak_dbtp: float | None = None
    onset_rate: float | None = None
    energy: float | None = None
    timbre_covariance: list[list[float]] | None = None
    spectrum_mean: list[float] | None = None
    spectrum_covariance: list[list[float]] | None = None
    reasons: dict[str, str] = {}


class Track(Document):
    """One entry of a tracklist."""

    position: int
    start_time: float
    end_time: float | None
    artist: str | None = None
    title: str | None = None
    remix: str | None = None
    label: str | None = None
    is_id: bool = False
    confidence: float | None = None
    transition_type: str | None = None
    bpm: float | None = None
    key: str | None = None
    recording_id: str | None = None


class TracklistDocument(Document):
    """The tracks of one recording, in order."""

    source_type: str | None
    title: str | None = None
    artist: str | None = None
    tracks: list[Track] = []
    warnings: list[str] = []


class SilenceRegion(Document):
    """A time range without sound, without picture, or without both."""

    start: float
    end: float
    type: str
    noise_db: float | None = None
    """Level below which sound counted as silence, in dB full scale."""


class ContentSegment(Document):
    """A time range about one subject."""

    segment_id: str | None = None
    start: float
    end: float
    title: str
    keywords: list[str] = []
    importance_score: float = Field(ge=0, le=1)
    speaker_ids: list[UUID] = []
    """Speakers of the segment in the order in which they begin; empty if they are unknown."""


class Clip(Document):
    """A clip of the file, with its own subtitles and thumbnail."""

    clip_id: str
    start: float
    end: float
    title: str
    uri: str
    subtitle_uri: str | None = None
    vtt_uri: str | None = None
    thumbnail_uri: str | None = None


class HighlightsDocument(Document):
    """The silence regions, content segments and clips of a talk."""

    silence_regions: list[SilenceRegion] = []
    segments: list[ContentSegment] = []
    clips: list[Clip] = []
