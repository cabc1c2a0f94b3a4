"""The service on real servers: from the event of a new recording to its tracklist and proposed name."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import text
from tests.support.stack import Stack, running

from phonograph_events import (
    Chapter,
    Envelope,
    Event,
    JobSummary,
    MediaReady,
    MediaRef,
    MusicAnalyzed,
    RenameProposed,
    Service,
    Stream,
    TracklistCompleted,
    uuid7,
)
from phonograph_runtime.app import ServiceApp
from phonograph_tracklist.config import Settings
from phonograph_tracklist.main import create_app

JOB = JobSummary(job_id=uuid4(), service="test")
CUE = """\
PERFORMER "DJ Example"
TITLE "Two Hours"
FILE "two hours.mp3" MP3
  TRACK 01 AUDIO
    TITLE "First"
    PERFORMER "A"
    INDEX 01 00:00:00
  TRACK 02 AUDIO
    TITLE "Second"
    PERFORMER "B"
    INDEX 01 119:58:37
"""


def media(path: Path, **changes: Any) -> MediaRef:
    return MediaRef.model_validate(
        {
            "media_id": uuid7(),
            "uri": path.as_uri(),
            "file_name": path.name,
            "file_size": 1,
            "kind": "audio",
            "mime_type": "audio/mpeg",
            "duration_s": 7300.0,
            "file_hash": uuid4().hex * 2,
            "secondary_hash": uuid4().hex,
            "content_fp": "pcm16k1:x",
            "rendition_uri": "file:///x.wav",
        }
        | changes
    )


def ready(file: MediaRef, **fields: Any) -> MediaReady:
    return MediaReady(
        media_id=file.media_id, media=file, container="mp3", audio=Stream(codec="mp3"), job=JOB, **fields
    )


def analyzed(file: MediaRef, **features: Any) -> MusicAnalyzed:
    return MusicAnalyzed(
        media_id=file.media_id, media=file, job=JOB, result_id=uuid7(), algorithm_build="test", **features
    )


def of_type(found: list[Envelope], kind: type[Event], file: MediaRef) -> list[Any]:
    return [
        event.data for event in found if isinstance(event.data, kind) and event.data.media_id == file.media_id
    ]


async def select(app: ServiceApp, query: str, **values: Any) -> list[tuple[Any, ...]]:
    async with app.database.transaction() as transaction:
        return [tuple(row) for row in await transaction.session.execute(text(query), values)]


async def test_from_file_to_tracklist_name_and_metadata(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """A cue file of two hours, tags, and features that arrive before the file (K-03, K-04, K-05)."""
    recording = media(tmp_path / "two hours.mp3")
    (tmp_path / "two hours.cue").write_text(CUE)
    app = create_app(Settings(**stack.settings(Service.TRACKLIST, tmp_path)))
    async with running(app):
        await stack.publish(analyzed(recording, bpm=124.5, key="A"), correlation_id=correlation_id)
        tags = {"artist": ["DJ Example"], "title": ["Two Hours"], "genre": ["House; Techno"]}
        request = await stack.publish(ready(recording, tags=tags), correlation_id=correlation_id)
        await stack.send(request.to_record())
        found = await stack.collect(
            lambda events: all(
                of_type(events, kind, recording) for kind in (TracklistCompleted, RenameProposed)
            ),
            correlation_id=correlation_id,
        )
        (completed,) = of_type(found, TracklistCompleted, recording)
        (proposed,) = of_type(found, RenameProposed, recording)
        assert completed.source_type == "cue_file"
        assert [(t.position, t.start_time, t.end_time, t.artist, t.title) for t in completed.tracks] == [
            (1, 0, 7198 + 37 / 75, "A", "First"),
            (2, 7198 + 37 / 75, 7300, "B", "Second"),
        ]
        assert completed.job.reason is None
        assert {entry.key: entry.value for entry in completed.metadata} == {
            "artist": "DJ Example",
            "genre": '["House","Techno"]',
            "title": "Two Hours",
        }
        document = json.loads(await app.objects.get_async(completed.document_uri))
        assert (document["title"], len(document["tracks"])) == ("Two Hours", 2)
        assert proposed.proposed_filename == "DJ Example - Two Hours.mp3"
        keys = await select(
            app, "SELECT key FROM metadata WHERE recording_id = :id ORDER BY key", id=recording.media_id
        )
        assert [key for (key,) in keys] == ["artist", "bpm", "genre", "key", "title"]
        jobs = await select(
            app, "SELECT status FROM tracklist_jobs WHERE media_file_id = :id", id=recording.media_id
        )
        assert jobs == [("completed",)]


async def test_missing_tracklist_is_published_with_a_reason(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """No cue sheet, an invalid one, chapters, and a profile without tracklists."""
    bare = media(tmp_path / "bare.mp3")
    broken = media(tmp_path / "broken.mp3")
    (tmp_path / "broken.cue").write_text(CUE.replace("INDEX 01 00:00:00", "").replace("58:37", "58:99"))
    chaptered = media(tmp_path / "chapters.mp3")
    meeting = media(tmp_path / "meeting.mp3", profile="meeting")
    marks = [Chapter(start=0, end=10, title="A - One"), Chapter(start=10, end=20, title="B - Two")]
    async with running(create_app(Settings(**stack.settings(Service.TRACKLIST, tmp_path)))) as app:
        for request in (ready(meeting), ready(bare), ready(broken), ready(chaptered, chapters=marks)):
            await stack.publish(request, correlation_id=correlation_id)
        found = await stack.collect(
            lambda events: all(
                of_type(events, TracklistCompleted, each) for each in (bare, broken, chaptered)
            ),
            correlation_id=correlation_id,
        )
        results = [of_type(found, TracklistCompleted, each)[0] for each in (bare, broken, chaptered)]
        assert [(r.job.reason, r.source_type, len(r.tracks)) for r in results] == [
            ("no_tracklist", None, 0),
            ("bad_cue", None, 0),
            (None, "chapters", 2),
        ]
        assert [r.document_uri is None for r in results] == [True, True, False]
        assert results[1].warnings == [
            "broken.cue: Line 11: Frames go from 0 to 74; '119:58:99' has 99.",
        ]
        assert of_type(found, TracklistCompleted, meeting) == []
        recordings = await select(app, "SELECT count(*) FROM recordings WHERE id = :id", id=meeting.media_id)
        assert recordings == [(0,)]


async def test_files_of_one_folder_never_get_one_name(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """Eight copies of a song under other names, next to a file that has the name already."""
    (tmp_path / "A - T.mp3").touch()
    recordings = [media(tmp_path / f"track {number}.mp3") for number in range(8)]
    tags = {"artist": ["A"], "title": ["T"], "lyrics": ["la " * 9_000]}
    async with running(create_app(Settings(**stack.settings(Service.TRACKLIST, tmp_path)))):
        for recording in recordings:
            await stack.publish(ready(recording, tags=tags), correlation_id=correlation_id)
        found = await stack.collect(
            lambda events: all(of_type(events, RenameProposed, each) for each in recordings),
            correlation_id=correlation_id,
        )
    names = {of_type(found, RenameProposed, each)[0].proposed_filename for each in recordings}
    assert names == {f"A - T ({number}).mp3" for number in range(2, 10)}
    (completed,) = of_type(found, TracklistCompleted, recordings[0])
    assert completed.warnings == ["The tag 'lyrics' is cut to 4000 characters."]
