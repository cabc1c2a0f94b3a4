"""Sound, clips and regions have the times that a player shows, whatever the time stamps of a file are."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from libs.media.tests.recordings import beep_times, beeps, flash_times, remux, write_film, write_timed

from phonograph_media import (
    Region,
    cut,
    decode_mono,
    find_silences,
    make_rendition,
    read_rendition,
    write_thumbnail,
)

FIELD = Path(__file__).parents[4] / "shared" / "field"
SECONDS = 8
TOLERANCE_S = 0.05
FORMS = [("mkv", "pcm_s16le"), ("mkv", "flac"), ("mp4", "aac"), ("ts", "aac"), ("mov", "aac")]


def rendition_beeps(path, folder):
    rendition = make_rendition(path, folder / "rendition.wav")
    return beep_times(read_rendition(folder / "rendition.wav"), 16_000), rendition


@settings(max_examples=25, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    offset_s=st.floats(0.0, 9.0),
    gaps=st.dictionaries(st.integers(0, SECONDS - 2), st.floats(0.0, 4.0), max_size=3),
    drift=st.floats(-0.004, 0.004),
    clip_at=st.floats(0.0, 1.0),
)
def test_every_time_is_that_of_a_player(form, offset_s, gaps, drift, clip_at):
    def player_time(at_s):
        # Gaps are where no beep is.
        return offset_s + at_s * (1 + drift) + sum(gap for second, gap in gaps.items() if at_s > second + 0.5)

    suffix, codec = form
    expected = np.array([player_time(second) for second in range(SECONDS)])
    length = int(player_time(SECONDS)) + 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_timed(folder / f"a.{suffix}", beeps(SECONDS), player_time, codec=codec, video_s=length)
        found, rendition = rendition_beeps(path, folder)
        assert found == pytest.approx(expected, abs=TOLERANCE_S)
        assert rendition.duration_s == pytest.approx(player_time(SECONDS), abs=TOLERANCE_S + 0.03)
        start_s = clip_at * (length - 4)
        cut(path, folder / "clip.mp4", start_s, start_s + 3)
        inside = expected[(expected > start_s + 0.1) & (expected < start_s + 2.9)] - start_s
        clip = [at_s for at_s in beep_times(decode_mono(folder / "clip.mp4")) if 0.1 < at_s < 2.9]
        # A beep at the border may be in one list only.
        assert len(clip) - len(inside) in {-1, 0, 1}
        assert all(np.abs(expected - start_s - at_s).min() <= TOLERANCE_S for at_s in clip)
        flashes = [at_s for at_s in flash_times(folder / "clip.mp4") if at_s]
        assert all(abs((start_s + at_s) - round(start_s + at_s)) <= TOLERANCE_S for at_s in flashes)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts", "a.mov"])
def test_sound_that_begins_late_begins_late_in_the_rendition(tmp_path, name):
    codec = "aac"
    path = write_timed(tmp_path / name, beeps(6), lambda at_s: 4.087 + at_s, codec=codec, video_s=11)
    found, rendition = rendition_beeps(path, tmp_path)
    assert found == pytest.approx(4.087 + np.arange(6), abs=TOLERANCE_S)
    assert rendition.warnings == ()
    assert find_silences(path)[0] == Region(0.0, pytest.approx(4.087, abs=TOLERANCE_S))


@pytest.mark.parametrize("name", ["a.mka", "a.m4a"])
def test_sound_alone_that_begins_late_is_complete(tmp_path, name):
    path = write_timed(tmp_path / name, beeps(6), lambda at_s: 3.0 + at_s, codec="aac")
    found, rendition = rendition_beeps(path, tmp_path)
    assert found == pytest.approx(3.0 + np.arange(6), abs=TOLERANCE_S)
    assert rendition.warnings == ()


@pytest.mark.parametrize("name", ["a.mka", "a.ts"])
def test_part_of_a_long_stream_starts_at_its_first_sound(tmp_path, name):
    path = write_timed(tmp_path / name, beeps(4), lambda at_s: 7_200.0 + at_s, codec="aac")
    found, _ = rendition_beeps(path, tmp_path)
    assert found == pytest.approx(np.arange(4), abs=TOLERANCE_S)
    cut(path, tmp_path / "clip.m4a", 1.5, 3.5)
    assert beep_times(decode_mono(tmp_path / "clip.m4a")) == pytest.approx([0.5, 1.5], abs=TOLERANCE_S)


def test_filled_gap_is_reported_in_seconds(tmp_path):
    path = write_timed(
        tmp_path / "a.mkv", beeps(6), lambda at_s: at_s + (4 if at_s > 2.5 else 0), codec="pcm_s16le"
    )
    _, rendition = rendition_beeps(path, tmp_path)
    assert rendition.warnings == (
        "gaps_filled: 4.0 s of 10.0 s (40%) have no sound in the file, in 1 gaps; they are silent here.",
    )


def test_joined_transport_streams_follow_each_other(tmp_path):
    film = write_film(tmp_path / "a.ts", 6, quiet=(0, 0), blank=(0, 0)).read_bytes()
    (tmp_path / "b.ts").write_bytes(film + film)
    found, rendition = rendition_beeps(tmp_path / "b.ts", tmp_path)
    assert found == pytest.approx(np.arange(12), abs=0.1)
    assert rendition.duration_s == pytest.approx(12, abs=0.1)
    cut(tmp_path / "b.ts", tmp_path / "clip.mp4", 6.5, 9.0)
    sound, picture = beep_times(decode_mono(tmp_path / "clip.mp4")), flash_times(tmp_path / "clip.mp4")
    assert sound == pytest.approx([0.5, 1.5], abs=0.1)
    assert picture == pytest.approx(sound, abs=TOLERANCE_S)
    write_thumbnail(tmp_path / "b.ts", tmp_path / "t.jpg", 7.05)


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.mp4"])
def test_sound_may_pause_while_the_picture_continues(tmp_path, name):
    path = write_timed(
        tmp_path / name, beeps(6), lambda at_s: at_s + (25 if at_s > 2.5 else 0), codec="aac", video_s=32
    )
    found, rendition = rendition_beeps(path, tmp_path)
    assert found == pytest.approx([0, 1, 2, 28, 29, 30], abs=TOLERANCE_S)
    assert rendition.warnings[0].startswith("gaps_filled: 25.0 s of 3")
    cut(path, tmp_path / "clip.mp4", 20.5, 29.5)
    assert beep_times(decode_mono(tmp_path / "clip.mp4")) == pytest.approx([7.5, 8.5], abs=TOLERANCE_S)
    assert len(flash_times(tmp_path / "clip.mp4")) == 9


@pytest.mark.parametrize(("name", "codec"), [("a.mpg", "mp2"), ("a.vob", "ac3"), ("a.flv", "aac")])
def test_frames_without_time_stamps_follow_at_the_frame_rate(tmp_path, name, codec):
    path = write_timed(tmp_path / name, beeps(8), lambda at_s: 2.0 + at_s, codec=codec, video_s=10)
    cut(path, tmp_path / "clip.mp4", 3.5, 6.5)
    for times in (beep_times(decode_mono(tmp_path / "clip.mp4")), flash_times(tmp_path / "clip.mp4")):
        assert times == pytest.approx([0.5, 1.5, 2.5], abs=TOLERANCE_S)


def test_time_stamps_that_contradict_the_sound_are_not_followed(tmp_path):
    path = write_timed(tmp_path / "a.mkv", beeps(60), lambda at_s: 1.8 * at_s, codec="pcm_s16le")
    _, rendition = rendition_beeps(path, tmp_path)
    assert rendition.duration_s < 70
    assert [warning.partition(":")[0] for warning in rendition.warnings][-1] == "time_stamps_ignored"


def test_copy_of_packets_keeps_the_clock(tmp_path):
    path = write_timed(
        tmp_path / "a.mkv", beeps(5), lambda at_s: 1.0 + at_s + (2 if at_s > 1.5 else 0), codec="aac"
    )
    found, _ = rendition_beeps(path, tmp_path)
    for name in ("b.mp4", "b.mka"):
        copied, _ = rendition_beeps(remux(path, tmp_path / name), tmp_path)
        assert copied == pytest.approx(found, abs=TOLERANCE_S), name


@pytest.mark.skipif(not FIELD.exists(), reason="../shared/field is not on this machine")
@pytest.mark.parametrize("name", ["late.mkv", "late.mp4"])
def test_field_recording_with_late_sound_keeps_its_clock(tmp_path, name):
    rendition = make_rendition(FIELD / "F15-sound-begins-late" / name, tmp_path / "r.wav")
    assert rendition.duration_s == pytest.approx(15.09, abs=TOLERANCE_S)
    assert np.flatnonzero(read_rendition(tmp_path / "r.wav"))[0] / 16_000 == pytest.approx(4.087, abs=0.2)
