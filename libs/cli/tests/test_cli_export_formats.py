"""One recording in every format, compared with files written by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from phonograph_cli.choices import ExportFormat
from phonograph_cli.errors import NothingToExportError
from phonograph_cli.export_formats import clock, export

DATA = Path(__file__).parent / "data"
HAND_WRITTEN = [each for each in ExportFormat if each is not ExportFormat.JSON]


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
    assert "S1: It is {x} <b & c --> d." in export(night, ExportFormat.SRT)
    assert "S1: It is {x} &lt;b &amp; c --&gt; d." in export(night, ExportFormat.VTT)


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
