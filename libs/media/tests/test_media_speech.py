"""Speech is found at its times, whatever precedes it."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from phonograph_media import SAMPLE_RATE_HZ, make_rendition, read_rendition
from phonograph_media.speech import FRAME, SpeechDetector, SpeechOptions, SpeechRegion

SAMPLES = Path(__file__).parents[3] / "tests" / "samples"
OPTIONS = SpeechOptions(min_speech_s=0.1, min_silence_s=0.15, pad_s=0.06)


@pytest.fixture(scope="module")
def talk(tmp_path_factory) -> np.ndarray:
    path = tmp_path_factory.mktemp("talk") / "rendition.wav"
    make_rendition(SAMPLES / "talk.ogg", path)
    return read_rendition(path)


def spoken_s(regions: list[SpeechRegion]) -> float:
    return sum(region.end - region.start for region in regions) / SAMPLE_RATE_HZ


def room(seconds: float, seed: int = 0) -> np.ndarray:
    """Return the sound of a room: low noise, mains hum, and a click now and then."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    noise = np.convolve(rng.standard_normal(t.size), np.ones(8) / 8, "same")
    clicks = np.where(rng.random(t.size) < 2 / SAMPLE_RATE_HZ, 0.3, 0)
    return (0.02 * noise + 0.01 * np.sin(2 * np.pi * 50 * t) + clicks).astype(np.float32)


@pytest.mark.parametrize("lead_s", [30, 93.3, 400])
@pytest.mark.parametrize("kind", ["room", "white", "silence"])
def test_speech_after_a_long_lead_is_found_as_without_it(talk, kind, lead_s):
    lead = {
        "room": room(lead_s),
        "white": 0.05 * np.random.default_rng(1).standard_normal(round(lead_s * SAMPLE_RATE_HZ)),
        "silence": np.zeros(round(lead_s * SAMPLE_RATE_HZ)),
    }[kind].astype(np.float32)
    detector = SpeechDetector(OPTIONS)
    alone = detector.detect(talk)
    after = detector.detect(np.concatenate([lead, talk]))

    assert after[0].start / SAMPLE_RATE_HZ - lead_s == pytest.approx(alone[0].start_s, abs=0.15)
    assert spoken_s(after) == pytest.approx(spoken_s(alone), rel=0.03)


def test_speech_of_the_sample_talk_is_within_its_turns(talk):
    truth = json.loads((SAMPLES / "truth.json").read_text())["talk.ogg"]["turns"]
    regions = SpeechDetector(OPTIONS).detect(talk)
    for region in regions:
        middle_s = (region.start + region.end) / 2 / SAMPLE_RATE_HZ
        assert any(turn["start"] - 0.1 <= middle_s <= turn["end"] + 0.1 for turn in truth), middle_s
    assert all(before.end <= after.start for before, after in pairwise(regions))


@pytest.mark.parametrize("gain_db", [-20, -40, -55])
def test_speech_is_found_at_any_level(talk, gain_db):
    quiet = np.rint(talk * 10 ** (gain_db / 20) * 32_768).astype(np.float32) / 32_768
    detector = SpeechDetector(OPTIONS)

    assert spoken_s(detector.detect(quiet)) == pytest.approx(spoken_s(detector.detect(talk)), rel=0.05)


@pytest.mark.parametrize("kind", ["empty", "silence", "quiet noise", "noise", "tone", "clicks"])
def test_sound_without_speech_has_no_region(kind):
    t = np.arange(60 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    samples = {
        "empty": np.zeros(0),
        "silence": np.zeros(t.size),
        "quiet noise": 0.001 * np.random.default_rng(3).standard_normal(t.size),
        "noise": 0.2 * np.random.default_rng(3).standard_normal(t.size),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * t),
        "clicks": (np.arange(t.size) % 8_000 < 40).astype(float),
    }[kind].astype(np.float32)
    assert SpeechDetector(OPTIONS).detect(samples) == []


def detect(probabilities: list[float], **options: float) -> list[tuple[int, int]]:
    """Return the regions, in frames, that given probabilities make."""
    samples = np.zeros(len(probabilities) * FRAME, np.float32)
    samples[::FRAME] = probabilities
    settings = SpeechOptions(**({"min_speech_s": 0.0, "min_silence_s": 0.064, "pad_s": 0.0} | options))
    detector = SpeechDetector(settings, lambda window: window.reshape(-1, FRAME)[:, 0].copy())
    return [(region.start // FRAME, region.end // FRAME) for region in detector.detect(samples)]


def test_short_pauses_join_and_short_sounds_are_no_speech():
    assert detect([0, 1, 1, 0, 1, 0, 0, 0, 1]) == [(1, 5), (8, 9)]
    assert detect([0, 1, 1, 0, 1, 0, 0, 0, 1], min_speech_s=0.064) == [(1, 5)]
    # Less probable speech continues a region, but does not begin one.
    assert detect([0.4, 0.6, 0.4, 0.4, 0.4, 0.2, 0, 0, 0.4]) == [(1, 5)]


def test_padding_never_overlaps_and_stays_within_the_recording():
    assert detect([0, 0, 1, 1, 0, 0, 1, 0], pad_s=0.064) == [(0, 5), (5, 8)]
    assert detect([1, 0, 0, 0, 0, 0, 0, 0, 1], pad_s=0.032) == [(0, 2), (7, 9)]


def test_long_regions_are_split_where_speech_is_least_probable():
    probabilities = [0.9] * 100
    probabilities[40], probabilities[80] = 0.5, 0.5
    regions = detect(probabilities, max_region_s=50 * FRAME / SAMPLE_RATE_HZ)

    assert regions == [(0, 40), (40, 80), (80, 100)]


def test_progress_increases(talk):
    reported: list[float] = []
    SpeechDetector(OPTIONS).detect(np.tile(talk, 20), reported.append)
    assert len(reported) > 1
    assert reported == sorted(reported)
    assert all(0 <= done <= 1 for done in reported)
