"""A rendition is read in parts as it is read whole."""

import numpy as np
import pytest
from libs.media.tests.recordings import noise, truncate, write_sound

from phonograph_media import MediaError, make_rendition, open_rendition, read_rendition
from phonograph_media.speech import SpeechDetector, SpeechOptions, amplify, measure_gain


@pytest.fixture
def rendition(tmp_path):
    make_rendition(write_sound(tmp_path / "a.wav", noise(5), codec="pcm_s16le"), tmp_path / "whole.wav")
    return tmp_path / "whole.wav"


def test_parts_are_those_of_the_whole(rendition):
    whole = read_rendition(rendition)
    with open_rendition(rendition) as samples:
        assert len(samples) == whole.size
        for part in (
            slice(0, 100),
            slice(70_000, 90_000),
            slice(5, 5),
            slice(9, 3),
            slice(None),
            slice(-7, None),
        ):
            np.testing.assert_array_equal(samples[part], whole[part])
            assert samples[part].dtype == np.float32


def test_a_damaged_rendition_is_refused_before_it_is_read(rendition, tmp_path):
    for path, reason in (
        (tmp_path / "none.wav", "missing"),
        (truncate(rendition, tmp_path / "half.wav", 0.5), "truncated"),
        (tmp_path / "a.wav", "unsupported"),
    ):
        with pytest.raises(MediaError) as caught, open_rendition(path):
            pass
        assert caught.value.reason == reason


def test_speech_is_detected_in_a_file_as_in_an_array(rendition):
    detector = SpeechDetector(SpeechOptions(min_speech_s=0.1, min_silence_s=0.15, pad_s=0.06))
    whole = read_rendition(rendition)
    with open_rendition(rendition) as samples:
        assert detector.detect(samples) == detector.detect(whole)
        assert measure_gain(samples) == measure_gain(whole)
    quiet = whole / 1000
    np.testing.assert_allclose(amplify(quiet), quiet * measure_gain(quiet))
