"""Exports on request: the file in the object store, its row, and the event that announces it."""

import hashlib
import json

import pysubs2
import pytest
import webvtt
from pyannote.database.util import load_rttm
from tests.support.transcripts import Archive, media_ref

from phonograph_events import ExportCompleted, ExportFormat, ExportRequested, uuid7
from phonograph_events.documents import TranscriptDocument, Turn
from phonograph_events.transcript_files import TranscriptSummary
from phonograph_transcription.domain.transcript import Segment, Word

SEGMENTS = (
    Segment(0.0, 2.0, "Shall we begin?", speaker="Ann <1>"),
    Segment(
        2.5, 4.0, "Yes & no.", (Word("Yes", 2.5, 2.8, 0.9, "Bob"), Word("no", 3, 4, 0.9, "Bob")), 0.9, "Bob"
    ),
)
TURNS = (Turn(start=0.0, end=2.0, speaker="Ann"), Turn(start=2.5, end=4.0, speaker="Bob"))


@pytest.fixture
def archive(stack, tmp_path, correlation_id):
    return Archive(stack, tmp_path, correlation_id)


async def ask(archive, *requests):
    """Return the answers by the ids of their requests."""
    return {answer.request_id: answer for answer in await archive.ask(ExportCompleted, *requests)}


async def test_every_format_is_written_recorded_and_announced(archive, tmp_path):
    """Other libraries read the files back. Shows T0-18 and C-26."""
    media = media_ref()
    result_id = await archive.add(media, *SEGMENTS, turns=TURNS)
    answers = await ask(
        archive,
        *(ExportRequested(media_id=media.media_id, format=each, request_id=each) for each in ExportFormat),
    )
    statement = "SELECT format, id, file_path, file_size, sha256 FROM exports WHERE transcript_id = :id"
    rows = {row[0]: tuple(row[1:]) for row in await archive.execute(statement, id=result_id)}
    files = {}
    for name, answer in answers.items():
        data = archive.objects.get(answer.uri)
        assert rows[name] == (answer.export_id, answer.uri, len(data), hashlib.sha256(data).hexdigest())
        assert (answer.size, answer.sha256) == rows[name][2:]
        assert (answer.result_id, answer.version, answer.reason) == (result_id, 1, None)
        files[name] = data.decode()
    assert set(files) == set(rows) == set(ExportFormat)

    srt = pysubs2.SSAFile.from_string(files["srt"], format_="srt")
    assert [(cue.start, cue.end, cue.plaintext) for cue in srt] == [
        (0, 2000, "Ann <1>: Shall we begin?"),
        (2500, 4000, "Bob: Yes & no."),
    ]
    vtt = webvtt.from_string(files["vtt"])
    assert [(cue.start, cue.voice, cue.text) for cue in vtt] == [
        ("00:00:00.000", "Ann &lt;1&gt;", "Shall we begin?"),
        ("00:00:02.500", "Bob", "Yes &amp; no."),
    ]
    (tmp_path / "a.rttm").write_text(files["rttm"])
    spoken = load_rttm(tmp_path / "a.rttm")["a_talk"]
    assert [(turn.start, turn.end, label) for turn, _, label in spoken.itertracks(yield_label=True)] == [
        (0.0, 2.0, "Ann"),
        (2.5, 4.0, "Bob"),
    ]
    assert files["txt"] == "Ann <1>: Shall we begin?\nBob: Yes & no.\n"
    assert TranscriptDocument.model_validate_json(files["json"]).segments[1].words[0].word == "Yes"
    assert files["md"].startswith("# a talk.wav\n\n## Transcript\n\n**Ann <1>** `0:00` Shall we begin?\n")
    assert answers["summary"].uri.endswith(".summary.json")
    summary = TranscriptSummary.model_validate(json.loads(files["summary"]))
    assert (summary.language, summary.words, summary.speech_s) == ("en", 5, 3.5)
    shares = {each.speaker: (each.seconds, each.turns, each.words) for each in summary.speakers}
    assert shares == {"Ann": (2.0, 1, 0), "Bob": (1.5, 1, 2), "Ann <1>": (0.0, 0, 3)}
    assert [(each.speaker, each.text) for each in summary.questions] == [("Ann <1>", "Shall we begin?")]


async def test_a_request_that_cannot_be_met_is_answered_with_its_reason(archive):
    media, other = media_ref(), uuid7()
    media_id = media.media_id
    await archive.add(media)
    answers = await ask(
        archive,
        ExportRequested(media_id=media_id, format="docx", request_id="format"),
        ExportRequested(media_id=other, format="srt", request_id="recording"),
        ExportRequested(media_id=media_id, format="srt", result_id=other, request_id="version"),
        ExportRequested(media_id=media_id, format="srt", request_id="empty"),
        ExportRequested(media_id=media_id, format="rttm", request_id="silent"),
    )
    assert {name: answer.reason for name, answer in answers.items()} == {
        "format": "unknown_format",
        "recording": "no_transcript",
        "version": "no_transcript",
        "empty": "nothing_to_export",
        "silent": "nothing_to_export",
    }
    assert all(answer.message and answer.uri is None for answer in answers.values())


async def test_an_older_version_can_be_exported(archive):
    media = media_ref()
    first = await archive.add(media, *SEGMENTS)
    second = await archive.add(media, Segment(0.0, 1.0, "Again."))
    media_id = media.media_id
    answers = await ask(
        archive,
        ExportRequested(media_id=media_id, format="txt", result_id=first, request_id="first"),
        ExportRequested(media_id=media_id, format="txt", request_id="second"),
    )
    assert archive.objects.get(answers["second"].uri) == b"Again.\n"
    assert archive.objects.get(answers["first"].uri).startswith(b"Ann")
    assert [(answers[name].result_id, answers[name].version) for name in ("first", "second")] == [
        (first, 1),
        (second, 2),
    ]
