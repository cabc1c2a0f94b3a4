"""Silence is relative to the level of a recording; a dark slide with text is not blank."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from libs.media.tests.recordings import write_sound

from phonograph_media import Region, decode_mono, find_blank_frames, find_silences
from phonograph_media.silence import choose_noise_db

SAMPLES = Path(__file__).parents[3] / "tests" / "samples"
FIELD = Path(__file__).parents[4] / "shared" / "field"
RATE = 16_000
PAUSES = [(3.0, 5.0), (9.5, 11.5), (16.0, 18.5)]


def lecture(*, hum_db: float = -60.0, speech_db: float = -6.0, seconds: float = 24.0) -> np.ndarray:
    """Return syllables of different loudness, with three pauses in which a room hums; shape (samples,)."""
    rng = np.random.default_rng(7)
    t = np.arange(round(seconds * RATE)) / RATE
    syllables = np.repeat(rng.uniform(0.1, 1, t.size // 2_000 + 1), 2_000)[: t.size]
    speech = np.sin(2 * np.pi * 180 * t) * syllables * (0.6 + 0.4 * np.sin(2 * np.pi * 5 * t))
    for start, end in PAUSES:
        speech[(t >= start) & (t < end)] = 0
    hum = np.sin(2 * np.pi * 100 * t) + 0.2 * rng.standard_normal(t.size)
    return speech * 10 ** (speech_db / 20) + hum * 10 ** (hum_db / 20)


def write(path: Path, samples: np.ndarray) -> Path:
    pcm = np.rint(samples.clip(-1, 1) * 32_767).astype(np.int16)
    return write_sound(path, pcm[None], codec="pcm_s16le", rate=RATE)


@pytest.mark.parametrize("gain_db", [0, -10, -20, -30, -40])
@pytest.mark.parametrize("hum_db", [-90, -60, -45])
def test_pauses_do_not_depend_on_the_level_of_a_recording(tmp_path, gain_db, hum_db):
    samples = lecture(hum_db=hum_db) * 10 ** (gain_db / 20)

    regions = find_silences(write(tmp_path / "a.wav", samples))

    assert [(region.start_s, region.end_s) for region in regions] == [
        (pytest.approx(start, abs=0.1), pytest.approx(end, abs=0.1)) for start, end in PAUSES
    ]


def test_pauses_of_a_noisy_room_are_silent(tmp_path):
    regions = find_silences(write(tmp_path / "a.wav", lecture(hum_db=-37)))

    assert [round(region.start_s) for region in regions] == [3, 10, 16]
    assert regions[0].noise_db == pytest.approx(-29, abs=3)


def test_rare_speech_is_not_taken_for_noise(tmp_path):
    """A recorder runs for ten minutes, and someone speaks for three seconds."""
    quiet = np.random.default_rng(2).standard_normal(300 * RATE) * 1e-3
    samples = np.concatenate([quiet, lecture(hum_db=-57, speech_db=-20)[: 3 * RATE], quiet])

    regions = find_silences(write(tmp_path / "a.wav", samples))

    assert [(region.start_s, region.end_s) for region in regions] == [
        (0, pytest.approx(300, abs=0.1)),
        (pytest.approx(303, abs=0.1), pytest.approx(603, abs=0.1)),
    ]


def test_one_knock_does_not_make_the_rest_silent(tmp_path):
    samples = lecture() * 10 ** (-34 / 20)
    samples[RATE : RATE + 800] += 0.9 * np.hanning(800)

    regions = find_silences(write(tmp_path / "a.wav", samples))

    assert [round(region.start_s) for region in regions] == [3, 10, 16]


@pytest.mark.parametrize(("level_db", "is_silent"), [(-50, True), (-20, False)])
def test_steady_sound_is_silent_if_it_is_as_quiet_as_a_room(tmp_path, level_db, is_silent):
    t = np.arange(10 * RATE) / RATE
    path = write(tmp_path / "a.wav", 10 ** (level_db / 20) * np.sin(2 * np.pi * 220 * t))

    assert find_silences(path) == ([Region(0, pytest.approx(10, abs=0.01))] if is_silent else [])


def test_digital_silence_is_silent_next_to_any_sound(tmp_path):
    assert find_silences(write(tmp_path / "a.wav", np.zeros(3 * RATE))) == [Region(0, 3)]
    samples = lecture(hum_db=-45)
    samples[-2 * RATE :] = 0
    assert find_silences(write(tmp_path / "b.wav", samples))[-1] == Region(pytest.approx(22, abs=0.05), 24)


def test_an_offset_of_the_recorder_does_not_hide_silence(tmp_path):
    regions = find_silences(write(tmp_path / "a.wav", 0.5 * lecture() + 0.05))

    assert [round(region.start_s) for region in regions] == [3, 10, 16]


def test_the_level_of_an_empty_recording_is_defined():
    assert choose_noise_db(np.empty(0, np.float32)) == -35.0


@pytest.mark.parametrize("name", ["quiet-lecture.mp4", "same-lecture-normal-level.mp4"])
def test_a_quiet_lecture_has_the_silences_of_a_loud_one(name):
    path = FIELD / "F31-quiet-lecture" / name
    if not path.exists():
        pytest.skip(f"{path} does not exist; test_pauses_do_not_depend_on_the_level_of_a_recording is alike")
    expected = [(11.0, 13.2), (24.0, 27.3), (38.0, 40.8), (51.5, 55.6), (66.5, 68.7)]

    assert [(region.start_s, region.end_s) for region in find_silences(path)] == [
        (pytest.approx(start, abs=0.3), pytest.approx(end, abs=0.3)) for start, end in expected
    ]


def write_slides(path: Path, *slides: np.ndarray) -> Path:
    """Write a silent film that shows each picture, shape (height, width), for two seconds."""
    height, width = slides[0].shape
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=5, options={"crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, slide in enumerate(slide for slide in slides for _ in range(10)):
            image = av.VideoFrame.from_ndarray(np.stack([slide] * 3, axis=-1), format="rgb24")
            image.pts, image.time_base = number, Fraction(1, 5)
            file.mux(stream.encode(image))
        file.mux(stream.encode(None))
    return path


def slide(background: int, text: int | None = None, *, letters: int = 24) -> np.ndarray:
    """Return a picture of 1280 x 720 with a line of letters: strokes of 4 pixels, 28 high."""
    picture = np.full((720, 1280), background, np.uint8)
    if text is not None:
        for letter in range(letters):
            left = 100 + letter * 24
            picture[300:328, left : left + 4] = text
            picture[300:304, left : left + 14] = text
            picture[324:328, left : left + 14] = text
    return picture


@pytest.mark.parametrize(("background", "text"), [(0, 255), (0, 90), (12, 160), (20, 255)])
def test_a_dark_slide_with_text_is_not_blank(tmp_path, background, text):
    film = write_slides(
        tmp_path / "a.mp4", slide(128), slide(background, text), slide(background), slide(128)
    )

    assert find_blank_frames(film) == [Region(pytest.approx(4, abs=0.05), pytest.approx(6, abs=0.05))]


def test_noise_and_a_pointer_leave_a_dark_picture_blank(tmp_path):
    noise = np.random.default_rng(4).integers(0, 12, (720, 1280)).astype(np.uint8)
    pointer = noise.copy()
    pointer[400:410, 600:606] = 255
    film = write_slides(tmp_path / "a.mp4", noise, pointer, slide(128))

    assert find_blank_frames(film) == [Region(0, pytest.approx(4, abs=0.05))]


def test_the_sample_recordings_keep_their_pauses(tmp_path):
    loud = decode_mono(SAMPLES / "talk.ogg", RATE)
    expected = find_silences(write(tmp_path / "loud.wav", loud))
    found = find_silences(write(tmp_path / "quiet.wav", loud * 10 ** (-28 / 20)))

    assert len(expected) == len(found) > 3
    for one, other in zip(expected, found, strict=True):
        assert (other.start_s, other.end_s) == (
            pytest.approx(one.start_s, abs=0.1),
            pytest.approx(one.end_s, abs=0.1),
        )
