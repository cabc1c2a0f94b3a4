"""Clips, thumbnails, silences and blank frames share one time base: the first sample of sound is 0."""

from fractions import Fraction

import av
import numpy as np
import pytest
from libs.media.tests.recordings import beep_times, beeps, flash_times, noise, write_film, write_sound

from phonograph_media import (
    MediaError,
    Region,
    cut,
    decode_mono,
    find_blank_frames,
    find_silences,
    make_rendition,
    probe,
    write_thumbnail,
)

FRAME_S = 0.1


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_clip_keeps_sound_and_picture_in_sync(tmp_path, name):
    film = write_film(tmp_path / name, 20)
    cut(film, tmp_path / "clip.mp4", 12.35, 16.8)
    found = probe(tmp_path / "clip.mp4")
    assert found.video.codec == "h264"
    assert found.audio.codec == "aac"
    assert found.duration_s == pytest.approx(4.45, abs=0.06)
    assert beep_times(decode_mono(tmp_path / "clip.mp4")) == pytest.approx([0.65, 1.65, 2.65, 3.65], abs=0.03)
    assert flash_times(tmp_path / "clip.mp4") == pytest.approx([0.65, 1.65, 2.65, 3.65], abs=0.03)


def test_clip_of_a_film_whose_sound_starts_late(tmp_path):
    film = write_film(tmp_path / "a.mp4", 12, sound_delay_s=0.7, quiet=(0, 0))
    beeps_s = beep_times(decode_mono(film))
    assert beeps_s[:2] == pytest.approx([0.02, 1.02], abs=0.03)
    assert find_blank_frames(film)[0].start_s == pytest.approx(3.0 - 0.7, abs=0.05)
    cut(film, tmp_path / "clip.mp4", 6.5, 9.0)
    assert beep_times(decode_mono(tmp_path / "clip.mp4")) == pytest.approx([0.52, 1.52], abs=0.03)
    # The flashes precede the beeps by 0.7 s in the source, and so they do in the clip.
    assert flash_times(tmp_path / "clip.mp4") == pytest.approx([0.82, 1.82], abs=0.05)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp3", "libmp3lame", {}),
        ("a.mp3", "libmp3lame", {"qscale": "4"}),
        ("a.m4a", "aac", {}),
        ("a.flac", "flac", {}),
        ("a.wav", "pcm_s16le", {}),
        ("a.ogg", "libopus", {}),
        ("a.aac", "aac", {}),
    ],
)
def test_clip_of_sound_alone_is_exact(tmp_path, name, codec, options):
    rate = 48_000 if codec == "libopus" else 44_100
    source = write_sound(tmp_path / name, beeps(40, rate), codec=codec, rate=rate, options=options)
    expected = np.array(beep_times(decode_mono(source)))
    cut(source, tmp_path / "clip.m4a", 30.25, 33.75)
    found = probe(tmp_path / "clip.m4a")
    assert found.video is None
    assert found.audio.codec == "aac"
    assert found.duration_s == pytest.approx(3.5, abs=0.06)
    inside = expected[(expected > 30.25) & (expected < 33.75)] - 30.25
    assert beep_times(decode_mono(tmp_path / "clip.m4a")) == pytest.approx(list(inside), abs=0.011)


def test_clip_of_a_still_slide_shows_it_from_the_start(tmp_path):
    slides = tmp_path / "slides.mp4"
    with av.open(str(slides), "w") as file:
        picture = file.add_stream("libx264", rate=1)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for number, light in enumerate([20, 60, 100, 140, 180, 220]):
            image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), light, np.uint8), format="rgb24")
            image.pts, image.time_base = number * 10, Fraction(1, 1)
            file.mux(picture.encode(image))
        file.mux(picture.encode(None))
    cut(slides, tmp_path / "clip.mp4", 25, 35)
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        pictures = [
            (round(frame.time), int(frame.to_ndarray(format="gray").mean())) for frame in clip.decode(video=0)
        ]
    assert pictures == [(0, pytest.approx(100, abs=6)), (5, pytest.approx(140, abs=6))]


def test_large_picture_with_odd_sides_is_scaled_down(tmp_path):
    film = tmp_path / "wide.mkv"
    with av.open(str(film), "w") as file:
        picture = file.add_stream("ffv1", rate=5)
        picture.width, picture.height, picture.pix_fmt = 1601, 901, "yuv444p"
        for _ in range(5):
            file.mux(
                picture.encode(av.VideoFrame.from_ndarray(np.zeros((901, 1601, 3), np.uint8), format="rgb24"))
            )
        file.mux(picture.encode(None))
    cut(film, tmp_path / "clip.mp4", 0, 0.6)
    video = probe(tmp_path / "clip.mp4").video
    assert (video.width, video.height) == (1280, 720)
    assert probe(tmp_path / "clip.mp4").audio is None


def test_rotated_film_becomes_upright(tmp_path):
    film = tmp_path / "phone.mp4"
    image = np.zeros((48, 96, 3), np.uint8)
    image[:, :24] = 255
    with av.open(str(film), "w") as file:
        picture = file.add_stream("libx264", rate=5)
        picture.width, picture.height, picture.pix_fmt = 96, 48, "yuv420p"
        picture.set_display_rotation(90)
        for _ in range(5):
            file.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(picture.encode(None))
    write_thumbnail(film, tmp_path / "t.jpg", 0)
    cut(film, tmp_path / "clip.mp4", 0, 0.6)
    for name in ("t.jpg", "clip.mp4"):
        with av.open(str(tmp_path / name)) as file:
            upright = next(file.decode(video=0)).to_ndarray(format="gray")
        assert upright.shape == (96, 48), name
        # Rotated by 90 degrees counterclockwise, the left edge becomes the bottom edge.
        assert upright[-20:].mean() > 200, name
        assert upright[:60].mean() < 50, name


def test_thumbnail_is_the_frame_that_is_visible(tmp_path):
    film = write_film(tmp_path / "a.mp4", 8)
    lights = {}
    for at_s in (2.0, 2.05, 2.1, 4.0, 500.0):
        write_thumbnail(film, tmp_path / "t.jpg", at_s)
        data = (tmp_path / "t.jpg").read_bytes()
        assert data.startswith(b"\xff\xd8\xff")
        with av.open(str(tmp_path / "t.jpg")) as file:
            frame = next(file.decode(video=0))
            lights[at_s] = frame.to_ndarray(format="gray").mean()
            assert (frame.width, frame.height) == (320, 180)
    assert lights[2.0] > 240
    assert lights[2.05] > 240
    assert 60 < lights[2.1] < 100
    assert lights[4.0] < 5
    assert 60 < lights[500.0] < 100


def test_file_without_video_has_no_thumbnail(tmp_path):
    sound = write_sound(tmp_path / "a.wav", noise(1), codec="pcm_s16le")
    with pytest.raises(MediaError) as caught:
        write_thumbnail(sound, tmp_path / "t.jpg", 0)
    assert caught.value.reason == "not_video"
    assert find_blank_frames(sound) == []


def test_range_that_ends_after_the_file_is_shortened_and_one_that_starts_after_it_is_refused(tmp_path):
    sound = write_sound(tmp_path / "a.wav", noise(2), codec="pcm_s16le")
    cut(sound, tmp_path / "end.m4a", 1.5, 100)
    assert probe(tmp_path / "end.m4a").duration_s == pytest.approx(0.5, abs=0.06)
    with pytest.raises(MediaError) as caught:
        cut(sound, tmp_path / "c.m4a", 5, 6)
    assert caught.value.reason == "truncated"
    assert not (tmp_path / "c.m4a").exists()
    for start_s, end_s in ((1, 1), (2, 1), (-1, 1)):
        with pytest.raises(ValueError, match="start < end"):
            cut(sound, tmp_path / "c.m4a", start_s, end_s)


def test_target_that_cannot_be_written_is_not_a_media_error(tmp_path):
    film = write_film(tmp_path / "a.mp4", 2)
    missing = tmp_path / "nowhere"
    for write in (
        lambda: cut(film, missing / "c.mp4", 0, 1),
        lambda: write_thumbnail(film, missing / "t.jpg", 0),
        lambda: make_rendition(film, missing / "r.wav"),
    ):
        with pytest.raises(OSError, match="No such file"):
            write()


def test_silences_and_blank_frames_are_found_at_their_times(tmp_path):
    film = write_film(tmp_path / "a.mp4", 14, blank=(3.0, 5.5), quiet=(8.0, 11.0))
    assert find_blank_frames(film) == [Region(pytest.approx(3.0, abs=0.01), pytest.approx(5.5, abs=0.01))]
    assert find_blank_frames(film, min_duration_s=3.0) == []
    quiet = find_silences(film, min_duration_s=2.0)
    assert quiet == [Region(pytest.approx(7.1, abs=0.02), pytest.approx(11.0, abs=0.02))]
    make_rendition(film, tmp_path / "r.wav")
    assert find_silences(tmp_path / "r.wav", min_duration_s=2.0) == quiet
    short = find_silences(film)
    assert len(short) == 11
    assert all(region.end_s - region.start_s >= 0.5 for region in short)


def test_region_that_lasts_to_the_end_of_the_file_ends_there(tmp_path):
    film = write_film(tmp_path / "a.mp4", 8, blank=(6.0, 9.0), quiet=(5.0, 9.0))
    assert find_blank_frames(film)[-1].end_s == pytest.approx(8.0, abs=FRAME_S)
    assert find_silences(film, min_duration_s=2.0)[-1].end_s == pytest.approx(8.0, abs=0.05)


def test_silence_depends_on_the_noise_threshold(tmp_path):
    t = np.arange(44_100 * 4) / 44_100
    level = np.where((t > 1) & (t < 3), 10 ** (-40 / 20), 0.5)
    samples = np.tile((32_767 * level * np.sin(2 * np.pi * 500 * t)).astype(np.int16), (2, 1))
    path = write_sound(tmp_path / "a.wav", samples, codec="pcm_s16le")
    assert find_silences(path) == [Region(pytest.approx(1, abs=0.01), pytest.approx(3, abs=0.01))]
    assert find_silences(path, noise_db=-45.0) == []
