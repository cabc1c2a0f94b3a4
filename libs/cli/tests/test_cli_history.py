"""Versions of results in the graph: `history`, and `show` and `export` with `--version`."""

from typing import Any

import pytest
from tests.support.stack import Stack
from tests.support.system import run_command

from phonograph_cli.errors import UnknownVersionError
from phonograph_cli.recordings import RecordingReader, WantedVersion
from phonograph_events import DiarizationCompleted, JobFailed, Service, SpeakerSummary, TracklistCompleted
from phonograph_events.documents import (
    SpeakersDocument,
    Track,
    TracklistDocument,
    TranscriptDocument,
    TranscriptSegment,
    Turn,
)

from .test_cli_recordings import TALK, Archive, archive, job, media, named, ready, transcription

__all__ = ["archive"]


@pytest.fixture
def shelf(archive: Archive, stack: Stack) -> Archive:
    """The graph with the object store that commands read."""
    objects = stack.project.objects
    return Archive(RecordingReader(archive.reader._driver, objects), objects, archive.context)


async def write_transcript(
    archive: Archive, name: str, version: int, text: str, *, parent: str | None = None, **used: Any
) -> None:
    """Write a transcript, with speakers if it has a parent."""
    level = "v1" if parent is None else "v4"
    segments = [TranscriptSegment(start=0, end=1, text=text, speaker=parent and "S1")]
    document = TranscriptDocument(
        pipeline_version=level, engine="test", model="m", language="en", text=text, segments=segments
    )
    event = transcription(archive, name, level, None).model_copy(
        update={
            "version": version,
            "parent_result_id": None if parent is None else named(parent),
            "document_uri": archive.store(name, document),
            "job": job("transcription", kind="transcribe" if parent is None else "merge", model="m", **used),
        }
    )
    await archive.write(event, version=version)


async def spoken(archive: Archive) -> str | None:
    shown = await archive.reader.show(str(TALK))
    return shown and shown["transcript"]["text"]


async def test_newest_recognition_is_current_with_its_speakers(shelf: Archive, stack: Stack) -> None:
    """Speakers that are added late to an old transcript do not make it current again (T1-14)."""
    await shelf.write(ready())
    await write_transcript(shelf, "first", 1, "old words")
    await write_transcript(shelf, "first-with-speakers", 2, "old words, S1", parent="first")
    assert await spoken(shelf) == "old words, S1"
    await write_transcript(shelf, "second", 3, "new words", requested={"model": "m", "requested_by": "anna"})
    assert await spoken(shelf) == "new words"
    await write_transcript(shelf, "late", 4, "old words, late", parent="first")
    assert await spoken(shelf) == "new words"
    await write_transcript(shelf, "second-with-speakers", 5, "new words, S1", parent="second")
    assert await spoken(shelf) == "new words, S1"

    history = await shelf.reader.history(str(TALK))
    assert [(e["version"], e["level"], e["parent"], e["current"]) for e in history] == [
        (1, "v1", None, False),
        (2, "v4", 1, False),
        (3, "v1", None, False),
        (4, "v4", 1, False),
        (5, "v4", 3, True),
    ]
    assert [entry["requested_by"] for entry in history] == [None, None, "anna", None, None]

    for version, text in ((1, "old words"), (2, "old words, S1"), (3, "new words")):
        shown = await run_command(stack.project, "show", str(TALK), "--version", str(version), "--json")
        assert shown.json["transcript"]["text"] == text
    printed = await run_command(stack.project, "show", str(TALK), "--version", "1")
    assert "With version 1 of the transcription." in printed.out
    listed = await run_command(stack.project, "history", str(TALK))
    assert [line.split()[:2] for line in listed.out.splitlines()[1:]] == [
        ["transcription", str(number)] for number in range(1, 6)
    ]
    assert "anna" in listed.out


async def test_versions_of_other_services(shelf: Archive, stack: Stack) -> None:
    """A replaced diarization and tracklist leave the graph of a recording, but can be read and exported."""
    await shelf.write(ready())
    for version, label in ((1, "A"), (2, "B")):
        turns = SpeakersDocument(engine="e", count=1, turns=[Turn(start=0, end=version, speaker=label)])
        tracks = TracklistDocument(
            source_type="cue", tracks=[Track(position=1, start_time=0, end_time=9, artist="X", title=label)]
        )
        diarization = DiarizationCompleted(
            media_id=TALK,
            media=media(),
            job=job("diarization"),
            meeting_id=named(f"meeting {version}"),
            speaker_count=1,
            turn_count=1,
            speakers=[SpeakerSummary(speaker_id=named(label), label=label, seconds=1.0)],
            document_uri=shelf.store(f"speakers-{version}", turns),
        )
        tracklist = TracklistCompleted(
            media_id=TALK,
            media=media(),
            job=job("tracklist"),
            recording_id=TALK,
            tracklist_id=named(f"tracklist {version}"),
            track_count=1,
            document_uri=shelf.store(f"tracklist-{version}", tracks),
        )
        await shelf.write(diarization, tracklist, version=version)
    shown = await shelf.reader.show(str(TALK))
    assert shown is not None
    older = await shelf.reader.show(str(TALK), WantedVersion(Service.DIARIZATION, 1))
    assert older is not None
    for each, label in ((shown, "B"), (older, "A")):
        assert each["speakers"]["turns"][0]["speaker"] == label
        assert [person["label"] for person in each["speakers"]["people"]] == [label]
    assert shown["tracklist"]["tracks"][0]["title"] == "B"
    assert (await shelf.reader.versions())["tracklist"] == {str(named("tracklist 2")): 1}
    rttm = await run_command(stack.project, "export", str(TALK), "--format", "rttm", "--version", "1")
    assert " 1.000 " in rttm.out
    assert " A " in rttm.out
    cue = await run_command(stack.project, "export", str(TALK), "--format", "cue", "--version", "1")
    assert 'TITLE "A"' in cue.out
    with pytest.raises(UnknownVersionError, match="no version 3 of the tracklist"):
        await shelf.reader.show(str(TALK), WantedVersion(Service.TRACKLIST, 3))
    unknown = await run_command(
        stack.project, "show", str(TALK), "--version", "7", "--service", "diarization"
    )
    assert (unknown.code, "no version 7 of the diarization" in unknown.err) == (1, True)
    wrong = await run_command(stack.project, "show", str(TALK), "--version", "1", "--service", "ingest")
    assert (wrong.code, "There is no service with results 'ingest'" in wrong.err) == (2, True)


async def test_refused_request_is_a_job_of_no_recording(archive: Archive, stack: Stack) -> None:
    refused = JobFailed(
        media_id=named("unknown"),
        job_id=named("refused"),
        service="transcription",
        kind="rerun",
        reason="unknown_recording",
        message="transcription does not know the recording.",
        attempt=1,
        final=True,
        requested={"model": "small", "requested_by": "anna"},
    )
    await archive.write(ready(), refused)
    assert await archive.reader.show(str(named("unknown"))) is None
    shown = await run_command(stack.project, "jobs", "list", "--status", "failed", "--json")
    (listed,) = shown.json["jobs"]
    assert (listed["kind"], listed["reason"], listed["file_name"]) == ("rerun", "unknown_recording", None)
    assert listed["requested"] == {"model": "small", "requested_by": "anna"}
    retried = await run_command(stack.project, "jobs", "retry", str(named("refused")))
    assert (retried.code, "was refused" in retried.err) == (1, True)
