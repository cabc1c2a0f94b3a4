"""Speech recognition with the real model `base`; skipped with the reason where it cannot be had.

`data/german.ogg` is made by `espeak-ng -v de -s 140` and encoded as Opus at 24 kbit/s.
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.support.word_errors import word_error_rate

from phonograph_media import SAMPLE_RATE_HZ, make_rendition, read_rendition
from phonograph_transcription.domain.transcript import Transcript
from phonograph_transcription.inference.whisper import WhisperTranscriber

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "tests" / "samples"
RECORDINGS = ROOT.parent / "shared" / "data"
GERMAN = Path(__file__).parent / "data" / "german.ogg"
GERMAN_TEXT = (
    "Guten Morgen meine Damen und Herren. Heute sprechen wir über das Wetter und über die neue Schule in"
    " unserer Stadt. Die Kinder kommen am Montag, und wir müssen noch viele Bücher kaufen. Danach gehen wir"
    " zusammen in den Garten und trinken Kaffee."
)
JFK_TEXT = (
    "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your"
    " country."
)


@pytest.fixture(scope="module")
def base(require_model) -> WhisperTranscriber:
    return WhisperTranscriber(
        require_model("base"), model_name="base", device="cpu", compute_type="int8", threads=2
    )


def sound_of(source: Path, folder: Path) -> np.ndarray:
    if not source.exists():
        pytest.skip(f"{source} is not on this machine")
    make_rendition(source, folder / "rendition.wav")
    return read_rendition(folder / "rendition.wav")


def transcribe(engine: WhisperTranscriber, samples: np.ndarray, language: str | None = None) -> Transcript:
    transcript = engine.predict(samples, language=language, progress=lambda *_: None)
    assert all(segment.end_s - segment.start_s <= 20 for segment in transcript.segments)
    assert all(before.end_s <= after.start_s for before, after in pairwise(transcript.segments))
    for segment in transcript.segments:
        assert all(word.start_s < word.end_s for word in segment.words)
        assert all(after.start_s - before.end_s <= 2 for before, after in pairwise(segment.words))
    return transcript


def truth(name: str) -> str:
    return json.loads((SAMPLES / "truth.json").read_text())[name]["text"]


@pytest.mark.parametrize(("name", "most"), [("talk.ogg", 0.0), ("lecture.mp4", 0.01)])
def test_the_samples_are_recognized(base, tmp_path, name, most):
    transcript = transcribe(base, sound_of(SAMPLES / name, tmp_path))
    assert word_error_rate(truth(name), transcript.text) <= most
    assert (transcript.language, transcript.languages, transcript.warnings) == ("en", ("en",), ())
    assert transcript.language_probability > 0.9


def test_real_recordings_are_recognized(base, tmp_path):
    jfk = transcribe(base, sound_of(RECORDINGS / "jfk.flac", tmp_path))
    assert word_error_rate(JFK_TEXT, jfk.text) == 0

    sample = transcribe(base, sound_of(RECORDINGS / "sample.wav", tmp_path))
    utterances = (RECORDINGS / "sample.stm").read_text().splitlines()
    assert word_error_rate(" ".join(line.split(maxsplit=5)[5] for line in utterances), sample.text) <= 0.12
    assert len(sample.segments) >= 10


def test_no_sentence_is_lost_in_a_chunk(base, tmp_path):
    """With time stamps in its text, the model omits the second sentence of the repeated talk."""
    whole = sound_of(SAMPLES / "talk.ogg", tmp_path)
    turns = json.loads((SAMPLES / "truth.json").read_text())["talk.ogg"]["turns"]
    transcript = transcribe(base, np.concatenate([whole[9 * SAMPLE_RATE_HZ :], whole]))
    spoken = " ".join(turn["text"] for turn in [*turns[2:], *turns])
    assert word_error_rate(spoken, transcript.text) == 0


def test_a_second_language_is_recognized_as_such(base, talk, tmp_path):
    german = sound_of(GERMAN, tmp_path)
    pause = np.zeros(SAMPLE_RATE_HZ, np.float32)
    transcript = transcribe(base, np.concatenate([talk, pause, german]))

    assert transcript.languages == ("en", "de")
    spoken = {
        language: " ".join(segment.text for segment in transcript.segments if segment.language == language)
        for language in transcript.languages
    }
    assert word_error_rate(truth("talk.ogg"), spoken["en"]) < 1
    assert spoken["en"].startswith("Good morning")
    assert word_error_rate(GERMAN_TEXT, spoken["de"]) < 0.35

    requested = transcribe(base, np.concatenate([talk, pause]), language="de")
    assert {segment.language for segment in requested.segments} == {"de"}


def test_speech_after_long_noise_is_recognized_and_nothing_else(base, talk):
    room = 0.03 * np.random.default_rng(8).standard_normal(90 * SAMPLE_RATE_HZ)
    alone = transcribe(base, talk)
    transcript = transcribe(base, np.concatenate([room.astype(np.float32), talk]))

    assert transcript.text == alone.text
    assert transcript.segments[0].start_s == pytest.approx(90 + alone.segments[0].start_s, abs=0.3)


@pytest.mark.parametrize("kind", ["music", "noise", "silence", "music after speech"])
def test_no_text_is_invented_without_speech(base, talk, tmp_path, kind):
    music = sound_of(SAMPLES / "groove.mp3", tmp_path)
    noise = 0.2 * np.random.default_rng(3).standard_normal(30 * SAMPLE_RATE_HZ)
    sounds = {"music": music, "noise": noise.astype(np.float32), "silence": np.zeros_like(music)}
    if kind == "music after speech":
        transcript = transcribe(base, np.concatenate([talk, music]))
        assert transcript.text == transcribe(base, talk).text
    else:
        assert transcribe(base, sounds[kind]).text == ""
