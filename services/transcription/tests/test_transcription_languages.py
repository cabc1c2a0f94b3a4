"""Languages of a recording: each passage in its own, and no change for a short noise."""

import numpy as np
import pytest

from phonograph_media import SAMPLE_RATE_HZ
from phonograph_media.speech import SpeechRegion
from phonograph_transcription.domain.languages import LanguageWindow, decide_languages
from phonograph_transcription.inference.whisper import divide_by_language, window_spans_s

from .support.fake_whisper import FakeModel, chunk_of, fake_transcriber

ENGLISH = {"en": 0.95, "de": 0.01}
GERMAN = {"de": 0.95, "en": 0.01}
NOISE = {"nn": 0.5, "en": 0.2, "de": 0.05}


def decide(*heard: dict[str, float], seconds: float = 5.0, previous: str | None = None) -> str:
    """Return the languages of windows as one word, with the first letter of each."""
    windows = [
        LanguageWindow(seconds * number, seconds * (number + 1), found) for number, found in enumerate(heard)
    ]
    return "".join(language[0] for language in decide_languages(windows, previous=previous))


def test_each_passage_has_its_own_language():
    assert decide(ENGLISH, ENGLISH, GERMAN, GERMAN, ENGLISH, ENGLISH) == "eeddee"
    assert decide(GERMAN, GERMAN, ENGLISH, ENGLISH) == "ddee"


def test_a_short_or_unclear_window_changes_nothing():
    assert decide(ENGLISH, ENGLISH, NOISE, ENGLISH) == "eeee"
    assert decide(ENGLISH, NOISE, NOISE, NOISE, ENGLISH) == "eeeee"
    assert decide(ENGLISH, ENGLISH, GERMAN, ENGLISH) == "eeee"
    assert decide(ENGLISH, ENGLISH, GERMAN, GERMAN, ENGLISH, seconds=2) == "eeeee"


def test_the_language_continues_from_one_batch_to_the_next():
    assert decide(NOISE, previous="en") == "e"
    assert decide(GERMAN, previous="en") == "e"
    assert decide(GERMAN, GERMAN, GERMAN, previous="en") == "ddd"
    # What follows the last window is unknown: one window is not enough at the end, either.
    assert decide(ENGLISH, GERMAN, previous="en") == "ee"


def test_without_windows_there_is_no_language():
    assert decide_languages([], previous="en") == []


def region(start_s: float, end_s: float) -> SpeechRegion:
    return SpeechRegion(int(start_s * SAMPLE_RATE_HZ), int(end_s * SAMPLE_RATE_HZ))


def test_a_chunk_is_divided_in_a_pause():
    chunk = (region(0, 4), region(10, 12), region(20, 31))
    spans = list(window_spans_s(chunk))
    assert spans == [(0, 4), (4, 6), (6, 11.5), (11.5, 17)]
    windows = [LanguageWindow(start, end, {}) for start, end in spans]

    assert list(divide_by_language(chunk, windows, ["en", "en", "de", "de"])) == [
        ("en", chunk[:2]),
        ("de", chunk[2:]),
    ]
    # The last region is one: half of it is no reason to cut a word.
    ((language, whole),) = divide_by_language(chunk, windows, ["en", "en", "en", "de"])
    assert (language, whole) == ("en", chunk)


@pytest.fixture
def two_languages(talk) -> np.ndarray:
    """Return English speech, and the same speech at a third of its level, which the fake takes for German."""
    return np.concatenate([talk, talk / 3])


def detect_by_level(sound: np.ndarray) -> dict[str, float]:
    return ENGLISH if np.abs(sound).max() > 0.4 * 0.5 else GERMAN


def transcribe(samples: np.ndarray, language: str | None = None):
    model = FakeModel(
        lambda sound: chunk_of((" Yes." if detect_by_level(sound) is ENGLISH else " Ja.", 1.0, 2.0)),
        detect_by_level,
    )
    transcript = fake_transcriber(model).predict(samples, language=language, progress=lambda *_: None)
    return transcript, model


def test_a_recording_in_two_languages_is_decoded_in_both(two_languages):
    transcript, model = transcribe(two_languages)

    assert [(segment.text, segment.language) for segment in transcript.segments] == [
        ("Yes.", "en"),
        ("Ja.", "de"),
    ]
    assert transcript.languages == ("en", "de")
    assert model.languages_used == ["en", "de"]
    assert 0.9 < transcript.language_probability < 1


def test_a_requested_language_is_obeyed(two_languages):
    transcript, model = transcribe(two_languages, "de")

    assert set(model.languages_used) == {"de"}
    assert (transcript.language, transcript.language_probability, transcript.languages) == ("de", 1, ("de",))


def test_a_recording_in_one_language_is_decoded_once(talk):
    transcript, model = transcribe(talk)

    assert model.languages_used == ["en"]
    assert (transcript.language, transcript.languages) == ("en", ("en",))
