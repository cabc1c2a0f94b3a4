"""The Whisper transcriber on a model with random weights, whose words have no meaning."""

from itertools import count, pairwise

import numpy as np
import pytest

from phonograph_media import SAMPLE_RATE_HZ
from phonograph_media.speech import SpeechRegion
from phonograph_models import ModelCache, ModelMissingError
from phonograph_runtime.errors import EngineUnavailableError
from phonograph_transcription.domain.engines import EngineChoice, WhisperOptions
from phonograph_transcription.domain.transcript import Transcript, WarningCode, Word
from phonograph_transcription.inference.selection import select_transcriber
from phonograph_transcription.inference.whisper import Passage, WhisperTranscriber, build_segments
from phonograph_transcription.inference.whisper_model import SpeechModel

from .support.fake_whisper import FakeModel, chunk_of, fake_transcriber
from .support.tiny_whisper import make_tiny_whisper


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> ModelCache:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_whisper(folder / "tiny")
    make_tiny_whisper(folder / "tiny.en", multilingual=False)
    return ModelCache(folder)


def whisper(models: ModelCache, name: str, **options) -> WhisperTranscriber:
    options = {"device": "cpu", "compute_type": "float32", "beam_size": 1} | options
    return WhisperTranscriber(models.folder / name, model_name=name, **options)


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
    def load_nothing(device: str, compute_type: str) -> SpeechModel:
        raise AssertionError

    engine = WhisperTranscriber(models.folder / "tiny", model_name="tiny", load_model=load_nothing)
    noise = 0.2 * np.random.default_rng(3).standard_normal(4 * SAMPLE_RATE_HZ)
    for samples in (np.zeros(4 * SAMPLE_RATE_HZ, np.float32), noise.astype(np.float32)):
        transcript = predict(engine, samples)
        assert (transcript.text, transcript.reason) == ("", "no_speech")


def passage(
    text: str,
    start: float = 0.0,
    end: float = 2.0,
    *,
    mean_log_probability: float = -0.2,
    no_speech_probability: float = 0.1,
) -> Passage:
    """Return a decoded chunk whose words share its time."""
    words = text.split()
    times = np.linspace(start, end, len(words) + 1)
    return Passage(
        chunk=(SpeechRegion(int(start * SAMPLE_RATE_HZ), int(end * SAMPLE_RATE_HZ)),),
        language="en",
        words=tuple(
            Word(word, float(first), float(last), 0.8, is_spaced=True)
            for word, (first, last) in zip(words, pairwise(times), strict=True)
        ),
        mean_log_probability=mean_log_probability,
        no_speech_probability=no_speech_probability,
    )


def transcribe(*passages: Passage) -> Transcript:
    segments, warnings = build_segments(passages, 9.0)
    return Transcript("faster-whisper", "m", "en", 1.0, tuple(segments), warnings)


def test_hallucinated_text_is_dropped_with_a_warning():
    transcript = transcribe(
        passage("Thank you."), passage("Subscribe!", mean_log_probability=-1.4, no_speech_probability=0.9)
    )
    assert transcript.text == "Thank you."
    assert [warning.code for warning in transcript.warnings] == [WarningCode.INVENTED_TEXT]


def test_a_loop_is_dropped_with_a_warning():
    transcript = transcribe(passage("Well."), passage("I know. I know. I know. I know. I know.", 2, 5))
    assert transcript.text == "Well.\nI know."
    assert [(warning.code, warning.segment) for warning in transcript.warnings] == [("repetition", 1)]
    assert [word.text for word in transcript.segments[1].words] == ["I", "know."]


def test_a_loop_over_many_passages_is_dropped_with_one_warning():
    sentence = "So that is a sentence of its own, longer than any phrase that people repeat."
    transcript = transcribe(
        passage("Well.", 0, 1),
        *(passage(sentence, 1 + number / 2, 1.5 + number / 2) for number in range(6)),
        passage("No, no, no.", 5, 6),
        *(passage("Thank you.", 6 + number / 4, 6.25 + number / 4) for number in range(5)),
        passage("Goodbye.", 8, 9),
    )

    assert transcript.text.split("\n") == ["Well.", sentence, "No, no, no.", "Thank you.", "Goodbye."]
    assert [(warning.code, warning.segment) for warning in transcript.warnings] == [
        ("repetition", 1),
        ("repetition", 3),
    ]
    assert transcript.warnings[1].message.startswith("8 words")


def test_a_loop_without_speech_is_invented_as_a_whole():
    """A model trusts its own repetitions: only the probability of speech is low."""
    transcript = transcribe(
        passage("Well.", 0, 1),
        *(
            passage("Thank you.", 2 + n, 3 + n, mean_log_probability=-0.1, no_speech_probability=0.8)
            for n in range(5)
        ),
    )

    assert transcript.text == "Well."
    assert [(warning.code, warning.segment) for warning in transcript.warnings] == [("invented_text", None)]


def test_segments_of_a_model_never_run_backwards():
    transcript = transcribe(
        passage("One two", 0, 2),
        passage("three four five six", 3, 5),
        passage("seven", 2, 2.5),
        passage("eight nine", 6, 7),
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
    model = FakeModel(lambda sound: chunk_of())
    assert predict(fake_transcriber(model), talk).reason == "no_speech"


def test_words_have_their_spaces_and_the_times_of_the_recording(talk):
    """The model receives the speech without the pause of 3 s, so that its times are other ones."""
    pause = np.zeros(3 * SAMPLE_RATE_HZ, np.float32)
    samples = np.concatenate([talk[: 5 * SAMPLE_RATE_HZ], pause, talk[5 * SAMPLE_RATE_HZ :]])
    words = (" 100", 0.2, 0.8), ("%", 0.8, 1.0), (" sure,", 1.0, 1.0), (" I", 7.0, 7.2), ("-link", 7.2, 7.9)
    transcript = predict(fake_transcriber(FakeModel(lambda sound: chunk_of(*words))), samples)

    assert transcript.text == "100% sure,\nI-link"
    first, second = transcript.segments
    assert 0 < first.start_s < first.end_s < 5 < 8 < second.start_s < second.end_s < 12
    assert [(word.text, word.is_spaced) for word in first.words + second.words] == [
        ("100", True),
        ("%", False),
        ("sure,", True),
        ("I", True),
        ("-link", False),
    ]
    assert all(word.start_s < word.end_s for segment in transcript.segments for word in segment.words)


def test_text_of_a_script_without_spaces_has_none(talk):
    words = ("机", 0.2, 0.8), ("器", 0.8, 1.0), ("学习。", 1.0, 1.6), ("你", 2.0, 2.2), ("好", 2.2, 2.9)
    transcript = predict(fake_transcriber(FakeModel(lambda sound: chunk_of(*words))), talk)
    assert transcript.text == "机器学习。\n你好"


def test_a_long_recording_is_read_in_parts(talk):
    """Neither the detection of speech nor the model needs the whole recording at once."""

    class File:
        longest = 0

        def __len__(self) -> int:
            return 60 * talk.size

        def __getitem__(self, part: slice) -> np.ndarray:
            start, stop, _ = part.indices(len(self))
            self.longest = max(self.longest, stop - start)
            return talk[np.arange(start, stop) % talk.size]

    samples = File()
    numbers = count()
    model = FakeModel(lambda sound: chunk_of((f" Yes{next(numbers)}.", 1.0, 2.0)))
    transcript = predict(fake_transcriber(model, batch_size=4), samples)

    assert samples.longest <= 70 * SAMPLE_RATE_HZ
    assert max(model.batches) == 4
    assert max(model.lengths) <= 30 * SAMPLE_RATE_HZ
    assert transcript.segments[-1].end_s > 8.5 * 60
    assert transcript.text.split("\n") == [f"Yes{number}." for number in range(len(model.lengths))]


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
