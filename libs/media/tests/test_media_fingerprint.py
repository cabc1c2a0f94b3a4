"""The same sound has the same fingerprint in every container."""

import hashlib
import wave

import numpy as np
import pytest
from libs.media.tests.recordings import noise, remux, write_sound

from phonograph_media import decode_mono, make_rendition, read_rendition, read_rendition_pcm

LOSSLESS = [
    ("flac", "flac", None),
    ("m4a", "alac", "mp4"),
    ("mkv", "flac", "matroska"),
    ("mka", "pcm_s16le", "matroska"),
    ("aiff", "pcm_s16be", None),
]


def fingerprint(path, tmp_path):
    return make_rendition(path, tmp_path / "rendition.wav").content_fp


@pytest.mark.parametrize(
    ("rate", "channels"), [(44_100, 2), (48_000, 2), (44_100, 1), (16_000, 1), (8_000, 1)]
)
def test_same_sound_in_any_lossless_container_has_one_fingerprint(tmp_path, rate, channels):
    samples = noise(3.01, rate, channels)
    first = write_sound(tmp_path / "first.wav", samples, codec="pcm_s16le", rate=rate)
    expected = fingerprint(first, tmp_path)
    for suffix, codec, container in LOSSLESS:
        other = write_sound(
            tmp_path / f"other.{suffix}",
            samples,
            codec=codec,
            rate=rate,
            container=container,
            frame_size=4_321,
        )
        assert fingerprint(other, tmp_path) == expected, (suffix, codec)


def test_tags_do_not_change_the_fingerprint_and_one_sample_does(tmp_path):
    samples = noise(2)
    plain = write_sound(tmp_path / "a.flac", samples, codec="flac")
    tagged = write_sound(tmp_path / "b.flac", samples, codec="flac", tags={"title": "Other"})
    assert plain.read_bytes() != tagged.read_bytes()
    assert fingerprint(plain, tmp_path) == fingerprint(tagged, tmp_path)
    samples[:, 40_000] = 20_000
    changed = write_sound(tmp_path / "c.flac", samples, codec="flac")
    assert fingerprint(changed, tmp_path) != fingerprint(plain, tmp_path)


@pytest.mark.parametrize(
    ("codec", "rate", "source", "target", "container"),
    [
        ("aac", 44_100, "a.m4a", "b.mov", "mov"),
        ("aac", 44_100, "a.mp4", "b.m4a", "mp4"),
        ("libopus", 48_000, "a.ogg", "b.webm", "webm"),
        ("libopus", 48_000, "a.ogg", "b.mka", "matroska"),
    ],
)
def test_remux_that_keeps_the_padding_keeps_the_fingerprint(tmp_path, codec, rate, source, target, container):
    original = write_sound(tmp_path / source, noise(3, rate), codec=codec, rate=rate)
    copy = remux(original, tmp_path / target, container)
    assert fingerprint(copy, tmp_path) == fingerprint(original, tmp_path)


def test_mp3_in_matroska_keeps_its_sound_but_grows_by_the_encoder_delay(tmp_path):
    original = write_sound(tmp_path / "a.mp3", noise(3), codec="libmp3lame")
    copy = remux(original, tmp_path / "b.mka", "matroska")
    before, after = decode_mono(original), decode_mono(copy)
    assert len(after) == len(before) + 1_105
    np.testing.assert_array_equal(after[1_105:], before)


def test_lossy_sound_and_its_decoded_wav_have_one_fingerprint(tmp_path):
    lossy = write_sound(tmp_path / "a.mp3", noise(3), codec="libmp3lame")
    stereo = _decode_s16(lossy)
    decoded = write_sound(tmp_path / "b.wav", stereo, codec="pcm_s16le")
    assert fingerprint(decoded, tmp_path) == fingerprint(lossy, tmp_path)


def test_rendition_is_a_16_khz_mono_wav_of_exactly_the_fingerprinted_bytes(tmp_path):
    source = write_sound(tmp_path / "a.flac", noise(2.5), codec="flac")
    rendition = make_rendition(source, tmp_path / "out.wav")
    with wave.open(str(tmp_path / "out.wav")) as wav:
        assert (wav.getframerate(), wav.getnchannels(), wav.getsampwidth()) == (16_000, 1, 2)
        assert wav.getnframes() == rendition.sample_count == 40_000
    pcm = read_rendition_pcm(tmp_path / "out.wav")
    assert rendition.content_fp == f"pcm16k1:{hashlib.sha256(pcm).hexdigest()}"
    assert rendition.duration_s == 2.5
    samples = read_rendition(tmp_path / "out.wav")
    assert samples.dtype == np.float32
    assert samples.shape == (40_000,)
    np.testing.assert_array_equal((samples * 32_768).astype("<i2").tobytes(), pcm)


def test_rendition_of_a_rendition_is_the_same(tmp_path):
    source = write_sound(tmp_path / "a.flac", noise(1), codec="flac")
    first = make_rendition(source, tmp_path / "1.wav")
    second = make_rendition(tmp_path / "1.wav", tmp_path / "2.wav")
    assert first == second
    assert (tmp_path / "1.wav").read_bytes() == (tmp_path / "2.wav").read_bytes()


def test_digital_silence_is_reported(tmp_path):
    silence = write_sound(tmp_path / "s.wav", noise(1) * 0, codec="pcm_s16le")
    sound = write_sound(tmp_path / "n.wav", noise(1), codec="pcm_s16le")
    assert make_rendition(silence, tmp_path / "o.wav").is_silent
    assert not make_rendition(sound, tmp_path / "o.wav").is_silent


def _decode_s16(path):
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="s16p", layout="stereo")
        frames = [resampled for frame in container.decode(audio=0) for resampled in resampler.resample(frame)]
        frames += resampler.resample(None)
        return np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
