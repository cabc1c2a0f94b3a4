"""Tempo, key, loudness and their refusals, without an engine."""

import numpy as np
import pytest

from phonograph_analysis.domain.loudness import integrated_loudness, sounding_extent
from phonograph_analysis.domain.result import MusicAnalysis, Reason
from phonograph_analysis.domain.tempo import normalised_confidence, steady_tempo, tempo_candidates
from phonograph_analysis.domain.tonality import KeyOpinion, Texture, choose_key, not_music

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
def test_candidates_are_octaves_within_40_and_250(bpm, candidates):
    assert tempo_candidates(bpm) == candidates


@pytest.mark.parametrize(("raw", "normalised"), [(5.32, 1.0), (2.66, 0.5), (-0.02, 0.0), (6.0, 1.0)])
def test_confidence_is_a_share_of_5_32(raw, normalised):
    assert normalised_confidence(raw) == normalised


def tempo_of(beats, *, confidence=3.5, repeats=True, duration_s=30.0, offset_s=0.0):
    return steady_tempo(
        np.asarray(beats, dtype=np.float64),
        confidence,
        repeats=repeats,
        duration_s=duration_s,
        offset_s=offset_s,
    )


def test_tempo_is_the_slope_of_the_beats_even_where_one_is_missing():
    beats = np.delete(np.arange(60) * 60 / 174.0, [20, 41])
    jitter = np.random.default_rng(1).normal(0.0, 0.004, beats.size)
    tempo = tempo_of(beats + jitter)
    assert tempo.bpm == pytest.approx(174.0, abs=0.1)


def test_a_mix_of_tempi_has_the_tempo_of_its_largest_part():
    parts = [np.full(count, 60 / bpm) for count, bpm in ((32, 100.0), (80, 128.0), (30, 150.0))]
    assert tempo_of(np.cumsum(np.concatenate(parts))).bpm == pytest.approx(128.0, abs=0.01)
    halves = [np.full(count, 60 / bpm) for count, bpm in ((32, 80.0), (32, 100.0), (32, 128.0))]
    assert tempo_of(np.cumsum(np.concatenate(halves))) is None


def test_beats_count_from_the_start_of_the_file():
    tempo = tempo_of(np.arange(60) * 0.5, offset_s=300.0)
    assert tempo.beats[:2] == (300.0, 300.5)


def test_beats_need_a_pulse_or_trackers_that_agree_for_long():
    beats = np.arange(60) * 0.5
    assert tempo_of(beats, repeats=False, confidence=2.4) is not None
    assert tempo_of(beats, repeats=False, confidence=1.8) is None
    assert tempo_of(beats, repeats=False, confidence=4.4, duration_s=10.0) is None
    assert tempo_of(beats, repeats=True, confidence=0.0, duration_s=10.0) is not None


def test_the_738_bpm_of_digital_silence_and_uneven_beats_are_refused():
    assert tempo_of(np.arange(120) * 60 / 738.28, confidence=4.41) is None
    assert tempo_of(np.cumsum(np.random.default_rng(2).uniform(0.2, 0.9, 60))) is None
    assert tempo_of([0.0, 0.5]) is None


def test_two_profiles_that_agree_give_the_first_ones_strength():
    key = choose_key(KeyOpinion("bgate", "A", "minor", 0.8), KeyOpinion("temperley", "A", "minor", 0.9), SONG)
    assert (key.key, key.scale, key.strength, key.profile, key.agreed) == ("A", "minor", 0.8, "bgate", True)


def test_of_two_profiles_that_differ_the_stronger_wins_if_strong_enough():
    weak, strong = KeyOpinion("bgate", "C", "major", 0.7), KeyOpinion("temperley", "A", "minor", 0.8)
    key = choose_key(weak, strong, SONG)
    assert (key.key, key.profile, key.agreed) == ("A", "temperley", False)
    assert choose_key(weak, KeyOpinion("temperley", "A", "minor", 0.74), SONG) is Reason.AMBIGUOUS_KEY
    assert choose_key(weak, KeyOpinion("temperley", "C", "major", 0.5), SONG).strength == 0.7


@pytest.mark.parametrize(
    "texture",
    [NOISE, DRUMS, VOICE, Texture(flatness=0.0, chroma_spread=3.26, pauses=0.0)],
    ids=["noise", "drums", "voice", "one tone"],
)
def test_no_key_without_three_pitch_classes_that_stand_out(texture):
    opinion = KeyOpinion("bgate", "F", "major", 0.95)
    assert choose_key(opinion, opinion, texture) is Reason.NOT_TONAL


def test_a_pulse_makes_music_of_what_is_noise_or_speech_without():
    assert not_music(NOISE, has_tempo=False) is Reason.NOISE
    assert not_music(VOICE, has_tempo=False) is Reason.SPEECH
    assert not_music(SONG, has_tempo=False) is None
    assert not_music(DRUMS, has_tempo=True) is None


def test_loudness_is_gated_absolutely_and_relatively():
    quiet, loud = np.full(100, -36.0), np.full(600, -23.0)
    assert integrated_loudness(np.concatenate([quiet, loud, quiet])) == pytest.approx(-23.0, abs=0.01)
    assert integrated_loudness(np.concatenate([np.full(1000, -90.0), loud])) == pytest.approx(-23.0)
    assert integrated_loudness(np.full(100, -71.0)) is None
    assert integrated_loudness(np.array([])) is None


def test_the_excerpt_lies_where_it_sounds():
    windows = np.full(10_000, -90.0)
    windows[6000:9000] = -20.0
    at_s = np.arange(windows.size) / 10
    start_s, end_s, sounding_s = sounding_extent(windows, at_s, 0.1, floor_lufs=-60.0, longest_s=600.0)
    assert (start_s, end_s, sounding_s) == pytest.approx((600.0, 900.0, 300.0))
    start_s, end_s, _ = sounding_extent(windows, at_s, 0.1, floor_lufs=-60.0, longest_s=100.0)
    assert (start_s, end_s) == pytest.approx((700.0, 800.0))
    clicks = np.full(windows.size, -90.0)
    clicks[::15] = -20.0
    assert sounding_extent(clicks[:100], at_s[:100], 0.1, floor_lufs=-60.0, longest_s=600.0)[2] > 8
    clicks[:] = -90.0
    clicks[::30] = -20.0
    assert sounding_extent(clicks[:100], at_s[:100], 0.1, floor_lufs=-60.0, longest_s=600.0)[2] < 1
    silence = np.full(windows.size, -90.0)
    assert sounding_extent(silence, at_s, 0.1, floor_lufs=-60.0, longest_s=600.0) == (0.0, 0.0, 0.0)


def test_without_music_every_music_field_has_the_reason():
    nothing = MusicAnalysis("essentia", "x").without_music(Reason.SPEECH)
    assert set(nothing.reasons) == {
        "bpm",
        "bpm_confidence",
        "bpm_candidates",
        "beats",
        "key",
        "scale",
        "key_strength",
        "danceability",
    }
    assert set(nothing.reasons.values()) == {"speech"}
