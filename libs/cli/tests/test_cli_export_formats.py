"""One recording in every format, compared with files written by hand."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pysubs2
import pytest
import webvtt

from phonograph_cli.choices import ExportFormat
from phonograph_cli.errors import NothingToExportError
from phonograph_cli.export_formats import clock, export

DATA = Path(__file__).parent / "data"
FIELD = Path(__file__).parents[4] / "shared" / "field"
HAND_WRITTEN = [each for each in ExportFormat if each is not ExportFormat.JSON]


def spoken(start: float, end: float, text: str, speaker: str | None = None) -> dict[str, Any]:
    return {"start": start, "end": end, "text": text, "speaker": speaker, "confidence": None, "words": []}


@pytest.fixture
def night() -> Any:
    """A mix of two hours with announcements: track starts before and after minute 100, names with quotes."""
    return json.loads((DATA / "night.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("export_format", HAND_WRITTEN)
def test_recording_in_every_format(night: Any, export_format: ExportFormat) -> None:
    assert export(night, export_format) == (DATA / f"night.{export_format}").read_text(encoding="utf-8")


def test_json_equals_show(night: Any) -> None:
    written = export(night, ExportFormat.JSON)
    assert json.loads(written) == night
    assert "Ça va?" in written


@pytest.mark.parametrize(
    ("export_format", "document", "service", "empty"),
    [
        (ExportFormat.SRT, "transcript", "transcription", {"segments": []}),
        (ExportFormat.VTT, "transcript", "transcription", {"segments": []}),
        (ExportFormat.TXT, "transcript", "transcription", {"segments": []}),
        (ExportFormat.RTTM, "speakers", "diarization", {"turns": []}),
        (ExportFormat.CUE, "tracklist", "tracklist", {"tracks": []}),
    ],
)
def test_missing_result_is_an_error_with_its_reason(
    night: Any, export_format: ExportFormat, document: str, service: str, empty: dict[str, Any]
) -> None:
    night["media"]["file_name"] = "quiet.wav"
    night["jobs"] = [
        {"service": "analysis", "reason": "silence"},
        {"service": service, "reason": "engine_died"},
        {"service": service, "reason": "no_speech"},
    ]
    for nothing in (None, empty):
        night[document] = nothing
        with pytest.raises(NothingToExportError, match=r"quiet\.wav has no [a-z ]+ \(no_speech\)\."):
            export(night, export_format)
    night["jobs"] = []
    with pytest.raises(NothingToExportError, match=r"quiet\.wav has no [a-z ]+\.$"):
        export(night, export_format)


def test_page_without_results_has_name_and_duration(night: Any) -> None:
    night |= dict.fromkeys(["music", "transcript", "speakers", "tracklist", "highlights"])
    assert export(night, ExportFormat.MD) == '# Night "Late" Mix.mp3\n\nDuration 2:03:04, audio/mpeg.\n'
    night["media"]["duration_s"] = None
    assert export(night, ExportFormat.MD) == '# Night "Late" Mix.mp3\n'


@pytest.mark.parametrize(
    ("mime_type", "file_type"), [("audio/x-aiff", "AIFF"), ("audio/flac", "WAVE"), ("audio/mpeg", "MP3")]
)
def test_cue_sheet_has_its_own_names_of_file_types(night: Any, mime_type: str, file_type: str) -> None:
    night["media"]["mime_type"] = mime_type
    assert export(night, ExportFormat.CUE).splitlines()[0].endswith(f'" {file_type}')


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (3599.4, "59:59"), (3600, "1:00:00"), (36_001, "10:00:01")],
)
def test_clock_omits_hours_below_one_hour(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_tempo_without_a_key(night: Any) -> None:
    night["music"] |= {"key": None, "scale": None}
    assert "\n124.0 BPM.\n" in export(night, ExportFormat.MD)


def test_markup_of_subtitle_formats_is_escaped(night: Any) -> None:
    night["transcript"]["segments"][0]["text"] = "It is {x} <b & c --> d."
    # Players hide what is in braces in SRT.
    assert "S1: It is (x) <b & c --> d." in export(night, ExportFormat.SRT)
    assert "<v S1>It is {x} &lt;b &amp; c --&gt; d." in export(night, ExportFormat.VTT)


@pytest.mark.parametrize("export_format", [ExportFormat.SRT, ExportFormat.VTT])
def test_every_cue_of_an_export_can_be_read_on_a_screen(night: Any, export_format: ExportFormat) -> None:
    """One breath of 41 s, a reply within it, two segments without length, and one without text."""
    breath = " ".join(f"word{number}" for number in range(80))
    night["transcript"]["segments"] = [
        spoken(0.0, 41.2, breath, "S1"),
        spoken(50.0, 50.0, "No.", "S1"),
        spoken(45.0, 45.0, "Yes.", "S2"),
        spoken(20.0, 20.4, "Hm & <so>.", "S2"),
        spoken(46.0, 49.0, "  ", "S2"),
    ]
    cues = pysubs2.SSAFile.from_string(export(night, export_format), format_=export_format.value)

    assert all(1000 <= cue.end - cue.start <= 7000 for cue in cues)
    assert all(before.end <= after.start for before, after in pairwise(cues))
    lines = [cue.plaintext.split("\n") for cue in cues]
    assert all(len(cue) <= 2 and all(0 < len(line) <= 42 for line in cue) for cue in lines)
    words = " ".join(line for cue in lines for line in cue).split()
    assert [word for word in words if word.startswith("word")] == breath.split()
    if export_format is ExportFormat.SRT:
        assert words[-4:] == ["S2:", "Yes.", "S1:", "No."]
    else:
        tagged = webvtt.from_string(export(night, export_format))
        assert [cue.voice for cue in tagged][-2:] == ["S2", "S1"]
        assert "<v S2>Hm &amp; &lt;so&gt;." in export(night, export_format)


def test_cues_of_a_field_case_are_in_order_and_last() -> None:
    path = FIELD / "F22-cues-of-an-export" / "shown.json"
    if not path.exists():
        pytest.skip(f"{path} does not exist; test_every_cue_of_an_export_can_be_read_on_a_screen is alike")
    shown = json.loads(path.read_text())
    cues = pysubs2.SSAFile.from_string(export(shown, ExportFormat.SRT), format_="srt")

    assert all(cue.start < cue.end for cue in cues)
    assert [cue.start for cue in cues] == sorted(cue.start for cue in cues)
    text = " ".join(export(shown, ExportFormat.SRT).split())
    assert all(segment["text"] in text for segment in shown["transcript"]["segments"])


def test_lines_of_other_exports_are_in_the_order_of_time(night: Any) -> None:
    night["transcript"]["segments"] = [spoken(9, 10, "Later."), spoken(5, 5, ""), spoken(1, 2, "Earlier.")]
    night["speakers"]["turns"] = [
        {"start": 9.0, "end": 10.0, "speaker": "S2"},
        {"start": 4.0, "end": 4.0, "speaker": "S3"},
        {"start": 1.0, "end": 2.0, "speaker": "S1"},
    ]
    assert export(night, ExportFormat.TXT) == "Earlier.\nLater.\n"
    assert export(night, ExportFormat.MD).endswith("`0:01` Earlier.\n\n`0:09` Later.\n")
    assert [line.split()[7] for line in export(night, ExportFormat.RTTM).splitlines()] == ["S1", "S2"]


@pytest.mark.parametrize(
    ("file_name", "field"), [("Ann\u00a0Lee\ttalk.wav", "Ann_Lee_talk"), ("talk", "talk")]
)
def test_name_is_one_field_of_rttm(night: Any, file_name: str, field: str) -> None:
    night["media"]["file_name"] = file_name
    fields = export(night, ExportFormat.RTTM).splitlines()[0].split()
    assert (len(fields), fields[1]) == (10, field)


def test_title_with_a_line_break_is_one_line_of_a_cue_sheet(night: Any) -> None:
    night["tracklist"]["tracks"][0]["title"] = "One\nTwo"
    assert '    TITLE "One Two"\n' in export(night, ExportFormat.CUE)
