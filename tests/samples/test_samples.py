"""The committed samples match their description in `truth.json`."""

import json
import re
from pathlib import Path

import pytest

from phonograph_media import (
    MediaError,
    Region,
    decode_mono,
    find_blank_frames,
    find_silences,
    make_rendition,
    probe,
)

SAMPLES = Path(__file__).parent
TRUTH = json.loads((SAMPLES / "truth.json").read_text())
VALID = ["talk.ogg", "groove.mp3", "lecture.mp4", "mix.mp3"]
INVALID = [name for name in TRUTH if name.startswith("rotten/")]


def test_samples_are_small():
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 2_000_000


@pytest.mark.parametrize("name", VALID)
def test_valid_samples_have_the_described_length(tmp_path, name):
    rendition = make_rendition(SAMPLES / name, tmp_path / "rendition.wav")
    assert rendition.duration_s == pytest.approx(TRUTH[name]["duration_s"], abs=0.1)
    assert rendition.warnings == ()
    assert not rendition.is_silent


@pytest.mark.parametrize("name", INVALID)
def test_invalid_samples_are_refused_with_the_described_reason(tmp_path, name):
    with pytest.raises(MediaError) as caught:
        make_rendition(SAMPLES / name, tmp_path / "rendition.wav")
    assert caught.value.reason == TRUTH[name]["reason"]


def test_turns_of_the_talk_are_loud_and_pauses_are_silent():
    talk = TRUTH["talk.ogg"]
    quiet = find_silences(SAMPLES / "talk.ogg", min_duration_s=0.25)
    for before, after in zip(talk["turns"], talk["turns"][1:], strict=False):
        assert before["speaker"] != after["speaker"]
        middle = (before["end"] + after["start"]) / 2
        assert any(region.start_s < middle < region.end_s for region in quiet), middle
    for turn in talk["turns"]:
        assert 2 < turn["end"] - turn["start"] < 5
        spoken = turn["end"] - turn["start"]
        spoken -= sum(
            max(0.0, min(region.end_s, turn["end"]) - max(region.start_s, turn["start"])) for region in quiet
        )
        assert spoken > 1.5, turn


def test_groove_has_tags_that_do_not_match_its_name():
    found = probe(SAMPLES / "groove.mp3")
    assert TRUTH["groove.mp3"]["tags"].items() <= found.tags.items()
    assert found.tags["title"].lower() not in "groove.mp3"
    assert found.has_cover
    assert found.video is None


def test_lecture_is_blank_where_it_is_silent():
    lecture, blank = TRUTH["lecture.mp4"], TRUTH["lecture.mp4"]["blank"]
    assert blank["end"] - blank["start"] >= 2.5
    assert find_blank_frames(SAMPLES / "lecture.mp4", min_duration_s=2.5) == [
        Region(pytest.approx(blank["start"], abs=0.21), pytest.approx(blank["end"], abs=0.21))
    ]
    (quiet,) = find_silences(SAMPLES / "lecture.mp4", min_duration_s=2.0)
    assert quiet.start_s == pytest.approx(blank["start"], abs=0.5)
    assert quiet.end_s == pytest.approx(blank["end"], abs=0.5)
    first, second = lecture["topics"]
    assert first["end"] == blank["start"]
    assert second["start"] == blank["end"]
    for topic in (first, second):
        assert topic["end"] - topic["start"] > 30


def test_lecture_is_a_film():
    video = probe(SAMPLES / "lecture.mp4").video
    assert (video.width, video.height, video.frame_rate) == (320, 180, 5.0)


def test_cue_sheet_matches_the_described_tracks():
    cue = (SAMPLES / "mix.cue").read_text()
    tracks = TRUTH["mix.mp3"]["tracks"]
    starts = [
        int(minutes) * 60 + int(seconds) + int(frames) / 75
        for minutes, seconds, frames in re.findall(r"INDEX 01 (\d+):(\d+):(\d+)", cue)
    ]
    assert starts == pytest.approx([track["start_time"] for track in tracks], abs=0.001)
    titles = re.findall(r'TITLE "(.+)"', cue)
    assert titles == [TRUTH["mix.mp3"]["cue"]["title"], *(track["title"] for track in tracks)]
    assert 'FILE "mix.mp3"' in cue


def test_pieces_of_the_mix_have_different_tempos_and_clear_starts():
    sound = decode_mono(SAMPLES / "mix.mp3", 16_000)
    tracks = TRUTH["mix.mp3"]["tracks"]
    assert len({track["bpm"] for track in tracks}) == 3
    # Each piece fades out, and the next one starts with a beat at the time in the cue sheet.
    for track in tracks[1:]:
        at = round(track["start_time"] * 16_000)
        before, after = sound[at - 1_600 : at], sound[at + 160 : at + 1_760]
        assert abs(after).max() > 1.5 * abs(before).max(), track
