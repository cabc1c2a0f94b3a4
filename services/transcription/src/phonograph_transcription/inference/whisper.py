"""The transcriber for Whisper models on CTranslate2: many languages, punctuation, optionally a GPU."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_media import SAMPLE_RATE_HZ
from phonograph_media.speech import SpeechRegion
from phonograph_runtime.errors import EngineUnavailableError
from phonograph_runtime.ports import Progress
from phonograph_transcription.domain.engines import EngineChoice
from phonograph_transcription.domain.ports import Transcriber
from phonograph_transcription.domain.repetition import find_loops
from phonograph_transcription.domain.transcript import (
    Segment,
    Transcript,
    TranscriptWarning,
    WarningCode,
    Word,
    clip_word,
    put_in_order,
)
from phonograph_transcription.inference.speech import NO_SPEECH, make_speech_detector

NAME = EngineChoice.FASTER_WHISPER.value
CHUNK_S = 30.0
"""Input length of a Whisper model."""
MAX_NO_SPEECH_PROBABILITY = 0.6
MIN_LOG_PROBABILITY = -1.0
"""Whisper's own thresholds: a segment that violates both is a hallucination."""
HALLUCINATION_SILENCE_S = 2.0


class WhisperTranscriber(Transcriber):
    """Recognizes speech with a CTranslate2 Whisper model in a local folder."""

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
        """Create the transcriber; nothing is loaded yet.

        Args:
            folder: Folder with model.bin, config.json and tokenizer.json.
            model_name: Name of the model as results report it.
            device: `auto`, `cpu` or `cuda`.
            compute_type: A type of CTranslate2, for example `int8` or `float16`; `default` keeps the model's.
            batch_size: Chunks at once; 1 decodes the recording in order, with fallback temperatures.
            beam_size: Width of the search.
            loaded: A loaded `faster_whisper.WhisperModel`.
        """
        self._folder = folder
        self._model_name = model_name
        self._device = device
        self._compute_type = compute_type
        self._batch_size = batch_size
        self._beam_size = beam_size
        self._loaded = loaded
        self._detector = make_speech_detector(CHUNK_S)

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
        regions = self._detector.detect(samples)
        if not regions:
            return Transcript(NAME, self._model_name, None, None).with_warnings(NO_SPEECH)
        self.load()
        if language is not None and language not in self._loaded.supported_languages:
            message = f"The model {self._model_name} does not support the language {language!r}."
            warning = TranscriptWarning(WarningCode.UNSUPPORTED_LANGUAGE, message)
            return Transcript(NAME, self._model_name, None, None).with_warnings(warning)
        progress(0.0, "language")
        raw_segments, info = self._transcribe(samples, regions, language)
        duration_s = len(samples) / SAMPLE_RATE_HZ
        segments, warnings = _drop_hallucinations(
            _with_progress(raw_segments, duration_s, progress), duration_s
        )
        transcript = Transcript(
            NAME, self._model_name, info.language, float(info.language_probability), tuple(segments), warnings
        )
        return transcript if segments else transcript.with_warnings(NO_SPEECH)

    def _transcribe(
        self, samples: NDArray[np.float32], regions: list[SpeechRegion], language: str | None
    ) -> tuple[Iterable[Any], Any]:
        """Recognize the speech regions joined without the sound between them; times are of the recording."""
        from faster_whisper import BatchedInferencePipeline
        from faster_whisper.transcribe import restore_speech_timestamps

        speech = np.concatenate([samples[region.start : region.end] for region in regions])
        options: dict[str, Any] = {
            "language": language,
            "beam_size": self._beam_size,
            "word_timestamps": True,
            # A wrong sentence must not influence the next ones.
            "condition_on_previous_text": False,
            # The model's own filter judges the recording as a whole and misses speech after long noise.
            "vad_filter": False,
        }
        if self._batch_size > 1:
            raw_segments, info = BatchedInferencePipeline(self._loaded).transcribe(
                speech,
                batch_size=self._batch_size,
                without_timestamps=False,
                clip_timestamps=_pack_chunks(regions),
                **options,
            )
        else:
            raw_segments, info = self._loaded.transcribe(
                speech, hallucination_silence_threshold=HALLUCINATION_SILENCE_S, **options
            )
        spans = [{"start": region.start, "end": region.end} for region in regions]
        return restore_speech_timestamps(raw_segments, spans, SAMPLE_RATE_HZ), info


def _pack_chunks(regions: list[SpeechRegion]) -> list[dict[str, float]]:
    """Return chunks of whole regions that fit the model: start and end in seconds of the joined speech."""
    chunks: list[tuple[int, int]] = []
    start = end = 0
    for region in regions:
        length = region.end - region.start
        if end > start and end + length - start > CHUNK_S * SAMPLE_RATE_HZ:
            chunks.append((start, end))
            start = end
        end += length
    chunks.append((start, end))
    return [{"start": first / SAMPLE_RATE_HZ, "end": last / SAMPLE_RATE_HZ} for first, last in chunks]


def _with_progress(raw_segments: Iterable[Any], duration_s: float, progress: Progress) -> Iterator[Any]:
    """Yield the segments while the model decodes them, and report the progress after each."""
    for segment in raw_segments:
        yield segment
        progress(min(segment.end / duration_s, 1.0), "words")


def _drop_hallucinations(
    raw_segments: Iterable[Any], duration_s: float
) -> tuple[list[Segment], tuple[TranscriptWarning, ...]]:
    """Return the segments without text that the model invented or repeats, and a warning for each passage.

    All segments are judged together: a model that repeats a sentence often makes a segment of each.
    """
    spoken: list[Any] = []
    warnings: list[TranscriptWarning] = []
    for raw in raw_segments:
        if not raw.text.strip():
            continue
        if raw.no_speech_prob > MAX_NO_SPEECH_PROBABILITY and raw.avg_logprob < MIN_LOG_PROBABILITY:
            warnings.append(_invented_at(raw))
            continue
        spoken.append(raw)
    owners = [number for number, raw in enumerate(spoken) for _ in _texts(raw)]
    texts = [text for raw in spoken for text in _texts(raw)]
    starts_s = [start_s for raw in spoken for start_s in _starts(raw)]
    dropped: set[int] = set()
    loops: list[tuple[int, int]] = []
    for loop in find_loops(texts, starts_s):
        looping = [spoken[number] for number in dict.fromkeys(owners[loop.first : loop.end])]
        if math.fsum(raw.no_speech_prob for raw in looping) / len(looping) > MAX_NO_SPEECH_PROBABILITY:
            # A model trusts its own repetitions, so that only one of its two signs of invention remains.
            dropped.update(range(loop.first, loop.end))
            warnings.append(_invented_at(looping[0]))
        else:
            dropped.update(range(loop.first_repeated, loop.end))
            loops.append((loop.first, loop.end - loop.first_repeated))
    segments: list[Segment] = []
    position = 0
    positions: dict[int, int] = {}
    for number, raw in enumerate(spoken):
        count = len(_texts(raw))
        kept = [index for index in range(count) if position + index not in dropped]
        position += count
        if not kept:
            continue
        positions[number] = len(segments)
        segment = _to_segment(raw, raw.text.strip(), duration_s)
        segments.append(segment if len(kept) == count else _keep_words(segment, kept, raw))
    for first, omitted in loops:
        message = f"{omitted} words that repeat in a loop were omitted."
        warnings.append(TranscriptWarning(WarningCode.REPETITION, message, positions[owners[first]]))
    return put_in_order(segments), tuple(warnings)


def _texts(raw: Any) -> list[str]:
    """Return the words of a segment; without word times, those of its text."""
    return [word.word for word in raw.words] if raw.words else raw.text.split()


def _starts(raw: Any) -> list[float]:
    """Return the start of each of the `_texts`, in seconds."""
    return [word.start for word in raw.words] if raw.words else [raw.start] * len(raw.text.split())


def _invented_at(raw: Any) -> TranscriptWarning:
    message = f"Text at {raw.start:.1f} s was omitted: the model itself detects no speech there."
    return TranscriptWarning(WarningCode.INVENTED_TEXT, message)


def _to_segment(raw: Any, text: str, duration_s: float) -> Segment:
    words = tuple(
        clip_word(
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


def _keep_words(segment: Segment, kept: list[int], raw: Any) -> Segment:
    if not raw.words:
        texts = _texts(raw)
        return replace(segment, text=" ".join(texts[number] for number in kept))
    # The raw words have their spaces: not every language separates words by them.
    words = tuple(segment.words[number] for number in kept)
    text = "".join(raw.words[number].word for number in kept).strip()
    return replace(segment, text=text, words=words)
