"""Tempo, key, loudness, and the reasons for their absence, without an engine."""

import numpy as np
import pytest

from phonograph_analysis.domain.bars import find_bars
from phonograph_analysis.domain.loudness import (
    find_audible_extent,
    integrated_loudness,
    loudness_range,
    true_peak,
)
from phonograph_analysis.domain.results import Key, KeySection, MusicAnalysis, Reason
from phonograph_analysis.domain.tempo import (
    combine_tempi,
    estimate_tempo,
    normalize_confidence,
    tempo_candidates,
)
from phonograph_analysis.domain.tonality import (
    PITCH_CLASSES,
    KeyEstimate,
    Texture,
    choose_key,
    combine_keys,
    detect_non_music,
    join_keys,
    to_camelot,
    to_open_key,
    to_tuning_hz,
)

SONG = Texture(flatness=0.1, chroma_spread=0.5, pauses=0.01)
VOICE = Texture(flatness=0.3, chroma_spread=0.2, pauses=0.15)
NOISE = Texture(flatness=0.6, chroma_spread=0.2, pauses=0.0)
DRUMS = Texture(flatness=0.6, chroma_spread=0.35, pauses=0.5)


@pytest.mark.parametrize(
    ("bpm", "candidates"),
    [
        (124.0, (62.0, 82.67, 124.0, 186.0, 248.0)),
        (70.0, (46.67, 70.0, 105.0, 140.0)),
        (130.0, (65.0, 86.67, 130.0, 195.0)),
        (174.5, (87.25, 116.33, 174.5)),
        (40.0, (40.0, 60.0, 80.0)),
        (250.0, (125.0, 166.67, 250.0)),
    ],
)
def test_candidates_are_octaves_and_triplets_of_the_tempo_within_40_to_250_bpm(bpm, candidates):
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


def test_the_extent_is_from_the_first_to_the_last_audible_moment():
    windows = np.full(10_000, -90.0)
    windows[6000:9000] = -20.0
    at_s = np.arange(windows.size) / 10
    start_s, end_s, audible_s = find_audible_extent(windows, at_s, 0.1, floor_lufs=-60.0)
    assert (start_s, end_s, audible_s) == pytest.approx((600.0, 900.0, 300.0))
    clicks = np.full(windows.size, -90.0)
    clicks[::15] = -20.0
    assert find_audible_extent(clicks[:100], at_s[:100], 0.1, floor_lufs=-60.0)[2] > 8
    clicks[:] = -90.0
    clicks[::30] = -20.0
    assert find_audible_extent(clicks[:100], at_s[:100], 0.1, floor_lufs=-60.0)[2] < 1
    silence = np.full(windows.size, -90.0)
    assert find_audible_extent(silence, at_s, 0.1, floor_lufs=-60.0) == (0.0, 0.0, 0.0)


def test_a_recording_without_music_has_a_reason_for_each_field():
    analysis = MusicAnalysis("essentia", "x").without_music(Reason.SPEECH)
    assert {*analysis.reasons} == {
        *("bpm", "bpm_confidence", "bpm_candidates", "tempo_sections", "beats", "beats_per_bar", "downbeats"),
        *("key", "scale", "key_strength", "camelot", "open_key", "key_sections", "tuning_hz", "danceability"),
    }
    assert set(analysis.reasons.values()) == {"speech"}


def test_sections_show_how_the_tempo_changes():
    parts = [np.full(count, 60 / bpm) for count, bpm in ((128, 122.0), (160, 128.0), (100, 140.0))]
    tempo = estimate(np.cumsum(np.concatenate(parts)))
    assert [section.bpm for section in tempo.sections] == pytest.approx([122, 128, 140], abs=0.05)
    ends_s = np.cumsum([part.sum() for part in parts])
    assert [section.end_s for section in tempo.sections] == pytest.approx(ends_s, abs=4)
    assert tempo.bpm == pytest.approx(128, abs=0.05)


def test_double_time_and_missed_beats_make_no_section():
    intervals = np.full(200, 0.5)
    intervals[60:90] = 0.25
    intervals[[20, 150]] = 1.0
    (section,) = estimate(np.cumsum(intervals)).sections
    assert section.bpm == pytest.approx(120, abs=0.1)


def test_a_slow_drift_has_one_tempo():
    intervals = 60 / np.linspace(120, 121.5, 300)
    assert len(estimate(np.cumsum(intervals)).sections) == 1


@pytest.mark.parametrize(
    ("confidence", "duration_s", "needs_review"), [(3.5, 30.0, False), (2.1, 30.0, True), (3.5, 12.0, True)]
)
def test_a_tempo_with_thin_evidence_needs_review(confidence, duration_s, needs_review):
    tempo = estimate(np.arange(24) * 0.5, confidence=confidence, duration_s=duration_s)
    assert tempo.needs_review is needs_review


def test_parts_of_a_mix_have_one_tempo_and_the_sections_of_all():
    first, second, third = (
        estimate(np.arange(100) * 60 / bpm, offset_s=offset_s)
        for bpm, offset_s in ((126, 0.0), (126, 60.0), (132, 120.0))
    )
    whole = combine_tempi([first, second, third])
    assert [section.bpm for section in whole.sections] == pytest.approx([126, 132], abs=0.02)
    assert whole.bpm == pytest.approx(126, abs=0.02)
    assert whole.beats == first.beats + second.beats + third.beats
    assert combine_tempi([]) is None


@pytest.mark.parametrize(("beats_per_bar", "phase"), [(3, 0), (3, 2), (4, 0), (4, 3)])
def test_bars_begin_at_the_accented_beats(beats_per_bar, phase):
    accents = np.random.default_rng(1).normal(0, 0.3, 48)
    accents[phase::beats_per_bar] += 2
    bars = find_bars(tuple(np.arange(48.0)), accents)
    assert bars.beats_per_bar == beats_per_bar
    assert bars.downbeats == tuple(np.arange(phase, 48.0, beats_per_bar))


def test_there_are_no_bars_without_clear_accents():
    every_second = np.tile([2.0, 0.0], 24) + np.random.default_rng(1).normal(0, 0.1, 48)
    chance = np.random.default_rng(1).normal(0, 1, 48)
    for accents in (every_second, chance, np.zeros(48)):
        assert find_bars(tuple(np.arange(48.0)), accents) is None
    assert find_bars((0.0, 1.0, 2.0), np.array([2.0, 0.0, 0.0])) is None


@pytest.mark.parametrize(
    ("key", "scale", "camelot", "open_key"),
    [
        ("C", "major", "8B", "1d"),
        ("A", "minor", "8A", "1m"),
        ("G", "major", "9B", "2d"),
        ("F", "major", "7B", "12d"),
        ("F#", "major", "2B", "7d"),
        ("Eb", "minor", "2A", "7m"),
        ("Ab", "minor", "1A", "6m"),
        ("B", "major", "1B", "6d"),
    ],
)
def test_notations_of_a_key(key, scale, camelot, open_key):
    assert (to_camelot(key, scale), to_open_key(key, scale)) == (camelot, open_key)


@pytest.mark.parametrize("notation", [to_camelot, to_open_key])
def test_all_keys_have_places_of_their_own(notation):
    keys = {(number, scale) for number in PITCH_CLASSES.values() for scale in ("major", "minor")}
    places = {notation(name, scale) for name in PITCH_CLASSES for scale in ("major", "minor")}
    assert len(places) == len(keys) == 24


def test_key_sections_pass_over_one_odd_window():
    def key(name):
        return Key(name, "minor", 0.8, "bgate", True)

    names = ["A", "A", "D", "A", "E", "E"]
    windows = [(30.0 * number, 30.0 * (number + 1), key(name)) for number, name in enumerate(names)]
    windows.append((180.0, 210.0, Reason.NOT_TONAL))
    assert join_keys(windows) == (
        KeySection(0.0, 120.0, "A", "minor"),
        KeySection(120.0, 180.0, "E", "minor"),
    )
    assert combine_keys([(300.0, Reason.NOT_TONAL), (100.0, key("A")), (90.0, key("E"))]) == key("A")
    assert combine_keys([(300.0, Reason.NOT_TONAL)]) is Reason.NOT_TONAL


def test_the_tuning_is_where_the_partials_agree():
    assert to_tuning_hz(1 + 0j) == 440.0
    assert to_tuning_hz(0.8 * np.exp(2j * np.pi * 12 * np.log2(432 / 440))) == pytest.approx(432.0)
    assert to_tuning_hz(0.05j) is None


def test_loudness_range_is_between_the_quiet_and_the_loud_part():
    assert loudness_range(np.full(100, -20.0)) == pytest.approx(0.0)
    assert loudness_range(np.repeat([-30.0, -20.0], 600)) == pytest.approx(10.0, abs=0.1)
    assert loudness_range(np.full(100, -80.0)) is None
    assert loudness_range(np.full(10, -20.0)) is None


def test_the_true_peak_is_between_the_samples():
    # A tone of a quarter of the sample rate, shifted by 45 degrees, has samples 3 dB below its peak.
    tone = np.sin(np.pi / 2 * np.arange(8000) + np.pi / 4).astype(np.float32)
    assert np.abs(tone).max() == pytest.approx(np.sqrt(0.5), abs=1e-4)
    stereo = np.stack([0.1 * tone, tone], axis=1)
    assert true_peak(stereo) == pytest.approx(1.0, abs=0.03)
    assert true_peak(np.zeros((0, 2), np.float32)) == 0.0
