"""What `phonograph show` and its relatives read, from a real graph and a real object store."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from neo4j import AsyncDriver, AsyncGraphDatabase
from tests.support.stack import Stack

from phonograph_cli.recordings import RecordingReader
from phonograph_events import (
    DiarizationCompleted,
    Event,
    HighlightsCompleted,
    JobFailed,
    JobSummary,
    MediaDuplicated,
    MediaReady,
    MediaRef,
    MediaRejected,
    MusicAnalyzed,
    RenameProposed,
    Service,
    SpeakerSummary,
    Stream,
    TracklistCompleted,
    TranscriptionCompleted,
    make_envelope,
)
from phonograph_events.documents import (
    Clip,
    ContentSegment,
    Document,
    HighlightsDocument,
    SilenceRegion,
    SpeakersDocument,
    Track,
    TracklistDocument,
    TranscriptDocument,
    TranscriptSegment,
    TranscriptWarning,
    Turn,
    Word,
)
from phonograph_graph_sync.config import Settings
from phonograph_graph_sync.domain.batches import Partition, ProjectedEvent
from phonograph_graph_sync.domain.projection import project
from phonograph_graph_sync.factory import ProcessContext
from phonograph_runtime.errors import PermanentError
from phonograph_runtime.objects import ObjectStore

TALK = UUID("0198aaaa-1111-7000-8000-000000000001")


def named(name: str) -> UUID:
    return uuid5(TALK, name)


@dataclass
class Shelf:
    """A graph and an object store of the test's own."""

    reader: RecordingReader
    objects: ObjectStore
    context: ProcessContext
    written: int = 0

    async def write(self, *events: Event, version: int = 1) -> None:
        """Let the graph hold events."""
        changes = [project(make_envelope(event, source="test", version=version)) for event in events]
        batch = [
            ProjectedEvent(Partition("test", 0), self.written + n, each) for n, each in enumerate(changes)
        ]
        self.written += len(batch)
        await self.context.graph.write(batch)

    def keep(self, name: str, document: Document) -> str:
        """Store a document, give its address."""
        return self.objects.put(f"results/{name}.json", document.model_dump_json().encode())


@pytest.fixture
async def shelf(stack: Stack, tmp_path: Path) -> AsyncIterator[Shelf]:
    servers = stack.addresses
    settings = Settings(
        **stack.settings(Service.GRAPH_SYNC, tmp_path),
        neo4j_uri=servers.neo4j_uri,
        neo4j_user=servers.neo4j_user,
        neo4j_password=servers.neo4j_password,
    )
    context = ProcessContext.create(settings)
    objects = ObjectStore(settings.object_store_url)
    auth = (servers.neo4j_user, servers.neo4j_password)
    async with AsyncGraphDatabase.driver(servers.neo4j_uri, auth=auth) as driver:
        await wipe(driver)
        await context.graph.prepare()
        yield Shelf(RecordingReader(driver, objects), objects, context)
        await wipe(driver)
    await context.aclose()


async def wipe(driver: AsyncDriver) -> None:
    await driver.execute_query("MATCH (n) DETACH DELETE n")


def media(media_id: UUID = TALK, uri: str = "file:///music/my%20talk.mp4") -> MediaRef:
    return MediaRef(
        media_id=media_id,
        uri=uri,
        file_name="my talk.mp4",
        file_size=10,
        kind="video",
        mime_type="video/mp4",
        duration_s=61.5,
        file_hash="f" * 64,
        secondary_hash="e" * 32,
        content_fp="pcm16k1:d",
        rendition_uri="file:///r.wav",
    )


def job(service: str, **changes: Any) -> JobSummary:
    told = {"job_id": uuid4(), "service": service, "engine": f"{service} engine", "seconds": 2.5}
    return JobSummary.model_validate(told | changes)


def ready(media_id: UUID = TALK) -> MediaReady:
    return MediaReady(
        media_id=media_id,
        media=media(media_id),
        container="mp4",
        audio=Stream(codec="aac"),
        tags={"artist": ["A"]},
        job=job("ingest", engine="pyav"),
    )


def transcription(
    shelf: Shelf, name: str, pipeline_version: str, speaker: str | None
) -> TranscriptionCompleted:
    word = Word(word="hello", start=0.0, end=0.5, confidence=0.9, speaker=speaker)
    segment = TranscriptSegment(start=0, end=0.5, text="hello", speaker=speaker, confidence=0.9, words=[word])
    document = TranscriptDocument(
        pipeline_version=pipeline_version,
        engine="pocketsphinx",
        model="en-us",
        language="en",
        text="hello",
        warnings=[TranscriptWarning(code="low_confidence", message="Unsure.")],
        segments=[segment],
    )
    return TranscriptionCompleted(
        media_id=TALK,
        media=media(),
        job=job("transcription"),
        result_id=named(name),
        parent_result_id=None if pipeline_version == "v1" else named("v1"),
        pipeline_version=pipeline_version,
        version=1,
        word_count=1,
        segment_count=1,
        document_uri=shelf.keep(name, document),
    )


async def test_show_has_everything_that_was_found(shelf: Shelf) -> None:
    tracks = [Track(position=1, start_time=0, end_time=30, artist="A", title="T", bpm=120)]
    segments = [ContentSegment(start=0, end=60, title="Topic", keywords=["k"], importance_score=0.7)]
    clips = [
        Clip(clip_id="c1", start=0, end=60, title="Topic", uri="file:///c.mp4", subtitle_uri="file:///c.srt")
    ]
    silence = [SilenceRegion(start=60, end=61, type="audio_silence")]
    await shelf.write(
        ready(),
        MusicAnalyzed(
            media_id=TALK,
            media=media(),
            job=job("analysis", reason="noise"),
            result_id=named("m"),
            algorithm_build="b",
        ),
        transcription(shelf, "v1", "v1", None),
        transcription(shelf, "v4", "v4", "SPEAKER_00"),
        DiarizationCompleted(
            media_id=TALK,
            media=media(),
            job=job("diarization"),
            meeting_id=named("meeting"),
            speaker_count=1,
            turn_count=1,
            speakers=[SpeakerSummary(speaker_id=named("voice"), label="SPEAKER_00", seconds=0.5)],
            document_uri=shelf.keep(
                "speakers",
                SpeakersDocument(
                    engine="mfcc", count=1, turns=[Turn(start=0, end=0.5, speaker="SPEAKER_00")]
                ),
            ),
        ),
        TracklistCompleted(
            media_id=TALK,
            media=media(),
            job=job("tracklist"),
            recording_id=named("recording"),
            tracklist_id=named("tracks"),
            source_type="cue",
            track_count=1,
            document_uri=shelf.keep("tracklist", TracklistDocument(source_type="cue", tracks=tracks)),
        ),
        RenameProposed(
            media_id=TALK,
            media=media(),
            proposal_id=named("proposal"),
            recording_id=named("recording"),
            current_filename="my talk.mp4",
            proposed_filename="A - T.mp4",
            reason="tags",
            confidence=0.8,
        ),
        HighlightsCompleted(
            media_id=TALK,
            media=media(),
            job=job("highlights"),
            stage="segments",
            silence_region_count=1,
            segments=segments,
            clips=clips,
            document_uri=shelf.keep(
                "highlights", HighlightsDocument(silence_regions=silence, segments=segments, clips=clips)
            ),
        ),
    )

    said = {"start": 0.0, "end": 0.5, "confidence": 0.9, "speaker": "SPEAKER_00"}
    warning = {"code": "low_confidence", "message": "Unsure.", "segment": None}
    assert await shelf.reader.show(str(TALK)) == {
        "media": {
            "media_id": str(TALK),
            "file_name": "my talk.mp4",
            "kind": "video",
            "mime_type": "video/mp4",
            "duration_s": 61.5,
            "file_hash": "f" * 64,
            "content_fp": "pcm16k1:d",
            "status": "ready",
            "tags": {"artist": ["A"]},
        },
        "music": {
            "bpm": None,
            "bpm_confidence": None,
            "bpm_candidates": [],
            "key": None,
            "scale": None,
            "key_strength": None,
            "loudness_lufs": None,
            "danceability": None,
        },
        "transcript": {
            "pipeline_version": "v4",
            "engine": "pocketsphinx",
            "model": "en-us",
            "language": "en",
            "text": "hello",
            "warnings": [warning],
            "segments": [said | {"text": "hello", "words": [said | {"word": "hello"}]}],
        },
        "speakers": {
            "engine": "mfcc",
            "count": 1,
            "turns": [{"start": 0.0, "end": 0.5, "speaker": "SPEAKER_00"}],
        },
        "tracklist": {
            "source_type": "cue",
            "tracks": [{"position": 1, "start_time": 0.0, "end_time": 30.0, "artist": "A", "title": "T"}],
        },
        "rename": {"proposed_filename": "A - T.mp4", "reason": "tags", "confidence": 0.8},
        "highlights": {
            "silence_regions": [{"start": 60.0, "end": 61.0, "type": "audio_silence"}],
            "segments": [
                {"start": 0.0, "end": 60.0, "title": "Topic", "keywords": ["k"], "importance_score": 0.7}
            ],
            "clips": [
                {
                    "start": 0.0,
                    "end": 60.0,
                    "title": "Topic",
                    "uri": "file:///c.mp4",
                    "subtitle_uri": "file:///c.srt",
                    "thumbnail_uri": None,
                }
            ],
        },
        "jobs": [
            {"service": "ingest", "status": "completed", "reason": None, "engine": "pyav", "seconds": 2.5},
            {
                "service": "analysis",
                "status": "completed",
                "reason": "noise",
                "engine": "analysis engine",
                "seconds": 2.5,
            },
            *(
                {
                    "service": service,
                    "status": "completed",
                    "reason": None,
                    "engine": f"{service} engine",
                    "seconds": 2.5,
                }
                for service in ("transcription", "transcription", "diarization", "tracklist", "highlights")
            ),
        ],
    }


async def test_a_rejected_file_is_shown_with_its_reason(shelf: Shelf) -> None:
    rotten = named("rotten")
    await shelf.write(
        MediaRejected(
            media_id=rotten,
            uri="file:///music/bad%FF.mp3",
            file_name="bad\ufffd.mp3",
            reason="truncated",
            message="The file ends too early.",
            job=job("ingest", reason="truncated", engine=None),
        )
    )
    assert await shelf.reader.find("/music/bad\udcff.mp3") == str(rotten)
    shown = await shelf.reader.show(str(rotten))
    assert shown is not None
    assert shown["media"]["status"] == "rejected"
    assert shown["media"]["tags"] is None
    assert {
        name: shown[name] for name in ("music", "transcript", "speakers", "tracklist", "rename", "highlights")
    } == (dict.fromkeys(("music", "transcript", "speakers", "tracklist", "rename", "highlights")))
    assert [(each["status"], each["reason"]) for each in shown["jobs"]] == [("completed", "truncated")]


async def test_a_recording_is_found_by_id_prefix_and_any_of_its_places(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    twin = UUID("0198aaaa-1111-7000-8000-000000000002")
    copy = tmp_path / "copy of it.mp4"
    await shelf.write(
        ready(),
        MediaDuplicated(
            media_id=TALK,
            media=media(),
            duplicate="same_bytes",
            uri=copy.as_uri(),
            file_name=copy.name,
            file_hash="f" * 64,
            job=job("ingest", reason="same_bytes"),
        ),
    )
    monkeypatch.chdir(tmp_path)
    for what in (str(TALK), str(TALK).upper(), "0198aaaa", "/music/my talk.mp4", "file:///music/my%20talk.mp4",
                 str(copy), "copy of it.mp4"):  # fmt: skip
        assert await shelf.reader.find(what) == str(TALK), what
    for what in ("0198aaa", "0198bbbb", "/music/other.mp4", "", "my talk.mp4"):
        assert await shelf.reader.find(what) is None, what
    shown = await shelf.reader.show(str(TALK))
    assert shown is not None
    assert [each["reason"] for each in shown["jobs"]] == [None]

    await shelf.write(ready(twin).model_copy(update={"media": media(twin, "file:///music/twin.mp4")}))
    assert await shelf.reader.find("0198aaaa") is None
    assert await shelf.reader.find(str(twin)) == str(twin)


async def test_the_newest_file_at_a_place_counts(shelf: Shelf) -> None:
    await shelf.write(ready())
    await shelf.write(ready(named("replaced")))
    assert await shelf.reader.find("/music/my talk.mp4") == str(named("replaced"))


async def test_jobs_are_listed_with_their_files(shelf: Shelf) -> None:
    failed = JobFailed(
        media_id=TALK,
        job_id=named("job"),
        service="analysis",
        kind="music",
        reason="engine_died",
        message="It died.",
        attempt=4,
        final=True,
    )
    await shelf.write(ready(), failed)
    (found,) = await shelf.reader.jobs(status="failed")
    assert found["created_at"] == found["updated_at"]
    assert {name: value for name, value in found.items() if not name.endswith("_at")} == {
        "id": str(named("job")),
        "service": "analysis",
        "kind": "music",
        "status": "failed",
        "reason": "engine_died",
        "message": "It died.",
        "attempt": 4,
        "progress": None,
        "stage": None,
        "engine": None,
        "model": None,
        "seconds": None,
        "media_id": str(TALK),
        "file_name": "my talk.mp4",
    }
    assert len(await shelf.reader.jobs()) == 2


async def test_versions_are_those_of_the_inventories(shelf: Shelf) -> None:
    await shelf.write(ready(), transcription(shelf, "v4", "v4", None))
    versions = await shelf.reader.versions()
    assert versions == {
        "media": {str(TALK): 1},
        "music": {},
        "transcript": {str(named("v4")): 1},
        "speakers": {},
        "recording": {},
        "tracklist": {},
        "segment": {},
        "clip": {},
    }


async def test_a_document_that_is_gone_is_named(shelf: Shelf) -> None:
    event = transcription(shelf, "v1", "v1", None)
    assert event.document_uri is not None
    path = shelf.objects.local_path(event.document_uri)
    assert path is not None
    path.unlink()
    await shelf.write(ready(), event)
    with pytest.raises(PermanentError, match=r"v1\.json"):
        await shelf.reader.show(str(TALK))


async def test_an_unknown_recording_is_none(shelf: Shelf) -> None:
    assert await shelf.reader.show(str(TALK)) is None
