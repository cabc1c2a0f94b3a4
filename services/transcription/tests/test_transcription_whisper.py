"""The Whisper transcriber on a model with random weights, whose words have no meaning."""

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from phonograph_media import SAMPLE_RATE_HZ, make_rendition, read_rendition
from phonograph_runtime.errors import EngineUnavailableError
from phonograph_transcription.domain.engines import EngineChoice, WhisperOptions
from phonograph_transcription.domain.transcript import WarningCode
from phonograph_transcription.exceptions import ModelMissingError
from phonograph_transcription.inference.models import ModelFolder
from phonograph_transcription.inference.selection import select_transcriber
from phonograph_transcription.inference.whisper import WhisperTranscriber

from .support.tiny_whisper import make_tiny_whisper

TALK = Path(__file__).parents[3] / "tests" / "samples" / "talk.ogg"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> ModelFolder:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_whisper(folder / "tiny")
    make_tiny_whisper(folder / "tiny.en", multilingual=False)
    return ModelFolder(folder)


@pytest.fixture(scope="module")
def talk(tmp_path_factory) -> np.ndarray:
    path = tmp_path_factory.mktemp("talk") / "rendition.wav"
    make_rendition(TALK, path)
    return read_rendition(path)[: 9 * SAMPLE_RATE_HZ]


def whisper(models: ModelFolder, name: str, **options) -> WhisperTranscriber:
    options = {"device": "cpu", "compute_type": "float32", "beam_size": 1} | options
    return WhisperTranscriber(models.require(name), model_name=name, **options)


def predict(engine, samples, language=None):
    reports: list[float] = []
    transcript = engine.predict(samples, language=language, progress=lambda done, _: reports.append(done))
    assert all(0 <= done <= 1 for done in reports)
    return transcript


@pytest.mark.parametrize("batch_size", [1, 4])
def test_words_and_language_are_recognized(models, talk, batch_size):
    transcript = predict(whisper(models, "tiny", batch_size=batch_size), talk)
    assert (transcript.engine, transcript.model) == ("faster-whisper", "tiny")
    assert len(transcript.language) >= 2
    assert 0 < transcript.language_probability < 1
    assert transcript.word_count > 0
    for segment in transcript.segments:
        assert 0 <= segment.start_s <= segment.end_s <= 9
        assert segment.text == segment.text.strip() != ""
        assert 0 < segment.confidence <= 1
        for word in segment.words:
            assert word.text == word.text.strip()
            assert word.start_s <= word.end_s <= 9
            assert 0 <= word.confidence <= 1


def test_a_given_language_is_not_detected(models, talk):
    transcript = predict(whisper(models, "tiny"), talk, language="de")
    assert (transcript.language, transcript.language_probability) == ("de", 1)


def test_an_english_model_supports_no_other_language(models, talk):
    engine = whisper(models, "tiny.en")
    assert predict(engine, talk).language == "en"
    rejected = predict(engine, talk, language="fr")
    assert (rejected.text, rejected.reason) == ("", "unsupported_language")


def test_a_model_loads_as_int8(models, talk):
    assert predict(whisper(models, "tiny", compute_type="int8"), talk).engine == "faster-whisper"


def test_silence_and_noise_never_reach_the_model(models):
    engine = WhisperTranscriber(models.require("tiny"), model_name="tiny", loaded=object())
    noise = 0.2 * np.random.default_rng(3).standard_normal(4 * SAMPLE_RATE_HZ)
    for samples in (np.zeros(4 * SAMPLE_RATE_HZ, np.float32), noise.astype(np.float32)):
        transcript = predict(engine, samples)
        assert (transcript.text, transcript.reason) == ("", "no_speech")


@dataclass
class RawSegment:
    """A segment as faster-whisper returns it."""

    text: str
    start: float = 0.0
    end: float = 2.0
    avg_logprob: float = -0.2
    no_speech_prob: float = 0.1
    words: list = field(default_factory=list)

    def __post_init__(self):
        words = self.text.split()
        times = np.linspace(self.start, self.end, len(words) + 1)
        self.words = [
            SimpleNamespace(word=f" {word}", start=start, end=end, probability=0.8)
            for word, (start, end) in zip(words, pairwise(times), strict=True)
        ]


class StubModel:
    """Returns given segments."""

    supported_languages = ("en",)

    def __init__(self, *segments: RawSegment) -> None:
        self.segments = segments

    def transcribe(self, samples, **options):
        return iter(self.segments), SimpleNamespace(language="en", language_probability=0.9)


def transcribe(talk, *segments: RawSegment):
    engine = WhisperTranscriber(Path("nowhere"), model_name="m", batch_size=1, loaded=StubModel(*segments))
    return predict(engine, talk)


def test_hallucinated_text_is_dropped_with_a_warning(talk):
    transcript = transcribe(
        talk, RawSegment(" Thank you."), RawSegment(" Subscribe!", avg_logprob=-1.4, no_speech_prob=0.9)
    )
    assert transcript.text == "Thank you."
    assert [warning.code for warning in transcript.warnings] == [WarningCode.INVENTED_TEXT]


def test_a_loop_is_dropped_with_a_warning(talk):
    transcript = transcribe(
        talk, RawSegment(" Well."), RawSegment(" I know. I know. I know. I know. I know.", start=2, end=5)
    )
    assert transcript.text == "Well.\nI know."
    assert [(warning.code, warning.segment) for warning in transcript.warnings] == [("repetition", 1)]
    assert [word.text for word in transcript.segments[1].words] == ["I", "know."]


def test_a_loop_over_many_segments_is_dropped_with_one_warning(talk):
    sentence = " So that is a sentence of its own, longer than any phrase that people repeat."
    transcript = transcribe(
        talk,
        RawSegment(" Well.", end=1),
        *(RawSegment(sentence, start=1 + number / 2, end=1.5 + number / 2) for number in range(6)),
        RawSegment(" No, no, no.", start=5, end=6),
        *(RawSegment(" Thank you.", start=6 + number / 4, end=6.25 + number / 4) for number in range(5)),
        RawSegment(" Goodbye.", start=8, end=9),
    )

    assert transcript.text.split("\n") == ["Well.", sentence.strip(), "No, no, no.", "Thank you.", "Goodbye."]
    assert [(warning.code, warning.segment) for warning in transcript.warnings] == [
        ("repetition", 1),
        ("repetition", 3),
    ]
    assert transcript.warnings[1].message.startswith("8 words")


def test_a_loop_without_speech_is_invented_as_a_whole(talk):
    """A model trusts its own repetitions: only the probability of speech is low."""
    transcript = transcribe(
        talk,
        RawSegment(" Well.", end=1),
        *(
            RawSegment(" Thank you.", start=2 + n, end=3 + n, avg_logprob=-0.1, no_speech_prob=0.8)
            for n in range(5)
        ),
    )

    assert transcript.text == "Well."
    assert [(warning.code, warning.segment) for warning in transcript.warnings] == [("invented_text", None)]


def test_segments_of_a_model_never_run_backwards(talk):
    transcript = transcribe(
        talk,
        RawSegment(" One two", start=0, end=2),
        RawSegment(" three four five six", start=3, end=5),
        RawSegment(" seven", start=2, end=2.5),
        RawSegment(" eight nine", start=6, end=7),
    )

    assert transcript.text.split() == ["One", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    times = [time for s in transcript.segments for w in s.words for time in (w.start_s, w.end_s)]
    assert times == sorted(times)
    borders = [time for segment in transcript.segments for time in (segment.start_s, segment.end_s)]
    assert borders == sorted(borders)


def test_speech_after_long_noise_reaches_the_model_at_its_time(models, talk):
    """The model receives the speech alone; its times are of the recording."""
    room = 0.03 * np.random.default_rng(8).standard_normal(90 * SAMPLE_RATE_HZ)
    samples = np.concatenate([room.astype(np.float32), talk])
    for batch_size in (1, 4):
        transcript = predict(whisper(models, "tiny", batch_size=batch_size), samples, language="en")
        assert transcript.word_count > 0
        assert 90 <= transcript.segments[0].start_s <= transcript.segments[-1].end_s <= 99


def test_blank_text_is_no_speech(talk):
    assert transcribe(talk, RawSegment("  ")).reason == "no_speech"


def test_auto_selects_a_model_on_this_machine(models):
    engine, warnings = select_transcriber(EngineChoice.AUTO, WhisperOptions("tiny", device="cpu"), models)
    assert (engine.name, engine.model, warnings) == ("faster-whisper", "tiny", ())


def test_auto_falls_back_with_a_warning(models):
    engine, (warning,) = select_transcriber(EngineChoice.AUTO, WhisperOptions("large-v3"), models)
    assert (engine.name, warning.code) == ("pocketsphinx", WarningCode.ENGINE_FALLBACK)
    assert "phonograph models fetch large-v3" in warning.message


def test_a_named_engine_never_falls_back(models, tmp_path):
    with pytest.raises(ModelMissingError, match="phonograph models fetch large-v3"):
        select_transcriber(EngineChoice.FASTER_WHISPER, WhisperOptions("large-v3"), models)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.bin").write_bytes(b"no model")
    with pytest.raises(EngineUnavailableError, match=r"tokenizer\.json"):
        select_transcriber(EngineChoice.FASTER_WHISPER, WhisperOptions(str(tmp_path / "broken")), models)
    (tmp_path / "broken" / "tokenizer.json").write_text("{}")
    with pytest.raises(EngineUnavailableError, match="cannot be loaded"):
        select_transcriber(EngineChoice.FASTER_WHISPER, WhisperOptions(str(tmp_path / "broken")), models)
    engine, warnings = select_transcriber(EngineChoice.POCKETSPHINX, WhisperOptions("tiny"), models)
    assert (engine.name, warnings) == ("pocketsphinx", ())
