"""One recording in every format, beside what a person would write by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from phonograph_cli.exporting import Format, NothingToExportError, clock, export

DATA = Path(__file__).parent / "data"
WRITTEN = [form for form in Format if form is not Format.JSON]


@pytest.fixture
def night() -> Any:
    """A mix of two hours with announcements: track starts before and after minute 100, names with quotes."""
    return json.loads((DATA / "night.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("form", WRITTEN)
def test_night_in_every_format(night: Any, form: Format) -> None:
    assert export(night, form) == (DATA / f"night.{form}").read_text(encoding="utf-8")


def test_json_is_what_show_gives(night: Any) -> None:
    written = export(night, Format.JSON)
    assert json.loads(written) == night
    assert "Ça va?" in written


@pytest.mark.parametrize(
    ("form", "part", "service", "empty"),
    [
        (Format.SRT, "transcript", "transcription", {"segments": []}),
        (Format.VTT, "transcript", "transcription", {"segments": []}),
        (Format.TXT, "transcript", "transcription", {"segments": []}),
        (Format.RTTM, "speakers", "diarization", {"turns": []}),
        (Format.CUE, "tracklist", "tracklist", {"tracks": []}),
    ],
)
def test_who_asks_for_what_is_not_there_is_told_why(
    night: Any, form: Format, part: str, service: str, empty: dict[str, Any]
) -> None:
    night["media"]["file_name"] = "quiet.wav"
    night["jobs"] = [
        {"service": "analysis", "reason": "silence"},
        {"service": service, "reason": "engine_died"},
        {"service": service, "reason": "no_speech"},
    ]
    for nothing in (None, empty):
        night[part] = nothing
        with pytest.raises(NothingToExportError, match=r"quiet\.wav has no [a-z ]+ \(no_speech\)\."):
            export(night, form)
    night["jobs"] = []
    with pytest.raises(NothingToExportError, match=r"quiet\.wav has no [a-z ]+\.$"):
        export(night, form)


def test_page_of_a_recording_in_which_nothing_was_found_holds_its_name(night: Any) -> None:
    night |= dict.fromkeys(["music", "transcript", "speakers", "tracklist", "highlights"])
    assert export(night, Format.MD) == '# Night "Late" Mix.mp3\n\nDuration 2:03:04, audio/mpeg.\n'
    night["media"]["duration_s"] = None
    assert export(night, Format.MD) == '# Night "Late" Mix.mp3\n'


@pytest.mark.parametrize(
    ("mime_type", "kind"), [("audio/x-aiff", "AIFF"), ("audio/flac", "WAVE"), ("audio/mpeg", "MP3")]
)
def test_cue_sheet_names_the_kind_of_file_in_its_own_words(night: Any, mime_type: str, kind: str) -> None:
    night["media"]["mime_type"] = mime_type
    assert export(night, Format.CUE).splitlines()[0].endswith(f'" {kind}')


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.6, "1:00"), (3599.4, "59:59"), (3600, "1:00:00"), (36_001, "10:00:01")],
)
def test_clock_shows_hours_only_where_there_are_some(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_beat_without_a_key(night: Any) -> None:
    night["music"] |= {"key": None, "scale": None}
    assert "\n124.0 BPM.\n" in export(night, Format.MD)


def test_signs_of_subtitle_formats_are_plain_text_in_a_transcript(night: Any) -> None:
    night["transcript"]["segments"][0]["text"] = "It is {x} <b & c --> d."
    assert "S1: It is {x} <b & c --> d." in export(night, Format.SRT)
    assert "S1: It is {x} &lt;b &amp; c --&gt; d." in export(night, Format.VTT)


@pytest.mark.parametrize(
    ("file_name", "field"), [("Ann\u00a0Lee\ttalk.wav", "Ann_Lee_talk"), ("talk", "talk")]
)
def test_name_is_one_field_of_rttm(night: Any, file_name: str, field: str) -> None:
    night["media"]["file_name"] = file_name
    fields = export(night, Format.RTTM).splitlines()[0].split()
    assert (len(fields), fields[1]) == (10, field)


def test_title_with_a_line_break_is_one_line_of_a_cue_sheet(night: Any) -> None:
    night["tracklist"]["tracks"][0]["title"] = "One\nTwo"
    assert '    TITLE "One Two"\n' in export(night, Format.CUE)
