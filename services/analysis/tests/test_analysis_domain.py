"""Tempo, key, loudness, and the reasons for their absence, without an engine."""

import numpy as np
import pytest

from phonograph_analysis.domain.loudness import find_audible_extent, integrated_loudness
from phonograph_analysis.domain.results import Key, MusicAnalysis, Reason
from phonograph_analysis.domain.tempo import estimate_tempo, normalize_confidence, tempo_candidates
from phonograph_analysis.domain.tonality import KeyEstimate, Texture, choose_key, detect_non_music

SONG = Texture(flatness=0.1, chroma_spread=0.5, pauses=0.01)
VOICE = Texture(flatness=0.3, chroma_spread=0.2, pauses=0.15)
NOISE = Texture(flatness=0.6, chroma_spread=0.2, pauses=0.0)
DRUMS = Texture(flatness=0.6, chroma_spread=0.35, pauses=0.5)


@pytest.mark.parametrize(
    ("bpm", "candidates"),
    [
        (124.0, (62.0, 124.0, 248.0)),
        (70.0, (70.0, 140.0)),
        (79.0, (79.0, 158.0)),
        (130.0, (65.0, 130.0)),
        (174.5, (87.25, 174.5)),
        (40.0, (40.0, 80.0)),
        (250.0, (125.0, 250.0)),
    ],
)
def test_candidates_are_the_tempo_and_its_octaves_within_40_to_250_bpm(bpm, candidates):
    assert tempo_candidates(bpm) == candidates


@pytest.mark.parametrize(("raw", "normalized"), [(5.32, 1.0), (2.66, 0.5), (-0.02, 0.0), (6.0, 1.0)])
def test_confidence_is_a_share_of_5_32(raw, normalized):
    assert normalize_confidence(raw) == normalized


def estimate(beats, *, confidence=3.5, is_periodic=True, duration_s=30.0, offset_s=0.0):
    return estimate_tempo(
        np.asarray(beats, dtype=np.float64),
        confidence,
        is_periodic=is_periodic,
        duration_s=duration_s,
        offset_s=offset_s,
    )


def test_tempo_is_the_slope_of_the_beats_even_if_beats_are_missing():
    beats = np.delete(np.arange(60) * 60 / 174.0, [20, 41])
    jitter = np.random.default_rng(1).normal(0.0, 0.004, beats.size)
    tempo = estimate(beats + jitter)
    assert tempo.bpm == pytest.approx(174.0, abs=0.1)


def test_a_mix_of_tempi_has_the_tempo_of_its_longest_part():
    parts = [np.full(count, 60 / bpm) for count, bpm in ((32, 100.0), (80, 128.0), (30, 150.0))]
    assert estimate(np.cumsum(np.concatenate(parts))).bpm == pytest.approx(128.0, abs=0.01)
    three_parts = [np.full(count, 60 / bpm) for count, bpm in ((32, 80.0), (32, 100.0), (32, 128.0))]
    assert estimate(np.cumsum(np.concatenate(three_parts))) is None


def test_beats_are_counted_from_the_start_of_the_file():
    tempo = estimate(np.arange(60) * 0.5, offset_s=300.0)
    assert tempo.beats[:2] == (300.0, 300.5)


def test_beats_need_periodic_onsets_or_trackers_that_agree_for_long():
    beats = np.arange(60) * 0.5
    assert estimate(beats, is_periodic=False, confidence=2.4) is not None
    assert estimate(beats, is_periodic=False, confidence=1.8) is None
    assert estimate(beats, is_periodic=False, confidence=4.4, duration_s=10.0) is None
    assert estimate(beats, is_periodic=True, confidence=0.0, duration_s=10.0) is not None


def test_the_738_bpm_of_digital_silence_and_irregular_beats_have_no_tempo():
    assert estimate(np.arange(120) * 60 / 738.28, confidence=4.41) is None
    assert estimate(np.cumsum(np.random.default_rng(2).uniform(0.2, 0.9, 60))) is None
    assert estimate([0.0, 0.5]) is None


def test_profiles_that_agree_return_the_strength_of_the_first():
    first, second = KeyEstimate("bgate", "A", "minor", 0.8), KeyEstimate("temperley", "A", "minor", 0.9)
    key = choose_key(first, second, SONG)
    assert key == Key(key="A", scale="minor", strength=0.8, profile="bgate", profiles_agree=True)


def test_the_stronger_of_two_different_profiles_wins_if_strong_enough():
    weak, strong = KeyEstimate("bgate", "C", "major", 0.7), KeyEstimate("temperley", "A", "minor", 0.8)
    key = choose_key(weak, strong, SONG)
    assert (key.key, key.profile, key.profiles_agree) == ("A", "temperley", False)
    assert choose_key(weak, KeyEstimate("temperley", "A", "minor", 0.74), SONG) is Reason.AMBIGUOUS_KEY
    assert choose_key(weak, KeyEstimate("temperley", "C", "major", 0.5), SONG).strength == 0.7


@pytest.mark.parametrize(
    "texture",
    [NOISE, DRUMS, VOICE, Texture(flatness=0.0, chroma_spread=3.26, pauses=0.0)],
    ids=["noise", "drums", "voice", "one tone"],
)
def test_fewer_than_three_prominent_pitch_classes_have_no_key(texture):
    confident = KeyEstimate("bgate", "F", "major", 0.95)
    assert choose_key(confident, confident, texture) is Reason.NOT_TONAL


def test_audio_with_a_tempo_is_never_noise_or_speech():
    assert detect_non_music(NOISE, has_tempo=False) is Reason.NOISE
    assert detect_non_music(VOICE, has_tempo=False) is Reason.SPEECH
    assert detect_non_music(SONG, has_tempo=False) is None
    assert detect_non_music(DRUMS, has_tempo=True) is None


def test_loudness_has_an_absolute_and_a_relative_gate():
    quiet, loud = np.full(100, -36.0), np.full(600, -23.0)
    assert integrated_loudness(np.concatenate([quiet, loud, quiet])) == pytest.approx(-23.0, abs=0.01)
    assert integrated_loudness(np.concatenate([np.full(1000, -90.0), loud])) == pytest.approx(-23.0)
    assert integrated_loudness(np.full(100, -71.0)) is None
    assert integrated_loudness(np.array([])) is None


def test_the_excerpt_is_the_audible_part():
    windows = np.full(10_000, -90.0)
    windows[6000:9000] = -20.0
    at_s = np.arange(windows.size) / 10
    start_s, end_s, audible_s = find_audible_extent(windows, at_s, 0.1, floor_lufs=-60.0, max_s=600.0)
    assert (start_s, end_s, audible_s) == pytest.approx((600.0, 900.0, 300.0))
    start_s, end_s, _ = find_audible_extent(windows, at_s, 0.1, floor_lufs=-60.0, max_s=100.0)
    assert (start_s, end_s) == pytest.approx((700.0, 800.0))
    clicks = np.full(windows.size, -90.0)
    clicks[::15] = -20.0
    assert find_audible_extent(clicks[:100], at_s[:100], 0.1, floor_lufs=-60.0, max_s=600.0)[2] > 8
    clicks[:] = -90.0
    clicks[::30] = -20.0
    assert find_audible_extent(clicks[:100], at_s[:100], 0.1, floor_lufs=-60.0, max_s=600.0)[2] < 1
    silence = np.full(windows.size, -90.0)
    assert find_audible_extent(silence, at_s, 0.1, floor_lufs=-60.0, max_s=600.0) == (0.0, 0.0, 0.0)


def test_a_recording_without_music_has_a_reason_for_each_field():
    analysis = MusicAnalysis("essentia", "x").without_music(Reason.SPEECH)
    assert set(analysis.reasons) == {
        "bpm",
        "bpm_confidence",
        "bpm_candidates",
        "beats",
        "key",
        "scale",
        "key_strength",
        "danceability",
    }
    assert set(analysis.reasons.values()) == {"speech"}
