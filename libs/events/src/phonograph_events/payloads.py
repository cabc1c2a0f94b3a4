"""The body of every event: what each one says.

Times are seconds from the start of the file; `reason` is a lower-case word, `message` a sentence.
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
    """A piece of a body: immutable, open to fields of later versions."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, allow_inf_nan=False)


class Event(EventModel):
    """A body with its place on Kafka. Subclasses name their topic; the type follows from it."""

    TOPIC: ClassVar[str]
    VERSION: ClassVar[int] = 1
    """From 2 on the topic ends in it: `media-ready-v2`."""
    KEY: ClassVar[str] = "media_id"
    """The field whose text is the Kafka key."""

    media_id: UUID

    @classmethod
    @cache
    def event_type(cls) -> str:
        """CloudEvents type, for example `phonograph.media.ready.v1`."""
        name = cls.TOPIC.removesuffix(f"-v{cls.VERSION}")
        return f"phonograph.{name.replace('-', '.')}.v{cls.VERSION}"

    @property
    def subject(self) -> str:
        """What the event is about; also the Kafka key, so that one file's events stay in order."""
        return str(getattr(self, self.KEY))


class Options(EventModel):
    """What the producer knows about the file; null leaves it to the services."""

    language: str | None = None
    """ISO 639-1 code of the speech."""
    speakers: int | None = Field(default=None, ge=1)
    """Exact number of speakers."""
    min_speakers: int | None = Field(default=None, ge=1)
    max_speakers: int | None = Field(default=None, ge=1)


class MediaRef(EventModel):
    """The file that an event is about: enough to work on it without asking anybody else."""

    media_id: UUID
    uri: str
    """Where the original file lies."""
    file_name: str
    file_size: int = Field(ge=0)
    """Bytes."""
    kind: MediaKind | str
    mime_type: str
    duration_s: float
    file_hash: str
    """SHA-256 of the bytes, hexadecimal."""
    secondary_hash: str
    """XXH3-128 of the bytes, hexadecimal."""
    content_fp: str
    """Fingerprint of the decoded sound: `pcm16k1:` and a SHA-256."""
    rendition_uri: str
    """16 kHz mono s16le WAV in the object store."""
    profile: Profile | str = Profile.AUTO
    owner: str | None = None
    priority: int = 0
    options: Options = Options()

    def wants(self, service: Service) -> bool:
        """Whether a service should look at this file. An unknown profile counts as `auto`."""
        known = self.profile in set(Profile)
        return service in RESULT_SERVICES[Profile(self.profile) if known else Profile.AUTO]


class JobSummary(EventModel):
    """The job behind a result."""

    job_id: UUID
    service: Service | str
    engine: str | None = None
    model: str | None = None
    seconds: float | None = None
    """Time in the engine."""
    waited_s: float | None = None
    """Time between the request and the start."""
    attempt: int = 1
    reason: str | None = None
    """Why there is nothing, or not more, in the result."""


class IngestRequested(Event):
    """A producer asks for a file to be taken in."""

    TOPIC: ClassVar[str] = "ingest-requested"
    KEY: ClassVar[str] = "uri"

    media_id: UUID | None = None  # type: ignore[assignment]  # a request comes before the media id
    uri: str = Field(min_length=1)
    """A local path or `file://` address."""
    profile: Profile | str = Profile.AUTO
    owner: str | None = None
    priority: int = Field(default=0, ge=-100, le=100)
    """Larger goes first."""
    options: Options = Options()
    request_id: str | None = Field(default=None, max_length=200)
    """The producer's own id: a second request with the same owner and id does nothing."""


class Chapter(EventModel):
    """A chapter mark of the container."""

    start: float
    end: float
    title: str


class Stream(EventModel):
    """What the probe read of the sound or the picture."""

    codec: str
    sample_rate_hz: int | None = None
    channels: int | None = None
    bit_rate: int | None = None
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None


class MediaReady(Event):
    """A new file is known, measured and ready for work."""

    TOPIC: ClassVar[str] = "media-ready"

    media: MediaRef
    container: str
    audio: Stream
    video: Stream | None = None
    chapters: list[Chapter] = []
    tags: dict[str, list[str]] = {}
    """Tag name in lower case to its values."""
    warnings: list[str] = []
    job: JobSummary


class MediaRejected(Event):
    """A file was asked for that cannot be taken in."""

    TOPIC: ClassVar[str] = "media-rejected"

    uri: str
    file_name: str
    reason: str
    message: str
    job: JobSummary


class MediaDuplicated(Event):
    """A file was asked for that is known already; `media_id` is the first one's."""

    TOPIC: ClassVar[str] = "media-duplicated"

    media: MediaRef
    """The first one."""
    duplicate: DuplicateKind | str
    uri: str
    """Where the second one lies."""
    file_name: str
    file_hash: str
    job: JobSummary


class MediaMoved(Event):
    """A known file lies elsewhere now."""

    TOPIC: ClassVar[str] = "media-moved"

    from_uri: str
    to_uri: str


class MediaDeleted(Event):
    """A known file is gone."""

    TOPIC: ClassVar[str] = "media-deleted"

    uri: str
    deleted_at: datetime


class Result(Event):
    """What a service found: a summary and the address of the full document."""

    DOCUMENT: ClassVar[type[Document]]

    media: MediaRef
    job: JobSummary
    document_uri: str | None = None


class MusicAnalyzed(Result):
    """Tempo, key and character of the music; null with a word in `reasons` where there is none."""

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
    """What was said. v1 first; v4, its child, when the speakers are known."""

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
    """One voice of a recording."""

    speaker_id: UUID
    label: str
    seconds: float
    user_profile_id: UUID | None = None
    confidence: Fraction | None = None


class DiarizationCompleted(Result):
    """Who spoke when."""

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
    """The recording's metadata and, where there is one, its tracklist."""

    TOPIC: ClassVar[str] = "tracklist-completed"
    DOCUMENT: ClassVar[type[Document]] = TracklistDocument

    recording_id: UUID
    tracklist_id: UUID | None = None
    source_type: str | None = None
    track_count: int = Field(default=0, ge=0)
    tracks: list[Track] = Field(default=[], max_length=1000)
    metadata: list[MetadataEntry] = []
    warnings: list[str] = []
    """Sentences on a cue sheet that could be read in part, or not at all."""


class RenameProposed(Event):
    """A better file name, from the tags."""

    TOPIC: ClassVar[str] = "rename-proposed"

    media: MediaRef
    proposal_id: UUID
    recording_id: UUID
    current_filename: str
    proposed_filename: str
    reason: str
    confidence: Fraction


class HighlightsCompleted(Result):
    """Silence, topics and clips. Stage `silence` comes first; `segments` holds everything."""

    TOPIC: ClassVar[str] = "highlights-completed"
    DOCUMENT: ClassVar[type[Document]] = HighlightsDocument

    stage: HighlightsStage | str
    silence_region_count: int = Field(ge=0)
    segments: list[ContentSegment] = Field(default=[], max_length=500)
    clips: list[Clip] = Field(default=[], max_length=500)


class JobProgressed(Event):
    """A job started or went on."""

    TOPIC: ClassVar[str] = "job-progressed"

    job_id: UUID
    service: Service | str
    status: JobStatus | str
    progress: Fraction
    stage: str = ""
    attempt: int = 1


class JobFailed(Event):
    """An attempt failed; `final` when there will be no other without help."""

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
    """Somebody asks for a failed job to be tried again."""

    TOPIC: ClassVar[str] = "job-retry-requested"

    job_id: UUID
    service: Service | str


class JobCancelRequested(Event):
    """Somebody asks for a job to be given up: it fails for good with the reason `cancelled`."""

    TOPIC: ClassVar[str] = "job-cancel-requested"

    job_id: UUID
    service: Service | str


class InventoryRequested(Event):
    """Somebody asks every service what it holds; `media_id` is nil, `check_id` names the question."""

    TOPIC: ClassVar[str] = "inventory-requested"

    check_id: UUID


class InventoryReported(Event):
    """What one service holds: how many of each kind, and the address of the list of ids and versions."""

    TOPIC: ClassVar[str] = "inventory-reported"

    check_id: UUID
    service: Service | str
    counts: dict[str, int]
    document_uri: Annotated[str, Field(json_schema_extra={"format": "uri"})]

    @field_validator("document_uri")
    @classmethod
    def _is_address(cls, value: str) -> str:
        AnyUrl(value)
        return value
