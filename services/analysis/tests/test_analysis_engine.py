"""The essentia engine on synthetic audio, and on recordings of real voices."""

import math
import wave
from pathlib import Path

import numpy as np
import pytest

from phonograph_analysis import constants
from phonograph_analysis.inference.essentia import EssentiaAnalyzer
from phonograph_media import MediaError

RATE_HZ = 44_100
NOTES = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 11)}
SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="module")
def analyzer():
    engine = EssentiaAnalyzer()
    engine.load()
    return engine


@pytest.fixture
def analyze(analyzer, tmp_path):
    def run(samples, rate_hz=RATE_HZ):
        return analyzer.predict(write(tmp_path / "sound.wav", samples, rate_hz), ignore)

    return run


def ignore(fraction, stage):
    pass


def write(path, samples, rate_hz=RATE_HZ):
    samples = np.asarray(samples)
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def tone(frequency_hz, duration_s, rate_hz=RATE_HZ):
    return np.sin(2 * np.pi * frequency_hz * np.arange(round(duration_s * rate_hz)) / rate_hz)


def decibels(level):
    return 10 ** (level / 20)


def add(track, at_s, sound, rate_hz=RATE_HZ):
    start = round(at_s * rate_hz)
    length = min(len(sound), len(track) - start)
    if length > 0:
        track[start : start + length] += sound[:length]


def note(midi, duration_s):
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    frequency = 440 * 2 ** ((midi - 69) / 12)
    partials = sum(np.sin(2 * np.pi * k * frequency * time_s) / k**1.5 for k in range(1, 7))
    return partials * np.exp(-2 * time_s / duration_s) * np.minimum(1, time_s / 0.01)


def drums(bpm, duration_s, rate_hz=RATE_HZ):
    rng = np.random.default_rng(int(bpm))
    time_s = np.arange(int(0.15 * rate_hz)) / rate_hz
    kick = np.sin(2 * np.pi * 55 * time_s) * np.exp(-25 * time_s)
    snare = 0.5 * rng.standard_normal(time_s.size) * np.exp(-30 * time_s)
    hat = 0.2 * rng.standard_normal(time_s.size) * np.exp(-90 * time_s)
    track = np.zeros(int(duration_s * rate_hz))
    beat_s = 60 / bpm
    for beat in range(int(duration_s / beat_s)):
        add(track, beat * beat_s, snare if beat % 2 else kick, rate_hz)
        add(track, beat * beat_s, hat, rate_hz)
        add(track, (beat + 0.5) * beat_s, hat, rate_hz)
    return 0.4 * track


def cadence(tonic, scale, duration_s=24.0):
    """Return chords I-IV-V-I of two seconds each, with their roots in the bass."""
    degrees = SCALES[scale]
    track = np.zeros(int(duration_s * RATE_HZ))
    for bar in range(int(duration_s / 2)):
        root = (0, 3, 4, 0)[bar % 4]
        for step in (0, 2, 4):
            add(track, 2 * bar, note(48 + tonic + degrees[(root + step) % 7], 2.0))
        add(track, 2 * bar, note(36 + tonic + degrees[root], 2.0))
    return 0.1 * track


def noise(color, duration_s, seed=0):
    size = int(duration_s * RATE_HZ)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(size))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / RATE_HZ), 20.0)
    colored = np.fft.irfft(spectrum / frequency ** {"white": 0, "pink": 0.5, "brown": 1}[color], size)
    return 0.1 * colored / colored.std()


def babble(duration_s):
    """Return syllables of a gliding voice with changing vowels, and pauses between phrases."""
    rng = np.random.default_rng(3)
    track = np.zeros(int(duration_s * RATE_HZ))
    at_s, pitch = 0.0, 120.0
    while at_s < duration_s:
        for _ in range(rng.integers(3, 9)):
            length_s = rng.uniform(0.12, 0.28)
            target = np.clip(pitch * rng.uniform(0.8, 1.25), 85, 200)
            size = int(length_s * RATE_HZ)
            frequency = np.linspace(pitch, target, size)
            phase = 2 * np.pi * np.cumsum(frequency) / RATE_HZ
            formants = (rng.uniform(300, 800), rng.uniform(900, 2200), 2600)
            voice = np.zeros(size)
            for k in range(1, 30):
                gain = sum(1 / (1 + ((k * frequency.mean() - f) / 120) ** 2) for f in formants)
                voice += gain * np.sin(k * phase)
            add(track, at_s, voice * np.hanning(size))
            add(track, at_s + length_s, 0.3 * rng.standard_normal(int(0.05 * RATE_HZ)))
            pitch = target
            at_s += length_s + 0.06
        at_s += rng.uniform(0.3, 0.7)
    return 0.3 * track / np.abs(track).max()


def assert_no_music(result, reason):
    assert result.reason == reason
    assert result.tempo is None
    assert result.key is None
    assert result.danceability is None
    assert {result.reasons[field] for field in ("bpm", "bpm_confidence", "beats", "key", "scale")} == {reason}


@pytest.mark.parametrize("bpm", [70, 85, 124, 140, 174])
def test_candidates_contain_the_tempo_of_drums(analyze, bpm):
    tempo = analyze(drums(bpm, 30)).tempo
    assert min(abs(candidate - bpm) for candidate in tempo.candidates) < 0.5
    assert tempo.bpm in tempo.candidates
    assert all(40 <= candidate <= 250 for candidate in tempo.candidates)
    assert 0.4 < tempo.confidence <= 1
    assert np.median(np.diff(tempo.beats)) == pytest.approx(60 / tempo.bpm, rel=0.05)


@pytest.mark.parametrize("bpm", [85, 140, 170])
def test_tempo_of_clicks_is_exact(analyze, bpm):
    track = np.zeros(30 * RATE_HZ)
    click = tone(1000, 0.02) * np.exp(-np.arange(882) / 200)
    for beat in range(int(30 * bpm / 60)):
        add(track, beat * 60 / bpm, click)
    result = analyze(0.5 * track)
    assert result.tempo.bpm == pytest.approx(bpm, abs=0.3)
    without_key = ("key", "scale", "key_strength", "camelot", "open_key", "key_sections", "tuning_hz")
    without_bars = ("beats_per_bar", "downbeats")
    assert result.reasons == dict.fromkeys(without_key, "not_tonal") | dict.fromkeys(
        without_bars, "no_clear_bars"
    )


@pytest.mark.parametrize(("tonic", "scale"), [(0, "major"), (6, "major"), (9, "minor"), (3, "minor")])
def test_key_of_a_cadence(analyze, tonic, scale):
    key = analyze(cadence(tonic, scale)).key
    assert (key.key, key.scale) == (NOTES[tonic], scale)
    assert 0.6 <= key.strength <= 1
    assert key.profile == "bgate" or not key.agreed


@pytest.mark.parametrize("tonic", [2, 7])
def test_key_of_a_triad_and_a_scale(analyze, tonic):
    track = np.zeros(20 * RATE_HZ)
    for second in range(0, 20, 2):
        for step in (0, 4, 7):
            add(track, second, note(48 + tonic + step, 1.0))
        for index, step in enumerate((0, 2, 4, 5, 7, 9, 11, 12)):
            add(track, second + 1 + index / 8, note(60 + tonic + step, 0.125))
    key = analyze(0.1 * track).key
    assert (key.key, key.scale) == (NOTES[tonic], "major")


def test_digital_silence_and_dither_have_only_a_reason(analyze):
    dither = np.random.default_rng(0).integers(-1, 2, 10 * RATE_HZ) / 32767
    for samples in (np.zeros(10 * RATE_HZ), dither, np.zeros(100)):
        result = analyze(samples)
        assert_no_music(result, "silence")
        assert result.loudness_lufs is None
        assert result.timbre is None


@pytest.mark.parametrize("color", ["white", "pink", "brown"])
@pytest.mark.parametrize("duration_s", [2, 6, 10, 30])
def test_noise_has_only_a_reason(analyze, color, duration_s):
    result = analyze(noise(color, duration_s))
    assert_no_music(result, "noise")
    assert result.loudness_lufs is None
    assert result.timbre is None


@pytest.mark.parametrize(
    "samples",
    [drums(120, 4), cadence(0, "major", 4.0), 0.5 * tone(440, 0.2)],
    ids=["drums", "chords", "blip"],
)
def test_a_very_short_file_has_loudness_and_timbre_but_no_tempo(analyze, samples):
    result = analyze(samples)
    assert_no_music(result, "too_short")
    assert -60 < result.loudness_lufs < 0
    assert len(result.timbre.mean) == len(result.timbre.variance) == 13
    assert np.shape(result.timbre.covariance) == (13, 13)
    assert np.shape(result.spectrum.covariance) == (10, 10)


def test_one_tone_has_loudness_but_neither_tempo_nor_key(analyze):
    result = analyze(0.1 * tone(1000, 20))
    assert result.reason is None
    assert result.reasons["bpm"] == result.reasons["danceability"] == "no_steady_beat"
    assert result.reasons["key"] == "not_tonal"


def test_a_synthetic_voice_is_speech(analyze):
    for duration_s in (12, 30):
        result = analyze(babble(duration_s))
        assert_no_music(result, "speech")
        assert result.loudness_lufs is not None


@pytest.mark.parametrize(("name", "lufs"), [("jfk.flac", -12.5), ("sample.wav", -32.5)])
def test_a_real_voice_is_speech(analyzer, name, lufs):
    if not SHARED.exists():
        pytest.skip(f"{SHARED} does not exist: real recordings are not part of the repository")
    result = analyzer.predict(SHARED / name, ignore)
    assert_no_music(result, "speech")
    assert result.loudness_lufs == pytest.approx(lufs, abs=0.1)


def test_loudness_of_ebu_tech_3341_case_1_and_of_its_mono_version(analyze):
    sine = decibels(-23) * tone(1000, 20)
    assert analyze(np.stack([sine, sine], axis=1)).loudness_lufs == pytest.approx(-23.0, abs=0.1)
    assert analyze(sine).loudness_lufs == pytest.approx(-26.0, abs=0.1)


def test_loudness_of_ebu_tech_3341_case_3_across_blocks(analyze):
    sine = np.concatenate([decibels(level) * tone(1000, s) for level, s in ((-36, 10), (-23, 60), (-36, 10))])
    assert analyze(np.stack([sine, sine], axis=1)).loudness_lufs == pytest.approx(-23.0, abs=0.1)


def test_one_analyzer_for_two_files_returns_the_same_as_two_analyzers(tmp_path, analyzer):
    first = write(tmp_path / "first.wav", drums(100, 20) + cadence(0, "major", 20))
    second = write(tmp_path / "second.wav", drums(140, 20) + cadence(7, "minor", 20))
    together = [analyzer.predict(path, ignore) for path in (first, second, first)]
    alone = [EssentiaAnalyzer().predict(path, ignore) for path in (first, second)]
    assert together == [alone[0], alone[1], alone[0]]
    assert together[0].tempo.bpm != pytest.approx(together[1].tempo.bpm, abs=5)
    assert together[0].timbre != together[1].timbre


def test_each_file_has_new_algorithm_objects(tmp_path, monkeypatch):
    analyzer = EssentiaAnalyzer()
    analyzer.load()
    real, created = analyzer._standard, []

    class Recording:
        def __getattr__(self, name):
            created.append(name)
            return getattr(real, name)

    monkeypatch.setattr(analyzer, "_standard", Recording())
    path = write(tmp_path / "song.wav", drums(100, 20) + cadence(0, "major", 20))
    analyzer.predict(path, ignore)
    once = list(created)
    analyzer.predict(path, ignore)
    assert created == once * 2
    assert once.count("RhythmExtractor2013") == once.count("MFCC") == once.count("Danceability") == 1
    assert once.count("KeyExtractor") == 2


def test_audio_after_a_long_silence_is_analyzed_at_its_time(tmp_path, analyzer):
    rate_hz, begin_s = 8000, 615.0
    track = np.concatenate([np.zeros(int(begin_s * rate_hz)), drums(125, 24, rate_hz)])
    result = analyzer.predict(write(tmp_path / "late.wav", track, rate_hz), ignore)
    assert result.tempo.bpm == pytest.approx(125, abs=1)
    assert result.tempo.beats[0] == pytest.approx(begin_s, abs=1.5)
    assert result.excerpt_start_s == pytest.approx(begin_s, abs=0.5)
    assert result.excerpt_end_s == pytest.approx(begin_s + 24, abs=0.5)


def test_music_whose_channels_cancel_is_measured_like_their_sum(analyze):
    track = (drums(125, 24) + cadence(2, "major", 24)) / 4
    right, swapped = (analyze(np.stack([track, sign * track], axis=1)) for sign in (1, -1))
    assert swapped.reasons == right.reasons == dict.fromkeys(("beats_per_bar", "downbeats"), "no_clear_bars")
    assert swapped.tempo.bpm == pytest.approx(125, abs=1)
    assert (swapped.key.key, swapped.key.scale) == (right.key.key, right.key.scale)


@pytest.mark.parametrize(("beats_per_bar", "bpm"), [(3, 132), (4, 120)])
def test_bars_begin_where_the_bass_and_the_chord_change(analyze, beats_per_bar, bpm):
    track, beat_s = 0.5 * drums(bpm, 40), 60 / bpm
    for bar, tonic in enumerate([0, 5, 7, 0] * 20):
        at_s = bar * beats_per_bar * beat_s
        add(track, at_s, 0.2 * note(36 + tonic, 2 * beat_s))
        for step in (0, 4, 7):
            add(track, at_s, 0.1 * note(60 + tonic + step, beats_per_bar * beat_s))
    bars = analyze(track).bars
    assert bars.beats_per_bar == beats_per_bar
    in_bars = np.array(bars.downbeats) / (beats_per_bar * beat_s)
    assert np.abs(in_bars - np.round(in_bars)).max() < 0.1


def test_music_tuned_to_432_hz_has_the_same_key(analyze):
    track = cadence(9, "minor")
    lower = np.interp(np.arange(0, len(track) - 1, 432 / 440), np.arange(len(track)), track)
    right, tuned = analyze(track), analyze(lower)
    assert (tuned.key.key, tuned.key.scale) == (right.key.key, right.key.scale) == ("A", "minor")
    assert right.tuning_hz == pytest.approx(440, abs=0.5)
    assert tuned.tuning_hz == pytest.approx(432, abs=0.5)


def test_a_mix_longer_than_one_part_has_sections_of_tempo_and_key(tmp_path, analyzer, monkeypatch):
    monkeypatch.setattr(constants, "PART_S", 50.0)
    monkeypatch.setattr(constants, "KEY_WINDOW_S", 15.0)
    tracks = [
        0.3 * drums(bpm, 45) + cadence(tonic, scale, 45)
        for bpm, tonic, scale in ((120, 9, "minor"), (126, 4, "minor"), (126, 7, "major"))
    ]
    result = analyzer.predict(write(tmp_path / "mix.wav", np.concatenate(tracks)), ignore)
    assert result.tempo.bpm == pytest.approx(126, abs=0.2)
    assert [section.bpm for section in result.tempo.sections] == pytest.approx([120, 126], abs=0.3)
    assert result.tempo.sections[0].end_s == pytest.approx(45, abs=3)
    keys = [(section.key, section.scale) for section in result.key.sections]
    assert keys == [("A", "minor"), ("E", "minor"), ("G", "major")]
    assert (result.excerpt_start_s, result.excerpt_end_s) == pytest.approx((0, 135), abs=0.5)
    assert len(result.tempo.beats) == pytest.approx(45 * 2 + 90 * 2.1, abs=8)


def test_loudness_range_of_ebu_tech_3342_case_1(analyze):
    sine = np.concatenate([decibels(level) * tone(1000, 20) for level in (-20, -30)])
    assert analyze(np.stack([sine, sine], axis=1)).loudness_range_lu == pytest.approx(10, abs=1)


def test_true_peak_is_that_of_the_louder_channel(analyze):
    sine = 0.5 * tone(RATE_HZ / 4 - 1, 10)
    result = analyze(np.stack([0.1 * sine, sine], axis=1))
    assert result.true_peak_dbtp == pytest.approx(-6.0, abs=0.2)


def test_energy_and_onset_rate_follow_loudness_and_rhythm(analyze):
    calm, lively = analyze(0.05 * cadence(0, "major")), analyze(drums(140, 24) + cadence(0, "major"))
    assert calm.onset_rate < lively.onset_rate
    assert 0 <= calm.energy < lively.energy <= 1


def test_progress_increases_through_all_stages(tmp_path, analyzer):
    reports = []
    path = write(tmp_path / "sound.wav", drums(120, 10))
    analyzer.predict(path, lambda fraction, stage: reports.append((fraction, stage)))
    assert [fraction for fraction, _ in reports] == sorted(fraction for fraction, _ in reports)
    assert [stage for _, stage in reports] == ["decoding", "texture", "tempo", "key", "timbre"]
    assert all(0 <= fraction <= 1 for fraction, _ in reports)


def test_a_file_that_is_not_media_fails_with_a_reason(tmp_path, analyzer):
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"this is a text, not a recording" * 100)
    with pytest.raises(MediaError) as raised:
        analyzer.predict(broken, ignore)
    assert raised.value.reason == "not_media"


def test_a_wav_of_not_a_number_samples_is_silence(tmp_path, analyzer):
    samples = np.full(10 * RATE_HZ, math.nan, dtype="<f4")
    header = b"RIFF" + (36 + samples.nbytes).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = b"".join(
        number.to_bytes(size, "little")
        for number, size in ((3, 2), (1, 2), (RATE_HZ, 4), (4 * RATE_HZ, 4), (4, 2), (32, 2))
    )
    path = tmp_path / "nan.wav"
    path.write_bytes(header + form + b"data" + samples.nbytes.to_bytes(4, "little") + samples.tobytes())
    assert_no_music(analyzer.predict(path, ignore), "silence")


def test_the_engine_prints_nothing(tmp_path, capfd):
    EssentiaAnalyzer().predict(write(tmp_path / "sound.wav", drums(120, 8)), ignore)
    output = capfd.readouterr()
    assert (output.out, output.err) == ("", "")
