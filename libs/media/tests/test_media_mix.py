"""Channels that cancel each other, and files with several audio tracks, keep their speech."""

import wave
from pathlib import Path

import av
import numpy as np
import pytest
from libs.media.tests.recordings import beep_times, beeps, noise, write_sound, write_tracks

from phonograph_media import (
    MediaError,
    cut,
    decode_mono,
    find_silences,
    make_rendition,
    probe,
    read_rendition,
)
from phonograph_media.tracks import measure_speech

FIELD = Path(__file__).parents[4] / "shared" / "field"
TALK = Path(__file__).parents[3] / "tests" / "samples" / "talk.ogg"
GROOVE = TALK.with_name("groove.mp3")


def level(samples):
    return float(np.sqrt(np.mean(np.square(samples.astype(np.float64)))))


def render(path, tmp_path, track=None):
    rendition = make_rendition(path, tmp_path / "rendition.wav", track)
    return rendition, read_rendition(tmp_path / "rendition.wav")


@pytest.mark.parametrize("weight", [-1.0, -0.9])
def test_channels_with_swapped_poles_are_mixed_by_their_difference(tmp_path, weight):
    left = noise(6, channels=1)[0]
    pair = np.stack([left, (weight * left).astype(np.int16)])
    path = write_sound(tmp_path / "a.flac", pair, codec="flac")
    rendition, samples = render(path, tmp_path)
    mono = write_sound(tmp_path / "mono.flac", left[None], codec="flac")
    _, expected = render(mono, tmp_path)
    share = (1 - weight) / 2
    # Apart from the first fade, the sound is that of one channel.
    assert level(samples[1_000:] - share * expected[1_000:]) < 0.01 * level(expected)
    (warning,) = rendition.warnings
    assert warning.startswith("channels_cancel: in 6.0 s of 6.0 s (100%) the channels cancel each other")
    assert not find_silences(path)


def test_part_in_which_channels_cancel_keeps_its_level(tmp_path):
    left = noise(10, channels=1)[0]
    right = left.copy()
    right[44_100 * 4 : 44_100 * 7] *= -1
    rendition, samples = render(
        write_sound(tmp_path / "a.wav", np.stack([left, right]), codec="pcm_s16le"), tmp_path
    )
    levels = [level(samples[16_000 * second : 16_000 * (second + 1)]) for second in range(10)]
    assert levels == pytest.approx([levels[0]] * 10, rel=0.1)
    assert "in 3.0 s of 10.0 s (30%)" in rendition.warnings[0]


@pytest.mark.parametrize("right_seed", [1, 2])
def test_ordinary_stereo_is_mixed_as_before(tmp_path, right_seed):
    pair = np.concatenate([noise(4, channels=1), noise(4, channels=1, seed=right_seed)])
    rendition, samples = render(write_sound(tmp_path / "a.wav", pair, codec="pcm_s16le"), tmp_path)
    graph = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    with av.open(str(tmp_path / "a.wav")) as file:
        plain = [
            out.to_ndarray()[0] for frame in [*file.decode(audio=0), None] for out in graph.resample(frame)
        ]
    assert rendition.warnings == ()
    assert level(samples[:60_000] * 32_768 - np.concatenate(plain)[:60_000]) < 2


def test_channels_without_positions_that_cancel_give_the_strongest(tmp_path):
    sound = noise(3, 16_000, channels=1)[0] // 2
    frames = np.stack([sound, -sound, np.zeros_like(sound)], axis=1)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(3)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(frames.tobytes())
    rendition, samples = render(tmp_path / "a.wav", tmp_path)
    assert level(samples) == pytest.approx(level(sound / 32_768), rel=0.05)
    assert rendition.warnings[0].startswith("channels_cancel: ")


def correlate(first, second):
    length = min(len(first), len(second))
    return np.corrcoef(first[:length], second[:length])[0, 1]


@pytest.mark.parametrize("position", [1, 2, 3])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_track_with_speech_is_taken_and_the_others_are_named(tmp_path, name, position):
    talk = decode_mono(TALK, 16_000)
    length = len(talk)
    groove = np.resize(decode_mono(GROOVE, 16_000), length)
    tracks = [groove, noise(length / 16_000, 16_000, channels=1)[0] / 32_768]
    tracks.insert(position - 1, talk)
    path = write_tracks(tmp_path / name, *tracks, titles=["one", "two", "three"])
    rendition, samples = render(path, tmp_path)
    assert correlate(samples, talk) > 0.9
    (warning,) = rendition.warnings
    assert warning.startswith("tracks_left_out: of 3 audio tracks, track ")
    taken, _, left_out = warning.partition("left out: ")
    assert f"track {position}" in taken
    assert all(f"track {other}" in left_out for other in {1, 2, 3} - {position})
    cut(path, tmp_path / "clip.m4a", 1.0, 4.0)
    assert correlate(decode_mono(tmp_path / "clip.m4a", 16_000), talk[16_000:64_000]) > 0.9


def test_requested_track_is_taken_and_all_are_mixed(tmp_path):
    high, low = (np.sin(2 * np.pi * hz * np.arange(64_000) / 16_000) / 4 for hz in (3_000, 500))
    path = write_tracks(tmp_path / "a.mkv", high, low, np.zeros(16_000))
    for track, expected in ((1, high), (2, low), ("all", (high + low) / 3)):
        rendition, samples = render(path, tmp_path, track)
        assert correlate(samples[800:], expected[800:]) > 0.97, track
        assert level(samples[800:60_000]) == pytest.approx(level(expected[800:60_000]), rel=0.1)
        assert "track 3" in rendition.warnings[0]
        cut(path, tmp_path / "clip.m4a", 1.0, 3.0, track)
        clip = decode_mono(tmp_path / "clip.m4a", 16_000)
        assert correlate(clip[800:], expected[16_800:48_000]) > 0.97, track
    assert correlate(render(path, tmp_path, "2")[1][800:], low[800:]) > 0.97
    for unknown, sentence in ((4, "it has 3"), (0, "it has 3"), ("voice", "Give the number")):
        with pytest.raises(MediaError, match=sentence) as caught:
            render(path, tmp_path, unknown)
        assert caught.value.reason == "unknown_track"


def test_probe_describes_the_track_that_is_taken(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as file:
        mono = file.add_stream("pcm_s16le", rate=16_000, layout="mono")
        stereo = file.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        for stream, samples in ((mono, noise(2, 16_000, 1)), (stereo, noise(2, 48_000, 2))):
            packed = np.ascontiguousarray(samples.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=stream.layout.name)
            frame.sample_rate = stream.rate
            file.mux(stream.encode(frame))
    found = [probe(path, track).audio for track in (1, 2, "all")]
    assert [audio.sample_rate_hz for audio in found] == [16_000, 48_000, 16_000]
    assert [audio.channels for audio in found] == [1, 2, 1]
    # An unknown track is an error of those who decode it.
    assert probe(path, 9).audio is not None


def test_tracks_that_begin_at_different_times_are_mixed_on_one_clock(tmp_path):
    sound = beeps(6, 16_000)[0] / 32_768
    late = np.concatenate([np.zeros(8_000), sound[: 16_000 * 5]])
    _, samples = render(write_tracks(tmp_path / "a.mkv", sound, late), tmp_path, "all")
    assert beep_times(samples * 2, 16_000)[:4] == pytest.approx([0, 0.5, 1, 1.5], abs=0.05)


def test_first_track_is_left_out_if_it_is_silent(tmp_path):
    hum = np.sin(2 * np.pi * 200 * np.arange(64_000) / 16_000) / 4
    rendition, samples = render(write_tracks(tmp_path / "a.mkv", hum * 0, hum), tmp_path)
    assert not rendition.is_silent
    assert correlate(samples, hum) > 0.9
    assert "the first one is silent" in rendition.warnings[0]


def test_music_noise_and_beats_are_not_speech():
    at_s = np.arange(80_000) / 8_000
    rng = np.random.default_rng(1)
    clicks = 0.3 * rng.standard_normal(80_000) * np.exp(-(at_s % 0.5) * 30)
    beat = 0.3 * np.sin(2 * np.pi * 440 * at_s) * (at_s % 0.5 < 0.1)
    speech = measure_speech(decode_mono(TALK, 8_000))
    assert speech > 0.2
    for sound in (clicks, beat, rng.standard_normal(80_000) / 10, decode_mono(GROOVE, 8_000), at_s * 0):
        assert measure_speech(sound.astype(np.float32)) < speech / 3


@pytest.mark.skipif(not FIELD.exists(), reason="../shared/field is not on this machine")
def test_field_recording_with_swapped_poles_sounds_like_the_right_one(tmp_path):
    folder = FIELD / "F13-channels-out-of-phase"
    _, swapped = render(folder / "out-of-phase.flac", tmp_path)
    _, right = render(folder / "in-phase.flac", tmp_path)
    assert abs(correlate(swapped, right)) > 0.99
    assert level(swapped) == pytest.approx(level(right), rel=0.1)
