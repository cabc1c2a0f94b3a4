"""Recordings and jobs, read from a real graph and a real object store."""

import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from neo4j import AsyncDriver, AsyncGraphDatabase
from rich.console import Console
from tests.support.golden import Golden
from tests.support.stack import Stack
from tests.support.system import run_command

from phonograph_cli.recordings import RecordingReader, in_progress
from phonograph_cli.rendering import recording_panel
from phonograph_events import (
    DiarizationCompleted,
    Event,
    HighlightsCompleted,
    IngestRequested,
    JobFailed,
    JobProgressed,
    JobSummary,
    MediaDuplicated,
    MediaReady,
    MediaRef,
    MediaRejected,
    MusicAnalyzed,
    RenameProposed,
    ScoreCompleted,
    Service,
    SpeakerSummary,
    Stream,
    TracklistCompleted,
    TranscriptionCompleted,
    envelope,
)
from phonograph_events.documents import (
    Clip,
    ContentSegment,
    Document,
    HighlightsDocument,
    SilenceRegion,
    SpeakersDocument,
    SpeakersWarning,
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

DATA = Path(__file__).parent / "data"
TALK = UUID("0198aaaa-1111-7000-8000-000000000001")


def named(name: str) -> UUID:
    return uuid5(TALK, name)


@dataclass
class Archive:
    """The graph, emptied for the test, and an object store."""

    reader: RecordingReader
    objects: ObjectStore
    context: ProcessContext
    written: int = 0

    async def write(self, *events: Event, version: int = 1) -> None:
        """Write events to the graph as graph-sync does."""
        changes = [project(envelope(event, source="test", version=version)) for event in events]
        batch = [
            ProjectedEvent(Partition("test", 0), self.written + n, each) for n, each in enumerate(changes)
        ]
        self.written += len(batch)
        await self.context.graph.write(batch)

    def store(self, name: str, document: Document) -> str:
        """Store a document and return its URI."""
        return self.objects.put(f"results/{name}.json", document.model_dump_json().encode())


@pytest.fixture
async def archive(stack: Stack, tmp_path: Path) -> AsyncIterator[Archive]:
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
        yield Archive(RecordingReader(driver, objects), objects, context)
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
    values = {"job_id": uuid4(), "service": service, "engine": f"{service} engine", "seconds": 2.5}
    return JobSummary.model_validate(values | changes)


def ready(media_id: UUID = TALK) -> MediaReady:
    return MediaReady(
        media_id=media_id,
        media=media(media_id),
        container="mp4",
        audio=Stream(codec="aac"),
        tags={"artist": ["A"]},
        warnings=["3 of 131 packets are damaged and were left out."],
        job=job("ingest", engine="pyav"),
    )


def transcription(
    archive: Archive, name: str, pipeline_version: str, speaker: str | None
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
        accuracy_estimate=0.875,
        word_count=1,
        segment_count=1,
        document_uri=archive.store(name, document),
    )


def everything(archive: Archive) -> list[Event]:
    """Return one event of each result of the talk."""
    tracks = [Track(position=1, start_time=0, end_time=30, artist="A", title="T", bpm=120)]
    segments = [ContentSegment(start=0, end=60, title="Topic", keywords=["k"], importance_score=0.7)]
    clips = [
        Clip(clip_id="c1", start=0, end=60, title="Topic", uri="file:///c.mp4", subtitle_uri="file:///c.srt")
    ]
    silence = [SilenceRegion(start=60, end=61, type="audio_silence", noise_db=-41.5)]
    return [
        ready(),
        MusicAnalyzed(
            media_id=TALK,
            media=media(),
            job=job("analysis", reason="noise"),
            result_id=named("m"),
            algorithm_build="b",
        ),
        transcription(archive, "v1", "v1", None),
        transcription(archive, "v4", "v4", "SPEAKER_00"),
        DiarizationCompleted(
            media_id=TALK,
            media=media(),
            job=job("diarization"),
            meeting_id=named("meeting"),
            speaker_count=1,
            turn_count=1,
            speakers=[SpeakerSummary(speaker_id=named("voice"), label="SPEAKER_00", seconds=0.5)],
            document_uri=archive.store(
                "speakers",
                SpeakersDocument(
                    engine="mfcc",
                    count=1,
                    turns=[Turn(start=0, end=0.5, speaker="SPEAKER_00")],
                    exclusive=[Turn(start=0, end=0.5, speaker="SPEAKER_00")],
                    warnings=[SpeakersWarning(code="engine_fallback", message="mfcc was used instead.")],
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
            document_uri=archive.store(
                "tracklist",
                TracklistDocument(
                    source_type="cue", tracks=tracks, warnings=["Line 7 of my talk.cue was left out."]
                ),
            ),
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
            document_uri=archive.store(
                "highlights", HighlightsDocument(silence_regions=silence, segments=segments, clips=clips)
            ),
        ),
    ]


async def test_show_returns_everything_that_was_found(archive: Archive, golden: Golden) -> None:
    await archive.write(*everything(archive))
    golden.check(DATA / "recording.json", await archive.reader.show(str(TALK)))


def test_warnings_of_every_service_are_shown_to_people() -> None:
    recording = json.loads((DATA / "recording.json").read_text())
    shown = printed(recording)
    for sentence in (
        "Warning: 3 of 131 packets are damaged and were left out.",
        "Warning: Line 7 of my talk.cue was left out.",
        "Warning: Unsure.",
        "Warning: mfcc was used instead.",
    ):
        assert shown.count(sentence) == 1


def test_the_languages_of_a_recording_are_shown_to_people() -> None:
    recording = json.loads((DATA / "recording.json").read_text())
    recording["transcript"]["languages"] = ["en", "de"]
    recording["transcript"]["segments"][0]["text"] = "A text that is longer than the title of its table."
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(recording_panel(recording))

    assert "Transcript v4 (pocketsphinx, en-us, en, de)" in console.export_text()


async def test_accuracy_of_a_transcript_is_shown_with_its_source_or_as_an_estimate(archive: Archive) -> None:
    await archive.write(*everything(archive))
    recording = await archive.reader.show(str(TALK))
    assert recording is not None
    assert "About 88% right by the engine's estimate" in printed(recording)
    score = ScoreCompleted(media_id=TALK, source="talk.txt", result_id=named("v4"), version=1, accuracy=0.962)
    refused = ScoreCompleted(media_id=TALK, source="empty.txt", reason="empty_reference", message="No words.")
    await archive.write(score, refused)
    recording = await archive.reader.show(str(TALK))
    assert recording is not None
    assert recording["accuracy"] == {
        "accuracy": 0.962,
        "accuracy_source": "talk.txt",
        "accuracy_estimate": 0.875,
    }
    assert "96.2% of the words are right, compared with talk.txt" in printed(recording)


def printed(recording: dict[str, Any]) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(recording_panel(recording))
    return console.export_text()


async def test_a_rejected_file_is_shown_with_its_reason(archive: Archive) -> None:
    broken = named("broken")
    await archive.write(
        MediaRejected(
            media_id=broken,
            uri="file:///music/bad%FF.mp3",
            file_name="bad\ufffd.mp3",
            reason="truncated",
            message="The file ends too early.",
            job=job("ingest", reason="truncated", engine=None),
        )
    )
    assert await archive.reader.find("/music/bad\udcff.mp3") == str(broken)
    shown = await archive.reader.show(str(broken))
    assert shown is not None
    assert shown["media"]["status"] == "rejected"
    assert shown["media"]["tags"] is None
    assert {
        name: shown[name] for name in ("music", "transcript", "speakers", "tracklist", "rename", "highlights")
    } == (dict.fromkeys(("music", "transcript", "speakers", "tracklist", "rename", "highlights")))
    assert [(each["status"], each["reason"]) for each in shown["jobs"]] == [("rejected", "truncated")]
    assert shown["in_progress"] == []


async def test_a_recording_is_found_by_id_prefix_and_by_each_of_its_places(
    archive: Archive, stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    twin = UUID("0198aaaa-1111-7000-8000-000000000002")
    copy = tmp_path / "copy of it.mp4"
    await archive.write(
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
    ids = (str(TALK), str(TALK).upper(), "0198aaaa")
    places = ("/music/my talk.mp4", "file:///music/my%20talk.mp4", str(copy), "copy of it.mp4")
    for wanted in ids + places:
        assert await archive.reader.find(wanted) == str(TALK), wanted
    (tmp_path / "link.mp4").symlink_to(copy)
    assert await archive.reader.find("link.mp4") == str(TALK)
    for wanted in ("0198aaa", "0198bbbb", "/music/other.mp4", "", "my talk.mp4"):
        assert await archive.reader.find(wanted) is None, wanted
    shown = await archive.reader.show(str(TALK))
    assert shown is not None
    assert [each["reason"] for each in shown["jobs"]] == [None]
    assert shown["places"] == sorted(["file:///music/my%20talk.mp4", copy.as_uri()])
    printed = await run_command(stack.project, "show", str(copy))
    assert f"One recording in 2 places: file:///music/my%20talk.mp4, {copy.as_uri()}" in printed.out
    listed = await run_command(stack.project, "jobs", "list")
    assert "copy of it.mp4, a copy of /music/my talk.mp4" in " ".join(listed.out.split())

    await archive.write(ready(twin).model_copy(update={"media": media(twin, "file:///music/twin.mp4")}))
    assert await archive.reader.find("0198aaaa") is None
    assert await archive.reader.find(str(twin)) == str(twin)


async def test_the_newest_file_at_a_place_is_found(archive: Archive) -> None:
    await archive.write(ready())
    await archive.write(ready(named("replaced")))
    assert await archive.reader.find("/music/my talk.mp4") == str(named("replaced"))


async def test_jobs_are_listed_with_their_files(archive: Archive, golden: Golden) -> None:
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
    await archive.write(ready(), failed)
    (found,) = await archive.reader.jobs(status="failed")
    assert found["created_at"] == found["updated_at"]
    without_times = {name: value for name, value in found.items() if not name.endswith("_at")}
    golden.check(DATA / "failed_job.json", without_times)
    assert len(await archive.reader.jobs()) == 2


async def test_jobs_list_is_one_line_for_each_job_and_names_rejections(
    archive: Archive, stack: Stack
) -> None:
    broken = MediaRejected(
        media_id=named("broken"),
        uri="file:///music/two%0Alines%20%5B%2Fb%5D.mp3",
        file_name="two\nlines:[/b].mp3",
        reason="truncated",
        message="The file ends too early.",
        job=job("ingest", reason="truncated", engine=None),
    )
    await archive.write(ready(), broken)
    listed = await run_command(stack.project, "jobs", "list")
    rejected, completed = [
        await run_command(stack.project, "jobs", "list", "--status", status, "--json")
        for status in ("rejected", "completed")
    ]
    (line,) = (line for line in listed.out.splitlines() if "truncated" in line)
    assert line.split()[1:] == ["ingest", "rejected", "truncated", r"two\nlines:[/b].mp3", "2.50"]
    assert len(listed.out.strip().splitlines()) == 3
    assert [each["file_name"] for each in rejected.json["jobs"]] == ["two\nlines:[/b].mp3"]
    assert [each["media_id"] for each in completed.json["jobs"]] == [str(TALK)]
    shown = await run_command(stack.project, "show", str(named("broken")))
    assert (shown.code, r"two\nlines:[/b].mp3" in shown.out) == (0, True)
    assert "The file ends too early." in shown.out


async def test_show_names_the_services_that_have_not_finished(archive: Archive, stack: Stack) -> None:
    progressed = JobProgressed(
        media_id=TALK,
        job_id=named("job"),
        service="transcription",
        status="processing",
        progress=0.4,
        stage="speech",
        attempt=1,
    )
    await archive.write(ready(), progressed)
    shown = await run_command(stack.project, "show", str(TALK))
    assert "Still in progress: analysis (waiting), transcription (processing 40%), " in shown.out
    recording = await archive.reader.show(str(TALK))
    assert recording is not None
    assert [each["service"] for each in recording["in_progress"]] == [
        *("analysis", "transcription", "diarization", "tracklist", "highlights")
    ]


def test_highlights_is_in_progress_until_the_transcript_is_there() -> None:
    ended = [{"service": name, "status": "completed"} for name in ("diarization", "highlights")]
    failed = {"service": "transcription", "status": "failed"}
    assert [each["service"] for each in in_progress("meeting", ended)] == ["transcription", "highlights"]
    assert in_progress("meeting", [*ended, failed]) == []
    assert in_progress("music", []) == [
        {"service": name, "status": "waiting", "progress": None, "stage": None}
        for name in ("analysis", "tracklist")
    ]


async def test_file_that_waits_for_its_ingest_is_not_called_unknown(archive: Archive, stack: Stack) -> None:
    uri = f"file:///music/{uuid4()}.mp3"
    await stack.send(envelope(IngestRequested(uri=uri), source="test").to_record())
    answer = await run_command(stack.project, "show", uri)
    assert (answer.code, "is not ingested yet. See: phonograph jobs list" in answer.err) == (1, True)
    unknown = await run_command(stack.project, "show", f"{uri}.other")
    assert (unknown.code, "is unknown" in unknown.err) == (1, True)


async def test_versions_are_those_of_the_inventories(archive: Archive) -> None:
    await archive.write(ready(), transcription(archive, "v4", "v4", None))
    versions = await archive.reader.versions()
    assert versions == {
        "media": {str(TALK): 1},
        "music": {},
        "transcript": {str(named("v4")): 1},
        "speakers": {},
        "person": {},
        "recording": {},
        "tracklist": {},
        "segment": {},
        "clip": {},
    }


async def test_a_missing_document_is_named(archive: Archive) -> None:
    event = transcription(archive, "v1", "v1", None)
    assert event.document_uri is not None
    path = archive.objects.local_path(event.document_uri)
    assert path is not None
    path.unlink()
    await archive.write(ready(), event)
    with pytest.raises(PermanentError, match=r"v1\.json"):
        await archive.reader.show(str(TALK))


async def test_an_unknown_recording_is_none(archive: Archive) -> None:
    assert await archive.reader.show(str(TALK)) is None
