"""One example of every event, published in `schemas/examples` and used by tests."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from phonograph_events import payloads
from phonograph_events.documents import Clip, ContentSegment, Track
from phonograph_events.enums import (
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
    Profile,
    Service,
    SpeakerDecision,
)
from phonograph_events.envelope import Envelope
from phonograph_events.payloads import Event, JobSummary, MediaRef, Options

_MEDIA_ID = UUID("01936d4f-7c00-7a10-8000-000000000001")
_JOB_ID = UUID("01936d4f-7c00-7a10-8000-000000000002")
_RESULT_ID = UUID("01936d4f-7c00-7a10-8000-000000000003")
_OTHER_ID = UUID("01936d4f-7c00-7a10-8000-000000000004")
_PERSON_ID = UUID("01936d4f-7c00-7a10-8000-000000000006")
_EXPORT_SHA256 = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
_URI = "file:///music/Night%20Drive.mp3"
_STORE = "file:///var/lib/phonograph/objects"


def _media_ref(kind: MediaKind = MediaKind.AUDIO) -> MediaRef:
    return MediaRef(
        media_id=_MEDIA_ID,
        uri=_URI,
        file_name="Night Drive.mp3",
        file_size=7_340_032,
        kind=kind,
        mime_type="audio/mpeg",
        duration_s=305.4,
        file_hash="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        secondary_hash="99aa06d3014798d86001c324468d497f",
        content_fp="pcm16k1:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
        rendition_uri=f"{_STORE}/renditions/60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752.wav",
        profile=Profile.AUTO,
        owner="radio-one",
        options=Options(language="en"),
    )


def _job_summary(service: Service, engine: str | None = None, reason: str | None = None) -> JobSummary:
    return JobSummary(
        job_id=_JOB_ID, service=service, engine=engine, seconds=4.2, waited_s=0.3, reason=reason
    )


def _document_uri(service: Service) -> str:
    return f"{_STORE}/results/{_MEDIA_ID}/{service}/{_RESULT_ID}.json"


EXAMPLES: Final[tuple[Event, ...]] = (
    payloads.IngestRequested(
        uri=_URI,
        profile=Profile.MUSIC,
        owner="radio-one",
        priority=5,
        options=Options(language="en"),
        request_id="playout-2026-11-21-0042",
    ),
    payloads.MediaReady(
        media_id=_MEDIA_ID,
        media=_media_ref(),
        container="mp3",
        audio=payloads.Stream(codec="mp3", sample_rate_hz=44_100, channels=2, bit_rate=192_000),
        tags={"artist": ["Nova Lights"], "title": ["Night Drive"]},
        job=_job_summary(Service.INGEST, "pyav"),
    ),
    payloads.MediaRejected(
        media_id=_MEDIA_ID,
        uri="file:///music/empty.mp3",
        file_name="empty.mp3",
        reason="empty",
        message="empty.mp3 holds no bytes.",
        job=_job_summary(Service.INGEST, reason="empty"),
    ),
    payloads.MediaDuplicated(
        media_id=_MEDIA_ID,
        media=_media_ref(),
        duplicate=DuplicateKind.SAME_SOUND,
        uri="file:///music/Night%20Drive.flac",
        file_name="Night Drive.flac",
        file_hash="2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        job=_job_summary(Service.INGEST, reason="same_sound"),
    ),
    payloads.MediaMoved(media_id=_MEDIA_ID, from_uri=_URI, to_uri="file:///archive/Night%20Drive.mp3"),
    payloads.MediaDeleted(media_id=_MEDIA_ID, uri=_URI, deleted_at=datetime(2026, 11, 21, 12, tzinfo=UTC)),
    payloads.MusicAnalyzed(
        media_id=_MEDIA_ID,
        media=_media_ref(),
        job=_job_summary(Service.ANALYSIS, "essentia"),
        document_uri=_document_uri(Service.ANALYSIS),
        result_id=_RESULT_ID,
        algorithm_build="2.1b6.dev1389",
        bpm=124.0,
        bpm_confidence=0.71,
        bpm_candidates=[62.0, 124.0, 248.0],
        key="A",
        scale="minor",
        key_strength=0.83,
        loudness_lufs=-9.4,
        danceability=1.2,
    ),
    payloads.TranscriptionCompleted(
        media_id=_MEDIA_ID,
        media=_media_ref(),
        job=_job_summary(Service.TRANSCRIPTION, "faster-whisper").model_copy(
            update={
                "model": "base",
                "kind": "transcribe",
                "requested": {"language": "en"},
                "used": {
                    "engine": "faster-whisper",
                    "model": "base",
                    "language": "en",
                    "device": "cpu",
                    "compute_type": "int8",
                    "beam_size": 5,
                },
            }
        ),
        document_uri=_document_uri(Service.TRANSCRIPTION),
        result_id=_RESULT_ID,
        pipeline_version=PipelineVersion.V1,
        version=1,
        language="en",
        language_probability=0.99,
        word_count=22,
        segment_count=3,
        preview="And so my fellow Americans, ask not what your country can do for you,",
    ),
    payloads.DiarizationCompleted(
        media_id=_MEDIA_ID,
        media=_media_ref(),
        job=_job_summary(Service.DIARIZATION, "pyannote"),
        document_uri=_document_uri(Service.DIARIZATION),
        meeting_id=_RESULT_ID,
        speaker_count=1,
        turn_count=7,
        speakers=[payloads.SpeakerSummary(speaker_id=_OTHER_ID, label="S1", seconds=9.8)],
        rttm_uri=f"{_STORE}/results/{_MEDIA_ID}/diarization/{_RESULT_ID}.rttm",
    ),
    payloads.SpeakersIdentified(
        media_id=_MEDIA_ID,
        meeting_id=_RESULT_ID,
        decision=IdentityDecision.CONFIRMED,
        speakers=[
            payloads.IdentifiedSpeaker(
                speaker_id=_OTHER_ID,
                label="S1",
                state=IdentityState.CONFIRMED,
                person_id=_PERSON_ID,
                score=0.87,
                decided_by="editor",
                decided_at=datetime(2026, 11, 21, 12, tzinfo=UTC),
            )
        ],
        people=[_PERSON_ID],
    ),
    payloads.PersonChanged(
        person_id=_PERSON_ID,
        owner="radio-one",
        decision=IdentityDecision.CREATED,
        name="Ann Lee",
        consent=True,
        voiceprint_count=1,
        changed_by="editor",
    ),
    payloads.SpeakerNamingRequested(
        media_id=_MEDIA_ID,
        speaker_id=_OTHER_ID,
        decision=SpeakerDecision.NAME,
        name="Ann Lee",
        consent=True,
        requested_by="editor",
    ),
    payloads.PersonChangeRequested(
        person_id=_PERSON_ID, owner="radio-one", change=PersonChange.FORGET, requested_by="editor"
    ),
    payloads.PersonRequestAnswered(
        request_id="01936d4f-7c00-7a10-8000-0000000000fe", ok=True, person_id=_PERSON_ID, recording_count=3
    ),
    payloads.TracklistCompleted(
        media_id=_MEDIA_ID,
        media=_media_ref(),
        job=_job_summary(Service.TRACKLIST),
        document_uri=_document_uri(Service.TRACKLIST),
        recording_id=_MEDIA_ID,
        tracklist_id=_RESULT_ID,
        source_type="cue_file",
        track_count=1,
        tracks=[Track(position=1, start_time=0.0, end_time=305.4, artist="Nova Lights", title="Night Drive")],
        metadata=[payloads.MetadataEntry(key="artist", value="Nova Lights")],
    ),
    payloads.RenameProposed(
        media_id=_MEDIA_ID,
        media=_media_ref(),
        proposal_id=_RESULT_ID,
        recording_id=_MEDIA_ID,
        current_filename="Night Drive.mp3",
        proposed_filename="Nova Lights - Night Drive.mp3",
        reason="The tags name the artist, the file does not.",
        confidence=0.9,
    ),
    payloads.HighlightsCompleted(
        media_id=_MEDIA_ID,
        media=_media_ref(),
        job=_job_summary(Service.HIGHLIGHTS, "tfidf"),
        document_uri=_document_uri(Service.HIGHLIGHTS),
        stage=HighlightsStage.SEGMENTS,
        silence_region_count=2,
        segments=[
            ContentSegment(
                start=0.0, end=180.0, title="Sorting algorithms", keywords=["sorting"], importance_score=0.8
            )
        ],
        clips=[
            Clip(
                clip_id="clip_01936d4f7c007a108000000000000005",
                start=0.0,
                end=180.0,
                title="Sorting algorithms",
                uri=f"{_STORE}/results/{_MEDIA_ID}/highlights/clip_01936d4f7c007a108000000000000005.mp4",
            )
        ],
    ),
    payloads.EnhancementRequested(media_id=_MEDIA_ID, fillers=Fillers.ALL),
    payloads.ExportRequested(media_id=_MEDIA_ID, format=ExportFormat.VTT, request_id="player-42"),
    payloads.ExportCompleted(
        media_id=_MEDIA_ID,
        format=ExportFormat.VTT,
        request_id="player-42",
        export_id=_OTHER_ID,
        uri=f"{_STORE}/exports/{_MEDIA_ID}/{_EXPORT_SHA256}.vtt",
        size=1_024,
        sha256=_EXPORT_SHA256,
        result_id=_RESULT_ID,
        version=1,
    ),
    payloads.ScoreRequested(
        media_id=_MEDIA_ID,
        reference="And so, my fellow Americans: ask not what your country can do for you.",
        source="speech.txt",
    ),
    payloads.ScoreCompleted(
        media_id=_MEDIA_ID,
        source="speech.txt",
        result_id=_RESULT_ID,
        version=1,
        reference_words=14,
        word_error_rate=0.0714,
        character_error_rate=0.0189,
        accuracy=0.9286,
    ),
    payloads.JobProgressed(
        media_id=_MEDIA_ID,
        job_id=_JOB_ID,
        service=Service.TRANSCRIPTION,
        status=JobStatus.PROCESSING,
        progress=0.4,
        stage="recognising",
    ),
    payloads.JobFailed(
        media_id=_MEDIA_ID,
        job_id=_JOB_ID,
        service=Service.TRANSCRIPTION,
        kind="transcribe",
        reason="engine_died",
        message="The engine's process ended with status -9.",
        attempt=1,
        final=False,
    ),
    payloads.JobRetryRequested(media_id=_MEDIA_ID, job_id=_JOB_ID, service=Service.TRANSCRIPTION),
    payloads.JobCancelRequested(media_id=_MEDIA_ID, job_id=_JOB_ID, service=Service.TRANSCRIPTION),
    payloads.RerunRequested(
        media_id=_MEDIA_ID,
        service=Service.TRANSCRIPTION,
        model="small",
        language="en",
        reason="A better model is here.",
        requested_by="radio-one",
    ),
    payloads.InventoryRequested(media_id=UUID(int=0), check_id=_OTHER_ID),
    payloads.InventoryReported(
        media_id=UUID(int=0),
        check_id=_OTHER_ID,
        service=Service.ANALYSIS,
        counts={"music": 42},
        document_uri=f"{_STORE}/inventory/{_OTHER_ID}/analysis.json",
    ),
)


def example_envelope(event: Event) -> Envelope:
    """Return the envelope of an example, with fixed attributes."""
    return Envelope(
        id="01936d4f-7c00-7a10-8000-0000000000ff",
        source="example",
        type=event.event_type(),
        subject=event.subject,
        time=datetime(2026, 11, 21, 12, tzinfo=UTC),
        correlationid="01936d4f-7c00-7a10-8000-0000000000ff",
        data=event,
    )
