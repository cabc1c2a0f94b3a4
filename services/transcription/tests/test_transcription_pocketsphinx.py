"""The default transcriber on recorded speech, on the samples, and on sounds that are not speech."""

import json
import re
from pathlib import Path

import jiwer
import numpy as np
import pytest

from phonograph_media import SAMPLE_RATE_HZ, make_rendition, read_rendition
from phonograph_runtime.errors import EngineUnavailableError
from phonograph_transcription.inference.pocketsphinx import PocketsphinxTranscriber

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
SAMPLES = ROOT / "tests" / "samples"
JFK = (
    "And so my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country."
)


@pytest.fixture(scope="module")
def engine():
    return PocketsphinxTranscriber()


def load_samples(source: Path, folder: Path) -> np.ndarray:
    make_rendition(source, folder / "rendition.wav")
    return read_rendition(folder / "rendition.wav")


def predict(engine, samples, **options):
    return engine.predict(samples, **{"language": None, "progress": lambda *_: None} | options)


def error_rate(reference: str, text: str) -> float:
    def plain(text: str) -> str:
        return " ".join(re.findall(r"[a-z']+", text.lower()))

    return jiwer.wer(plain(reference), plain(text))


def test_a_historic_speech_is_recognized(engine, tmp_path):
    if not (DATA / "jfk.flac").exists():
        pytest.skip(f"the real recordings are not in {DATA}")
    transcript = predict(engine, load_samples(DATA / "jfk.flac", tmp_path))
    assert error_rate(JFK, transcript.text) < 0.3
    assert "fellow americans" in transcript.text


def test_the_sample_talk_is_recognized_with_ordered_words(engine, tmp_path):
    truth = json.loads((SAMPLES / "truth.json").read_text())["talk.ogg"]
    samples = load_samples(SAMPLES / "talk.ogg", tmp_path)
    reports: list[tuple[float, str]] = []
    transcript = predict(engine, samples, progress=lambda *report: reports.append(report))
    assert error_rate(truth["text"], transcript.text) < 0.15
    assert (transcript.engine, transcript.model, transcript.language) == ("pocketsphinx", "en-us", "en")
    assert (transcript.warnings, transcript.reason) == ((), None)

    words = [word for segment in transcript.segments for word in segment.words]
    assert all(re.fullmatch(r"[a-z'.-]+", word.text) for word in words)
    assert all(0 < word.end_s - word.start_s <= 3 for word in words)
    assert [word.start_s for word in words] == sorted(word.start_s for word in words)
    assert words[-1].end_s <= len(samples) / SAMPLE_RATE_HZ
    assert all(0 <= word.confidence <= 1 for word in words)
    assert len({word.confidence for word in words}) > 10
    (monday,) = [word for word in words if word.text == "monday"]
    assert monday.end_s == pytest.approx(truth["turns"][-1]["end"], abs=0.4)

    fractions = [fraction for fraction, _ in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] > 0.9


def test_a_quiet_talk_is_recognized_like_a_loud_one(engine, tmp_path):
    truth = json.loads((SAMPLES / "truth.json").read_text())["talk.ogg"]
    samples = load_samples(SAMPLES / "talk.ogg", tmp_path)
    quiet = np.rint(samples * 10 ** (-40 / 20) * 32_768).astype(np.float32) / 32_768
    assert error_rate(truth["text"], predict(engine, quiet).text) < 0.1


def test_a_transcript_does_not_depend_on_earlier_recordings(engine, tmp_path):
    talk = load_samples(SAMPLES / "talk.ogg", tmp_path)[: 9 * SAMPLE_RATE_HZ]
    fresh = predict(PocketsphinxTranscriber(), talk)
    noise = 0.3 * np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE_HZ).astype(np.float32)
    predict(engine, np.concatenate([talk[::-1], noise]))
    assert predict(engine, talk).text == fresh.text


def silence(time_s):
    return np.zeros_like(time_s)


def noise(time_s):
    return 0.3 * np.random.default_rng(1).standard_normal(time_s.size)


def tone(time_s):
    return 0.5 * np.sin(2 * np.pi * 440 * time_s)


def chords(time_s):
    beat = np.exp(-8 * (time_s % 0.5)) * np.sin(2 * np.pi * 60 * (time_s % 0.5))
    notes = sum(np.sin(2 * np.pi * hz * time_s) for hz in (220, 277.2, 329.6, 440))
    return 0.6 * beat + 0.1 * notes


@pytest.mark.parametrize("kind", [silence, noise, tone, chords])
def test_sounds_other_than_speech_have_no_text_but_a_reason(engine, kind):
    samples = kind(np.arange(8 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ).astype(np.float32)
    transcript = predict(engine, samples)
    assert (transcript.text, transcript.segments, transcript.reason) == ("", (), "no_speech")
    assert transcript.confidence is None


@pytest.mark.parametrize("name", ["groove.mp3", "mix.mp3"])
def test_music_has_no_text(engine, tmp_path, name):
    assert predict(engine, load_samples(SAMPLES / name, tmp_path)).reason == "no_speech"


def test_an_empty_recording_has_no_text(engine):
    assert predict(engine, np.zeros(0, np.float32)).reason == "no_speech"


def test_other_languages_are_rejected(engine, tmp_path):
    talk = load_samples(SAMPLES / "talk.ogg", tmp_path)[: 3 * SAMPLE_RATE_HZ]
    transcript = predict(engine, talk, language="de")
    assert (transcript.text, transcript.reason) == ("", "unsupported_language")
    assert predict(engine, talk, language="en-GB").text


def test_a_broken_installation_is_an_error(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pocketsphinx", None)
    with pytest.raises(EngineUnavailableError, match="pocketsphinx cannot be loaded"):
        PocketsphinxTranscriber().load()
