"""The body of every event.

Times are seconds from the start of the file; `reason` is a lower-case code, `message` a sentence.
"""

from datetime import datetime
from functools import cache
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AnyUrl, BaseModel, ConfigDict, Field, field_validator

from phonograph_events.documents import (
    Clip,
    ContentSegment,
    Document,
    HighlightsDocument,
    MusicDocument,
    SpeakersDocument,
    Track,
    TracklistDocument,
    TranscriptDocument,
)
from phonograph_events.enums import (
    RESULT_SERVICES,
    DuplicateKind,
    HighlightsStage,
    JobStatus,
    MediaKind,
    PipelineVersion,
    Profile,
    Service,
)

Fraction = Annotated[float, Field(ge=0, le=1)]


class EventModel(BaseModel):
    """Base of every model in an event body: immutable, open to fields of later versions."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False)


class Event(EventModel):
    """An event body with its Kafka topic, from which the event type is derived."""

    TOPIC: ClassVar[str]
    VERSION: ClassVar[int] = 1
    """Major version; from 2 on, the topic name ends in it: `media-ready-v2`."""
    KEY: ClassVar[str] = "media_id"
    """Name of the field whose text is the Kafka key."""

    media_id: UUID

    @classmethod
    @cache
    def event_type(cls) -> str:
        """Return the CloudEvents type, for example `phonograph.media.ready.v1`."""
        name = cls.TOPIC.removesuffix(f"-v{cls.VERSION}")
        return f"phonograph.{name.replace('-', '.')}.v{cls.VERSION}"

    @property
    def subject(self) -> str:
        """Return what the event is about; also the Kafka key, so that one file's events stay in order."""
        return str(getattr(self, self.KEY))


class Options(EventModel):
    """Facts that the producer knows about the file; the services determine a value that is `null`."""

    language: str | None = None
    """ISO 639-1 code of the spoken language."""
    speakers: int | None = Field(default=None, ge=1)
    """Exact number of speakers."""
    min_speakers: int | None = Field(default=None, ge=1)
    max_speakers: int | None = Field(default=None, ge=1)


class MediaRef(EventModel):
    """The file that an event is about, with everything that a service needs to process it."""

    media_id: UUID
    uri: str
    """URI of the original file."""
    file_name: str
    file_size: int = Field(ge=0)
    """Size in bytes."""
    kind: MediaKind | str
    mime_type: str
    duration_s: float
    file_hash: str
    """SHA-256 of the bytes, hexadecimal."""
    secondary_hash: str
    """XXH3-128 of the bytes, hexadecimal."""
    content_fp: str
    """Fingerprint of the decoded sound: `pcm16k1:` followed by a SHA-256."""
    rendition_uri: str
    """URI of the 16 kHz mono s16le WAV in the object store."""
    profile: Profile | str = Profile.AUTO
    owner: str | None = None
    priority: int = 0
    options: Options = Options()

    def wants(self, service: Service) -> bool:
        """Return whether a service should process this file; an unknown profile counts as `auto`."""
        known = self.profile in set(Profile)
        return service in RESULT_SERVICES[Profile(self.profile) if known else Profile.AUTO]


class JobSummary(EventModel):
    """The job that produced a result."""

    job_id: UUID
    service: Service | str
    engine: str | None = None
    model: str | None = None
    seconds: float | None = None
    """Seconds of processing in the engine."""
    waited_s: float | None = None
    """Seconds between the request and the start."""
    attempt: int = 1
    reason: str | None = None
    """Code of the reason why the result is empty or incomplete."""


class IngestRequested(Event):
    """A producer requests that a file be ingested."""

    TOPIC: ClassVar[str] = "ingest-requested"
    KEY: ClassVar[str] = "uri"

    media_id: UUID | None = None  # type: ignore[assignment]  # a request comes before the media id
    uri: str = Field(min_length=1)
    """A local path or a `file://` URI."""
    profile: Profile | str = Profile.AUTO
    owner: str | None = None
    priority: int = Field(default=0, ge=-100, le=100)
    """Files with a larger value are processed first."""
    options: Options = Options()
    request_id: str | None = Field(default=None, max_length=200)
    """An id chosen by the producer; a second request with the same owner and id has no effect."""


class Chapter(EventModel):
    """A chapter mark of the container."""

    start: float
    end: float
    title: str


class Stream(EventModel):
    """Properties of the audio or video stream, read from the headers of the file."""

    codec: str
    sample_rate_hz: int | None = None
    channels: int | None = None
    bit_rate: int | None = None
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None


class MediaReady(Event):
    """A new file was ingested and is ready to be processed."""

    TOPIC: ClassVar[str] = "media-ready"

    media: MediaRef
    container: str
    audio: Stream
    video: Stream | None = None
    chapters: list[Chapter] = []
    tags: dict[str, list[str]] = {}
    """Values of each tag, by its name in lower case."""
    warnings: list[str] = []
    job: JobSummary


class MediaRejected(Event):
    """A requested file cannot be ingested."""

    TOPIC: ClassVar[str] = "media-rejected"

    uri: str
    file_name: str
    reason: str
    message: str
    job: JobSummary


class MediaDuplicated(Event):
    """A requested file is a duplicate; `media_id` is that of the file ingested first."""

    TOPIC: ClassVar[str] = "media-duplicated"

    media: MediaRef
    """The file that was ingested first."""
    duplicate: DuplicateKind | str
    uri: str
    """URI of the duplicate."""
    file_name: str
    file_hash: str
    job: JobSummary


class MediaMoved(Event):
    """A known file has a new URI."""

    TOPIC: ClassVar[str] = "media-moved"

    from_uri: str
    to_uri: str


class MediaDeleted(Event):
    """A known file no longer exists."""

    TOPIC: ClassVar[str] = "media-deleted"

    uri: str
    deleted_at: datetime


class Result(Event):
    """The result of a service: a summary and the URI of the full document."""

    DOCUMENT: ClassVar[type[Document]]

    media: MediaRef
    job: JobSummary
    document_uri: str | None = None


class MusicAnalyzed(Result):
    """Tempo, key and character of the music; a value not measured is `null`, with a code in `reasons`."""

    TOPIC: ClassVar[str] = "music-analyzed"
    DOCUMENT: ClassVar[type[Document]] = MusicDocument

    result_id: UUID
    algorithm_build: str
    bpm: float | None = None
    bpm_confidence: Fraction | None = None
    bpm_candidates: list[float] = []
    key: str | None = None
    scale: str | None = None
    key_strength: Fraction | None = None
    loudness_lufs: float | None = None
    danceability: float | None = None
    reasons: dict[str, str] = {}


class TranscriptionCompleted(Result):
    """A transcript; v1 comes first, its child v4 follows when the speakers are known."""

    TOPIC: ClassVar[str] = "transcription-completed"
    DOCUMENT: ClassVar[type[Document]] = TranscriptDocument

    result_id: UUID
    parent_result_id: UUID | None = None
    pipeline_version: PipelineVersion | str
    version: int = Field(ge=1)
    language: str | None = None
    language_probability: Fraction | None = None
    word_count: int = Field(ge=0)
    segment_count: int = Field(ge=0)
    speaker_count: int | None = Field(default=None, ge=0)
    preview: str = Field(default="", max_length=2000)
    """The beginning of the text."""
    warnings: list[str] = []
    """Warning codes of the document."""


class SpeakerSummary(EventModel):
    """One speaker of a recording."""

    speaker_id: UUID
    label: str
    seconds: float
    user_profile_id: UUID | None = None
    confidence: Fraction | None = None


class DiarizationCompleted(Result):
    """The speakers of a recording and when each of them speaks."""

    TOPIC: ClassVar[str] = "diarization-completed"
    DOCUMENT: ClassVar[type[Document]] = SpeakersDocument

    meeting_id: UUID
    speaker_count: int = Field(ge=0)
    turn_count: int = Field(ge=0)
    speakers: list[SpeakerSummary] = []
    rttm_uri: str | None = None


class MetadataEntry(EventModel):
    """One fact about a recording, as text with its type."""

    key: str
    value: str
    value_type: str = "string"
    extraction_method: str = "tag"
    confidence: Fraction = 1.0


class TracklistCompleted(Result):
    """The metadata of a recording and, if it has one, its tracklist."""

    TOPIC: ClassVar[str] = "tracklist-completed"
    DOCUMENT: ClassVar[type[Document]] = TracklistDocument

    recording_id: UUID
    tracklist_id: UUID | None = None
    source_type: str | None = None
    track_count: int = Field(default=0, ge=0)
    tracks: list[Track] = Field(default=[], max_length=1000)
    metadata: list[MetadataEntry] = []
    warnings: list[str] = []
    """Sentences about a cue sheet that could be read only in part, or not at all."""


class RenameProposed(Event):
    """A better file name, derived from the tags."""

    TOPIC: ClassVar[str] = "rename-proposed"

    media: MediaRef
    proposal_id: UUID
    recording_id: UUID
    current_filename: str
    proposed_filename: str
    reason: str
    confidence: Fraction


class HighlightsCompleted(Result):
    """Silence, content segments and clips; stage `silence` comes first, `segments` contains all."""

    TOPIC: ClassVar[str] = "highlights-completed"
    DOCUMENT: ClassVar[type[Document]] = HighlightsDocument

    stage: HighlightsStage | str
    silence_region_count: int = Field(ge=0)
    segments: list[ContentSegment] = Field(default=[], max_length=500)
    clips: list[Clip] = Field(default=[], max_length=500)


class JobProgressed(Event):
    """A job started or progressed."""

    TOPIC: ClassVar[str] = "job-progressed"

    job_id: UUID
    service: Service | str
    status: JobStatus | str
    progress: Fraction
    stage: str = ""
    attempt: int = 1


class JobFailed(Event):
    """An attempt of a job failed; `final` if it will not be retried automatically."""

    TOPIC: ClassVar[str] = "job-failed"

    job_id: UUID
    service: Service | str
    kind: str
    reason: str
    message: str
    attempt: int
    final: bool
    engine: str | None = None


class JobRetryRequested(Event):
    """A user requests that a failed job be retried."""

    TOPIC: ClassVar[str] = "job-retry-requested"

    job_id: UUID
    service: Service | str


class JobCancelRequested(Event):
    """A user requests that a job be canceled: it fails permanently with the reason `cancelled`."""

    TOPIC: ClassVar[str] = "job-cancel-requested"

    job_id: UUID
    service: Service | str


class InventoryRequested(Event):
    """A user requests the inventory of every service; `media_id` is nil, `check_id` identifies it."""

    TOPIC: ClassVar[str] = "inventory-requested"

    check_id: UUID


class InventoryReported(Event):
    """The inventory of one service: counts by kind, and the URI of the list of ids and versions."""

    TOPIC: ClassVar[str] = "inventory-reported"

    check_id: UUID
    service: Service | str
    counts: dict[str, int]
    document_uri: Annotated[str, Field(json_schema_extra={"format": "uri"})]

    @field_validator("document_uri")
    @classmethod
    def _check_uri(cls, value: str) -> str:
        AnyUrl(value)
        return value
