"""Whisper models on CTranslate2: many languages, punctuation, a GPU where there is one."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_media import SAMPLE_RATE_HZ
from phonograph_runtime.errors import EngineUnavailableError
from phonograph_runtime.ports import Progress
from phonograph_transcription.domain.ports import Transcriber
from phonograph_transcription.domain.repetition import without_loops
from phonograph_transcription.domain.transcript import (
    Segment,
    Transcript,
    TranscriptWarning,
    WarningCode,
    Word,
    bounded,
)
from phonograph_transcription.inference.speech import (
    MIN_SILENCE_S,
    MIN_SPEECH_S,
    PAD_S,
    THRESHOLD,
    find_speech,
)

NAME = "faster-whisper"
CHUNK_S = 30.0
"""What a Whisper model hears at once."""
NO_SPEECH_PROBABILITY = 0.6
MIN_LOG_PROBABILITY = -1.0
"""Whisper's own thresholds: a segment beyond both was invented."""
HALLUCINATION_SILENCE_S = 2.0


class WhisperTranscriber(Transcriber):
    """Recognises speech with a CTranslate2 Whisper model in a local folder."""

    def __init__(
        self,
        folder: Path,
        *,
        model_name: str,
        device: str = "auto",
        compute_type: str = "default",
        batch_size: int = 8,
        beam_size: int = 5,
        loaded: Any = None,
    ) -> None:
        """Prepare the engine; nothing is loaded yet.

        Args:
            folder: holds model.bin, config.json, tokenizer.json.
            model_name: as results name it.
            device: `auto`, `cpu` or `cuda`.
            compute_type: CTranslate2's, for example `int8` or `float16`; `default` keeps the model's own.
            batch_size: chunks at once; 1 goes through the file in order, with fallback temperatures.
            beam_size: width of the search.
            loaded: a loaded `faster_whisper.WhisperModel`.
        """
        self._folder = folder
        self._model_name = model_name
        self._device = device
        self._compute_type = compute_type
        self._batch_size = batch_size
        self._beam_size = beam_size
        self._loaded = loaded

    @property
    @override
    def name(self) -> str:
        return NAME

    @property
    @override
    def model(self) -> str:
        return self._model_name

    @override
    def load(self) -> None:
        if self._loaded is None:
            self._loaded = self._load()

    def _load(self) -> Any:
        if not (self._folder / "tokenizer.json").is_file():
            # faster-whisper would download one.
            raise EngineUnavailableError(f"The Whisper model in {self._folder} has no tokenizer.json.")
        try:
            from faster_whisper import WhisperModel

            return WhisperModel(
                str(self._folder),
                device=self._device,
                compute_type=self._compute_type,
                local_files_only=True,
            )
        except Exception as error:  # CTranslate2 and tokenizers raise errors of many kinds
            raise EngineUnavailableError(
                f"The Whisper model in {self._folder} cannot be loaded on {self._device} "
                f"as {self._compute_type}: {error}"
            ) from error

    @override
    def predict(
        self, samples: NDArray[np.float32], *, language: str | None, progress: Progress
    ) -> Transcript:
        progress(0.0, "speech")
        if not find_speech(samples, max_speech_s=CHUNK_S):
            return Transcript(NAME, self._model_name, None, None).with_warnings(_NO_SPEECH)
        self.load()
        if language is not None and language not in self._loaded.supported_languages:
            message = f"The model {self._model_name} does not know the language {language!r}."
            warned = TranscriptWarning(WarningCode.UNSUPPORTED_LANGUAGE, message)
            return Transcript(NAME, self._model_name, None, None).with_warnings(warned)
        progress(0.0, "language")
        found, info = self._transcribe(samples, language)
        duration_s = len(samples) / SAMPLE_RATE_HZ
        segments, warnings = _believed(_reported(found, duration_s, progress), duration_s)
        transcript = Transcript(
            NAME, self._model_name, info.language, float(info.language_probability), tuple(segments), warnings
        )
        return transcript if segments else transcript.with_warnings(_NO_SPEECH)

    def _transcribe(self, samples: NDArray[np.float32], language: str | None) -> tuple[Iterable[Any], Any]:
        options: dict[str, Any] = {
            "language": language,
            "beam_size": self._beam_size,
            "word_timestamps": True,
            # A wrong sentence must not lead the next ones astray.
            "condition_on_previous_text": False,
            "vad_filter": True,
            "vad_parameters": {
                "threshold": THRESHOLD,
                "min_speech_duration_ms": int(MIN_SPEECH_S * 1000),
                "min_silence_duration_ms": int(MIN_SILENCE_S * 1000),
                "speech_pad_ms": int(PAD_S * 1000),
            },
        }
        if self._batch_size > 1:
            from faster_whisper import BatchedInferencePipeline

            pipeline = BatchedInferencePipeline(self._loaded)
            found, info = pipeline.transcribe(
                samples, batch_size=self._batch_size, without_timestamps=False, **options
            )
        else:
            found, info = self._loaded.transcribe(
                samples, hallucination_silence_threshold=HALLUCINATION_SILENCE_S, **options
            )
        return found, info


_NO_SPEECH = TranscriptWarning(WarningCode.NO_SPEECH, "Nobody speaks in this recording.")


def _reported(found: Iterable[Any], duration_s: float, progress: Progress) -> Iterator[Any]:
    for segment in found:
        yield segment
        progress(min(segment.end / duration_s, 1.0), "words")


def _believed(found: Iterable[Any], duration_s: float) -> tuple[list[Segment], tuple[TranscriptWarning, ...]]:
    """Segments without those that the model made up; a warning for each thing left out."""
    segments: list[Segment] = []
    warnings: list[TranscriptWarning] = []
    for raw in found:
        text = raw.text.strip()
        if not text:
            continue
        if raw.no_speech_prob > NO_SPEECH_PROBABILITY and raw.avg_logprob < MIN_LOG_PROBABILITY:
            message = f"Text at {raw.start:.1f} s was left out: the model itself hears no speech there."
            warnings.append(TranscriptWarning(WarningCode.INVENTED_TEXT, message))
            continue
        segment = _segment(raw, text, duration_s)
        kept = without_loops([word.text for word in segment.words])
        left_out = len(segment.words) - len(kept)
        if left_out:
            message = f"{left_out} words that repeat in a loop were left out."
            warnings.append(TranscriptWarning(WarningCode.REPETITION, message, len(segments)))
            segment = _only(segment, kept, raw.words)
        segments.append(segment)
    return segments, tuple(warnings)


def _segment(raw: Any, text: str, duration_s: float) -> Segment:
    words = tuple(
        bounded(
            Word(word.word.strip(), float(word.start), float(word.end), round(float(word.probability), 4)),
            duration_s=duration_s,
        )
        for word in raw.words or ()
    )
    start = min(max(float(raw.start), 0.0), duration_s)
    return Segment(
        start_s=round(start, 3),
        end_s=round(min(max(float(raw.end), start), duration_s), 3),
        text=text,
        words=words,
        confidence=round(min(math.exp(raw.avg_logprob), 1.0), 4),
    )


def _only(segment: Segment, kept: list[int], raw_words: list[Any]) -> Segment:
    words = tuple(segment.words[number] for number in kept)
    text = "".join(raw_words[number].word for number in kept).strip()
    return replace(segment, text=text, words=words)
