"""The body of every event.

Times are seconds from the start of the file; `reason` is a lower-case code, `message` a sentence.
"""

from datetime import datetime
from functools import cache
from typing import Annotated, ClassVar, Final
from uuid import UUID

from pydantic import AnyUrl, BaseModel, ConfigDict, Field, field_validator

from phonograph_events.documents import (
    Clip,
    ContentSegment,
    Document,
    HighlightsDocument,
    KeySection,
    MusicDocument,
    SpeakersDocument,
    TempoSection,
    Track,
    TracklistDocument,
    TranscriptDocument,
)
from phonograph_events.enums import (
    RESULT_SERVICES,
    DuplicateKind,
    ExportFormat,
    Fillers,
    HighlightsStage,
    IdentityDecision,
    IdentityState,
    JobStatus,
    MediaKind,
    PersonChange,
    PipelineVersion,
    Preset,
    Profile,
    Service,
    SpeakerDecision,
)

Fraction = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
PersonName = Annotated[str, Field(min_length=1, max_length=255)]
UserName = Annotated[str, Field(min_length=1, max_length=200)]
Facts = dict[str, str | int | float | bool]
"""Options or properties by name."""
NO_MEDIA: Final = UUID(int=0)
"""The media id of an event about no single file."""


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
    track: Annotated[int, Field(ge=1)] | str | None = None
    """Number of the audio track, from 1, or `all` to mix all tracks; `null` takes the one with speech."""
    preset: Preset | str | None = None
    """Balance between the time and the accuracy of the transcription; `null` is `balanced`."""
    engine: Name | None = None
    """Engine of the transcription."""
    model: Name | None = None
    """Model of the transcription."""

    def to_facts(self, *names: str) -> Facts:
        """Return those of the named options that are not `null`."""
        return self.model_dump(mode="json", include=set(names), exclude_none=True)


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
    kind: str | None = None
    """Kind of the job, for example `transcribe`."""
    requested: Facts = {}
    """What was asked: the options of the job and, of a rerun, `requested_by` and `request_reason`."""
    used: Facts = {}
    """What did the work: engine, model, device and settings as they were used."""


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
    tempo_needs_review: bool | None = None
    """Whether the evidence for the tempo is thin; `null` without a tempo."""
    tempo_sections: list[TempoSection] = []
    """Stretches of one tempo, in order of time."""
    beats_per_bar: int | None = None
    key_sections: list[KeySection] = []
    """Stretches of one key, in order of time."""
    camelot: str | None = None
    open_key: str | None = None
    tuning_hz: float | None = None
    """Frequency of the A above middle C."""
    loudness_range_lu: float | None = None
    true_peak_dbtp: float | None = None
    onset_rate: float | None = None
    """Onsets per second."""
    energy: Fraction | None = None
    reasons: dict[str, str] = {}


class SpeakerSummary(EventModel):
    """One speaker of a recording."""

    speaker_id: UUID
    label: str
    seconds: float
    user_profile_id: UUID | None = None
    """The person suggested at first; `speakers-identified` reports who it is."""
    confidence: Fraction | None = None
    """Cosine similarity of the suggestion."""


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
    accuracy_estimate: Fraction | None = None
    """Mean confidence of the engine in its words; a score against a reference text is an accuracy."""
    word_count: int = Field(ge=0)
    segment_count: int = Field(ge=0)
    speaker_count: int | None = Field(default=None, ge=0)
    preview: str = Field(default="", max_length=2000)
    """The beginning of the text."""
    warnings: list[str] = []
    """Warning codes of the document."""
    meeting_id: UUID | None = None
    """The diarization whose speakers a v4 transcript has."""
    speakers: list[SpeakerSummary] = []
    """The speakers that the labels of a v4 transcript stand for."""


class EnhancementRequested(Event):
    """A producer requests a transcript that is easier to read; `transcription-completed` v2 is the answer."""

    TOPIC: ClassVar[str] = "enhancement-requested"

    fillers: Fillers | str = Fillers.SOME
    """Which fillers are removed."""
    repetitions: bool = True
    """Whether words are removed that a speaker stutters."""
    numbers: bool = True
    """Whether numbers are written in digits."""
    casing: bool = True
    """Whether capital letters and punctuation are added where the engine writes neither."""


class ExportRequested(Event):
    """A producer requests a file made from a transcript."""

    TOPIC: ClassVar[str] = "export-requested"

    format: ExportFormat | str
    result_id: UUID | None = None
    """The version of the transcript; `null` for the current one."""
    request_id: str | None = Field(default=None, max_length=200)
    """An id chosen by the producer, which the answer repeats."""


class ExportCompleted(Event):
    """The answer to a request for a file: where the file is, or the reason why there is none."""

    TOPIC: ClassVar[str] = "export-completed"

    format: ExportFormat | str
    request_id: str | None = None
    export_id: UUID | None = None
    uri: str | None = None
    size: int | None = Field(default=None, ge=0)
    """Size in bytes."""
    sha256: str | None = None
    """SHA-256 of the bytes, hexadecimal."""
    result_id: UUID | None = None
    """The transcript from which the file was made."""
    version: int | None = Field(default=None, ge=1)
    """Number of that transcript among those of the recording."""
    reason: str | None = None
    """Code of the reason why there is no file."""
    message: str | None = None


class ScoreRequested(Event):
    """A producer has a checked text of a recording, with which its transcript is compared."""

    TOPIC: ClassVar[str] = "score-requested"

    reference: str = Field(max_length=900_000)
    """What is said in the recording; case and punctuation do not count."""
    source: str = Field(min_length=1, max_length=300)
    """Name of the text, for example its file name."""
    result_id: UUID | None = None
    """The version of the transcript; `null` for the current one."""
    request_id: str | None = Field(default=None, max_length=200)
    """An id chosen by the producer, which the answer repeats."""


class ScoreCompleted(Event):
    """The accuracy of a transcript, or the reason why it is not known."""

    TOPIC: ClassVar[str] = "score-completed"

    source: str
    request_id: str | None = None
    result_id: UUID | None = None
    """The transcript that was compared."""
    version: int | None = Field(default=None, ge=1)
    """Number of that transcript among those of the recording."""
    reference_words: int | None = Field(default=None, ge=1)
    word_error_rate: float | None = Field(default=None, ge=0)
    """Words to change, add or leave out per word of the reference."""
    character_error_rate: float | None = Field(default=None, ge=0)
    accuracy: Fraction | None = None
    """1 - word error rate, at least 0."""
    reason: str | None = None
    """Code of the reason why there is no accuracy."""
    message: str | None = None


class DiarizationCompleted(Result):
    """The speakers of a recording and when each of them speaks."""

    TOPIC: ClassVar[str] = "diarization-completed"
    DOCUMENT: ClassVar[type[Document]] = SpeakersDocument

    meeting_id: UUID
    speaker_count: int = Field(ge=0)
    turn_count: int = Field(ge=0)
    speakers: list[SpeakerSummary] = []
    warnings: list[str] = []
    """Warning codes of the document."""
    rttm_uri: str | None = None


class IdentifiedSpeaker(EventModel):
    """A speaker of a meeting and the person that it is, or may be."""

    speaker_id: UUID
    label: str
    state: IdentityState | str
    person_id: UUID | None = None
    score: Fraction | None = None
    """Cosine similarity of the voice to the most similar voiceprint of the person; `null` if a user named
    the speaker without a suggestion."""
    decided_by: str | None = None
    """The user who named or confirmed the speaker."""
    decided_at: datetime | None = None


class SpeakersIdentified(Event):
    """The people who speak in a meeting, so far as they are known, by id: `person-changed` has the names."""

    TOPIC: ClassVar[str] = "speakers-identified"

    meeting_id: UUID
    decision: IdentityDecision | str
    speakers: list[IdentifiedSpeaker]
    """All speakers of the meeting."""
    people: list[UUID] = []
    """The confirmed people of the newest meeting of the recording that has any."""


class PersonChanged(Event):
    """The state of a person. `media_id` is nil. `name` is `null` once the person is merged or forgotten."""

    TOPIC: ClassVar[str] = "person-changed"
    KEY: ClassVar[str] = "person_id"

    media_id: UUID = NO_MEDIA
    person_id: UUID
    owner: str | None = None
    decision: IdentityDecision | str
    name: PersonName | None = None
    consent: bool = False
    """Whether voiceprints of the person may be kept."""
    voiceprint_count: int = Field(default=0, ge=0)
    merged_into: UUID | None = None
    changed_by: UserName


class SpeakerNamingRequested(Event):
    """A user names a speaker, or confirms or refuses a suggestion; `person-request-answered` follows."""

    TOPIC: ClassVar[str] = "speaker-naming-requested"

    speaker_id: UUID
    """An id of `diarization-completed`."""
    decision: SpeakerDecision | str
    name: PersonName | None = None
    """Required to name: the person of this name is meant, or a new one, among those of the file's owner."""
    person_id: UUID | None = None
    """Required to confirm or refuse: the person suggested."""
    consent: bool | None = None
    """Whether a voiceprint may be kept; `null` changes nothing, and permits it for a new person."""
    requested_by: UserName


class PersonChangeRequested(Event):
    """A user changes, exports or forgets a person; `person-request-answered` follows. `media_id` is nil."""

    TOPIC: ClassVar[str] = "person-change-requested"
    KEY: ClassVar[str] = "person_id"

    media_id: UUID = NO_MEDIA
    person_id: UUID
    owner: str | None = None
    """Owner of the person; a person of another owner is not found."""
    change: PersonChange | str
    name: PersonName | None = None
    """The new name, or the name of the person who is split off."""
    consent: bool | None = None
    into_person_id: UUID | None = None
    """The person who remains after a merge."""
    speaker_ids: list[UUID] = Field(default=[], max_length=10_000)
    """The speakers who are split off."""
    requested_by: UserName


class PersonRequestAnswered(Event):
    """The outcome of a request about a speaker or a person; it contains no name."""

    TOPIC: ClassVar[str] = "person-request-answered"
    KEY: ClassVar[str] = "request_id"

    media_id: UUID = NO_MEDIA
    request_id: str
    """`ce_id` of the request."""
    ok: bool
    reason: str | None = None
    """Code of the reason for a refusal."""
    message: str = ""
    person_id: UUID | None = None
    recording_count: int = Field(default=0, ge=0)
    """Number of recordings whose speakers changed."""
    document_uri: str | None = None
    """Everything that is kept about an exported person; to be deleted once it is read."""


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
    """Silence, content segments and clips: first stage `silence`, then `segments`, then with `speakers`."""

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
    requested: Facts = {}
    """See `JobSummary.requested`."""


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
    requested: Facts = {}
    """See `JobSummary.requested`."""


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


RERUN_OPTIONS = ("engine", "model", "preset", "language", "speakers", "min_speakers", "max_speakers")
"""The options of a rerun; each service supports some of them."""


class RerunRequested(Event):
    """A request that a service process a known recording again.

    Its result is a new version; older ones stay readable. An option that is `null` stays as it was requested
    with the file. A request that cannot be met leads to `job-failed` with `final: true`.
    """

    TOPIC: ClassVar[str] = "rerun-requested"

    service: Service | str
    """`analysis`, `transcription`, `diarization`, `tracklist` or `highlights`."""
    engine: Name | None = None
    """Engine of the service, as its results name it."""
    model: Name | None = None
    """Model of the engine; it must be on the machine."""
    preset: Preset | str | None = None
    """Balance between time and accuracy, of the transcription only."""
    language: str | None = None
    """ISO 639-1 code of the spoken language."""
    speakers: int | None = Field(default=None, ge=1)
    """Exact number of speakers; replaces the limits that were requested with the file."""
    min_speakers: int | None = Field(default=None, ge=1)
    max_speakers: int | None = Field(default=None, ge=1)
    reason: str | None = Field(default=None, max_length=500)
    """Why it is requested, for people."""
    requested_by: str | None = Field(default=None, max_length=200)
    """Person or program that requests it."""

    @property
    def option_names(self) -> set[str]:
        """Return the names of the options that are set."""
        return set(self.model_dump(include=set(RERUN_OPTIONS), exclude_none=True))

    def to_facts(self) -> Facts:
        """Return the request as the job states it."""
        facts = self.model_dump(mode="json", include={"requested_by"}, exclude_none=True)
        return facts | ({} if self.reason is None else {"request_reason": self.reason})

    def apply_to(self, options: Options) -> Options:
        """Return the options of a recording as this request changes them."""
        changes = self.model_dump(include=set(RERUN_OPTIONS), exclude_none=True)
        # A number of speakers contradicts other limits, and a model belongs to its engine.
        for group in (("speakers", "min_speakers", "max_speakers"), ("engine", "model")):
            if not changes.keys().isdisjoint(group):
                changes = dict.fromkeys(group) | changes
        return options.model_copy(update=changes)


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
