"""Decoded sound has the right shape, level and length and needs little memory."""

import resource
import subprocess
import sys
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from libs.media.tests.recordings import noise, write_sound

from phonograph_media import decode_blocks, decode_mono, decode_stereo, make_rendition, probe

DATA = Path(__file__).parents[4] / "shared" / "data"


def tone(rate, seconds=1.0, hz=440.0):
    return (16_384 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.int16)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_level_and_length_are_preserved(tmp_path, rate, channels):
    path = write_sound(tmp_path / "a.wav", np.tile(tone(rate), (channels, 1)), codec="pcm_s16le", rate=rate)
    for target in (16_000, 44_100):
        mono, stereo = decode_mono(path, target), decode_stereo(path, target)
        assert mono.dtype == stereo.dtype == np.float32
        assert mono.shape == (target,)
        assert stereo.shape == (target, 2)
        middle = slice(target // 4, target // 2)
        assert np.abs(mono[middle]).max() == pytest.approx(0.5, abs=0.01)
        np.testing.assert_allclose(stereo[:, 0], mono, atol=1e-4)
        np.testing.assert_allclose(stereo[:, 1], mono, atol=1e-4)


def test_left_and_right_stay_separate_and_mix_without_clipping(tmp_path):
    loud = np.stack([np.full(44_100, 32_000, np.int16), np.zeros(44_100, np.int16)])
    path = write_sound(tmp_path / "a.wav", loud, codec="pcm_s16le")
    stereo = decode_stereo(path)
    assert stereo[20_000] == pytest.approx([0.977, 0.0], abs=0.001)
    assert decode_mono(path)[20_000] == pytest.approx(0.488, abs=0.001)
    both = write_sound(tmp_path / "b.wav", np.tile(loud[0], (2, 1)), codec="pcm_s16le")
    assert decode_mono(both).max() <= 1.0
    assert decode_mono(both)[20_000] == pytest.approx(0.977, abs=0.001)


def test_three_channels_without_positions_are_mixed_equally(tmp_path):
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(3)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.repeat(tone(16_000), 3).tobytes())
    assert probe(path).audio.channels == 3
    for target in (16_000, 44_100):
        assert np.abs(decode_mono(path, target)[4_000:8_000]).max() == pytest.approx(0.5, abs=0.01)
    assert decode_stereo(path).shape == (44_100, 2)
    assert make_rendition(path, tmp_path / "o.wav").sample_count == 16_000


def test_sample_rate_may_change_within_a_file(tmp_path):
    parts = [
        write_sound(tmp_path / f"{rate}.aac", noise(1, rate, 1), codec="aac", rate=rate).read_bytes()
        for rate in (44_100, 22_050)
    ]
    (tmp_path / "both.aac").write_bytes(b"".join(parts))
    assert make_rendition(tmp_path / "both.aac", tmp_path / "o.wav").duration_s == pytest.approx(2, abs=0.2)


def test_blocks_together_equal_the_decoded_file(tmp_path):
    path = write_sound(tmp_path / "a.flac", noise(5), codec="flac")
    blocks = list(decode_blocks(path, block_s=1.0))
    assert len(blocks) >= 5
    assert all(block.shape[1] == 2 for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), decode_stereo(path))


def test_hour_of_sound_is_not_kept_in_memory(tmp_path):
    path = tmp_path / "hour.flac"
    frame = av.AudioFrame.from_ndarray(
        np.zeros((1, 48_000 * 10 * 2), np.int16), format="s16", layout="stereo"
    )
    frame.sample_rate = 48_000
    with av.open(str(path), "w") as file:
        stream = file.add_stream("flac", rate=48_000, layout="stereo")
        for number in range(360):
            frame.pts, frame.time_base = number * 480_000, Fraction(1, 48_000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    # The decoded hour is 115 MB as a rendition and 690 MB at its own rate.
    script = (
        "import resource, sys; from pathlib import Path; from phonograph_media import make_rendition\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "rendition = make_rendition(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "assert rendition.duration_s == 3600, rendition\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(tmp_path / "o.wav")],
        check=True,
        capture_output=True,
        text=True,
    )
    grown_kib = int(done.stdout)
    assert grown_kib < 40_000, f"{grown_kib} KiB, page size {resource.getpagesize()}"


@pytest.mark.skipif(not (DATA / "jfk.flac").exists(), reason="../shared/data/jfk.flac is not on this machine")
def test_real_recordings_keep_length_and_samples(tmp_path):
    jfk = make_rendition(DATA / "jfk.flac", tmp_path / "jfk.wav")
    assert jfk.duration_s == pytest.approx(11.0, abs=0.01)
    assert probe(DATA / "jfk.flac").audio.sample_rate_hz == 44_100
    sample = make_rendition(DATA / "sample.wav", tmp_path / "sample.wav")
    assert sample.duration_s == pytest.approx(30.0, abs=0.01)
    assert not sample.is_silent
    with wave.open(str(DATA / "sample.wav")) as wav:
        original = wav.readframes(wav.getnframes())
    with wave.open(str(tmp_path / "sample.wav")) as wav:
        assert wav.readframes(wav.getnframes()) == original
