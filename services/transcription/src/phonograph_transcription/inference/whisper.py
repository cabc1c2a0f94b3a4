"""The transcriber for Whisper models on CTranslate2: many languages, punctuation, optionally a GPU."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_events import Facts
from phonograph_media import SAMPLE_RATE_HZ, Samples
from phonograph_media.speech import SpeechRegion
from phonograph_runtime.ports import Progress
from phonograph_transcription.domain.engines import EngineChoice
from phonograph_transcription.domain.languages import FULL_WEIGHT_S, LanguageWindow, decide_languages
from phonograph_transcription.domain.ports import Transcriber
from phonograph_transcription.domain.repetition import find_loops
from phonograph_transcription.domain.segmentation import split_into_sentences
from phonograph_transcription.domain.transcript import (
    Segment,
    Transcript,
    TranscriptWarning,
    WarningCode,
    Word,
    clip_word,
    join_words,
    mean_confidence,
    put_in_order,
)
from phonograph_transcription.inference.model_memory import LoadModel, MemoryAwareModel
from phonograph_transcription.inference.speech import NO_SPEECH, make_speech_detector
from phonograph_transcription.inference.whisper_model import (
    CHUNK_S,
    DecodedChunk,
    SpeechModel,
    SpokenWord,
    load_faster_whisper,
)

NAME = EngineChoice.FASTER_WHISPER.value
MAX_NO_SPEECH_PROBABILITY = 0.6
MIN_LOG_PROBABILITY = -1.0
"""Whisper's own thresholds: a passage that violates both is a hallucination."""
TEMPERATURE = 0.0
"""Of the first decoding; one chunk at a time may be decoded again at higher ones."""
_DETECTION_SHARE = 0.1
"""Part of the progress that speech detection takes."""

Chunk = tuple[SpeechRegion, ...]
"""Consecutive regions of speech that together fit the model."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A decoded chunk; the times of its words are of the recording."""

    chunk: Chunk
    language: str
    words: tuple[Word, ...]
    mean_log_probability: float
    no_speech_probability: float

    @property
    def start_s(self) -> float:
        """Start in seconds."""
        return self.chunk[0].start_s

    @property
    def end_s(self) -> float:
        """End in seconds."""
        return self.chunk[-1].end / SAMPLE_RATE_HZ


class WhisperTranscriber(Transcriber):
    """Recognizes speech with a CTranslate2 Whisper model in a local folder.

    Only the chunks of one batch are in memory, so that a recording may have any length.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model_name: str,
        device: str = "auto",
        compute_type: str = "default",
        batch_size: int = 8,
        beam_size: int = 5,
        threads: int = 0,
        load_model: LoadModel | None = None,
    ) -> None:
        """Create the transcriber; nothing is loaded yet.

        Args:
            folder: Folder with model.bin, config.json and tokenizer.json.
            model_name: Name of the model as results report it.
            device: `auto`, `cpu` or `cuda`.
            compute_type: A type of CTranslate2, for example `int8` or `float16`; `default` keeps the model's.
            batch_size: Chunks at once.
            beam_size: Width of the search.
            threads: Threads on a CPU; 0 for OMP_NUM_THREADS.
            load_model: Loads the model of the folder; None for faster-whisper.
        """

        def load_from_folder(on_device: str, as_type: str) -> SpeechModel:
            return load_faster_whisper(
                folder, device=on_device, compute_type=as_type, threads=threads, beam_size=beam_size
            )

        self._model_name = model_name
        self._beam_size = beam_size
        self._model = MemoryAwareModel(
            load_model or load_from_folder, device=device, compute_type=compute_type, batch_size=batch_size
        )
        self._detector = make_speech_detector(CHUNK_S)

    @property
    @override
    def name(self) -> str:
        return NAME

    @property
    @override
    def model(self) -> str:
        return self._model_name

    @property
    @override
    def settings(self) -> Facts:
        model = self._model.load()
        return {
            "device": model.device,
            "compute_type": model.compute_type,
            "beam_size": self._beam_size,
            "batch_size": self._model.batch_size,
            "temperature": TEMPERATURE,
        }

    @override
    def load(self) -> None:
        self._model.load()

    @override
    def predict(self, samples: Samples, *, language: str | None, progress: Progress) -> Transcript:
        progress(0.0, "speech")
        regions = self._detector.detect(samples, lambda done: progress(_DETECTION_SHARE * done, "speech"))
        if not regions:
            return Transcript(NAME, self._model_name, None, None).with_warnings(NO_SPEECH)
        supported = self._model.load().languages
        if language is not None and language not in supported:
            message = f"The model {self._model_name} does not support the language {language!r}."
            warning = TranscriptWarning(WarningCode.UNSUPPORTED_LANGUAGE, message)
            return Transcript(NAME, self._model_name, None, None).with_warnings(warning)
        recognition = _Recognition(samples, language or (supported[0] if len(supported) == 1 else None))
        chunks = pack_chunks(regions)
        position = 0
        while position < len(chunks):
            batch = chunks[position : position + self._model.batch_size]
            try:
                recognition.recognize(self._model.load(), batch)
            except (RuntimeError, MemoryError) as error:
                self._model.reduce(error)
                continue
            position += len(batch)
            done = batch[-1][-1].end / len(samples)
            progress(_DETECTION_SHARE + (1 - _DETECTION_SHARE) * done, "words")
        segments, warnings = build_segments(recognition.passages, len(samples) / SAMPLE_RATE_HZ)
        transcript = Transcript(
            NAME,
            self._model_name,
            recognition.main_language,
            recognition.language_probability,
            tuple(segments),
            (*warnings, *self._model.warnings),
        )
        return transcript if segments else transcript.with_warnings(NO_SPEECH)


class _Recognition:
    """The passages and languages recognized in a recording so far."""

    def __init__(self, samples: Samples, language: str | None) -> None:
        """Create it.

        Args:
            samples: The recording.
            language: Its language; None to detect the languages.
        """
        self._samples = samples
        self._language = language
        self._previous = language
        self._speech_s: dict[str, float] = defaultdict(float)
        self._certain_s: dict[str, float] = defaultdict(float)
        """Like `_speech_s`, each window weighted by the probability of its language."""
        self.passages: list[Passage] = []

    @property
    def main_language(self) -> str:
        """The language of most of the speech."""
        return self._language or max(self._speech_s, key=lambda language: self._speech_s[language])

    @property
    def language_probability(self) -> float:
        """Mean probability of the main language where it is spoken."""
        if self._language is not None:
            return 1.0
        return self._certain_s[self.main_language] / self._speech_s[self.main_language]

    def recognize(self, model: SpeechModel, batch: Sequence[Chunk]) -> None:
        """Add the passages of the next chunks, or none if the model raises an error.

        Args:
            model: The loaded model.
            batch: Chunks that fit into memory together.
        """
        encoded = model.encode([self._read(chunk) for chunk in batch])
        if self._language is not None:
            self._add(batch, self._language, model.decode(encoded, self._language))
            return
        spans_s = [[(0.0, CHUNK_S), *window_spans_s(chunk)] for chunk in batch]
        wholes, windows = [], []
        for whole, *row in model.detect_languages(encoded, spans_s):
            wholes.append(whole)
            windows.append(row)
        decided = decide_languages([w for row in windows for w in row], previous=self._previous)
        remaining = iter(decided)
        languages = [[next(remaining) for _ in row] for row in windows]
        if len(set(decided)) == 1:
            self._add(batch, decided[0], model.decode(encoded, decided[0]))
        else:
            self._add_parts(model, batch, windows, languages)
        for whole, row, chosen in zip(wholes, windows, languages, strict=True):
            for window, language in zip(row, chosen, strict=True):
                # A model is surer of a whole chunk, if it is in one language.
                surest = whole if len(set(chosen)) == 1 else window
                length_s = window.end_s - window.start_s
                self._speech_s[language] += length_s
                self._certain_s[language] += length_s * surest.probabilities.get(language, 0.0)
        self._previous = decided[-1]

    def _add_parts(
        self,
        model: SpeechModel,
        batch: Sequence[Chunk],
        windows: Sequence[Sequence[LanguageWindow]],
        languages: Sequence[Sequence[str]],
    ) -> None:
        """Divide the chunks where the language changes, and decode each part in its language."""
        parts = [
            part
            for chunk, row, chosen in zip(batch, windows, languages, strict=True)
            for part in divide_by_language(chunk, row, chosen)
        ]
        found: list[tuple[Chunk, str, DecodedChunk]] = []
        for language, group in groupby(parts, key=lambda part: part[0]):
            chunks = [chunk for _, chunk in group]
            for first in range(0, len(chunks), len(batch)):
                some = chunks[first : first + len(batch)]
                decoded = model.decode(model.encode([self._read(chunk) for chunk in some]), language)
                found += zip(some, [language] * len(some), decoded, strict=True)
        for chunk, language, passage in found:
            self._add([chunk], language, [passage])

    def _add(self, chunks: Sequence[Chunk], language: str, decoded: Sequence[DecodedChunk]) -> None:
        self.passages += [
            Passage(
                chunk,
                language,
                _place_words(found, chunk, len(self._samples) / SAMPLE_RATE_HZ),
                found.mean_log_probability,
                found.no_speech_probability,
            )
            for chunk, found in zip(chunks, decoded, strict=True)
        ]

    def _read(self, chunk: Chunk) -> NDArray[np.float32]:
        return np.concatenate([self._samples[region.start : region.end] for region in chunk])


def pack_chunks(regions: Sequence[SpeechRegion]) -> list[Chunk]:
    """Return as few chunks of whole regions as possible, none longer than the model's input.

    Args:
        regions: Regions of at most `CHUNK_S` seconds, in the order of time.
    """
    chunks: list[list[SpeechRegion]] = []
    free = 0
    for region in regions:
        length = region.end - region.start
        if length > free:
            chunks.append([])
            free = int(CHUNK_S * SAMPLE_RATE_HZ)
        chunks[-1].append(region)
        free -= length
    return [tuple(chunk) for chunk in chunks]


def window_spans_s(chunk: Chunk) -> Iterator[tuple[float, float]]:
    """Yield start and end of the windows of a chunk, in seconds of its joined speech; none spans a pause."""
    start = 0
    for region in chunk:
        length = region.end - region.start
        count = max(round(length / (FULL_WEIGHT_S * SAMPLE_RATE_HZ)), 1)
        for number in range(count):
            begin, end = start + length * number // count, start + length * (number + 1) // count
            yield begin / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ
        start += length


def divide_by_language(
    chunk: Chunk, windows: Sequence[LanguageWindow], languages: Sequence[str]
) -> Iterator[tuple[str, Chunk]]:
    """Yield the parts of a chunk with their languages; each region has the language of most of it.

    Args:
        chunk: The chunk.
        windows: Its windows; times in seconds of the joined speech.
        languages: The language of each window.
    """
    spoken: list[tuple[str, SpeechRegion]] = []
    start_s = 0.0
    for region in chunk:
        end_s = start_s + (region.end - region.start) / SAMPLE_RATE_HZ
        shares: dict[str, float] = defaultdict(float)
        for window, language in zip(windows, languages, strict=True):
            shares[language] += max(min(end_s, window.end_s) - max(start_s, window.start_s), 0.0)
        spoken.append((max(shares, key=lambda language: shares[language]), region))
        start_s = end_s
    for language, part in groupby(spoken, key=lambda pair: pair[0]):
        yield language, tuple(region for _, region in part)


def build_segments(
    passages: Sequence[Passage], duration_s: float
) -> tuple[list[Segment], tuple[TranscriptWarning, ...]]:
    """Return segments without text that the model invented or repeats, and a warning for each omission.

    All passages are judged together: a model that repeats a sentence often continues in the next chunk.

    Args:
        passages: Decoded chunks in the order of time.
        duration_s: Length of the recording.
    """
    warnings: list[TranscriptWarning] = []
    spoken: list[Passage] = []
    for passage in passages:
        if (
            passage.no_speech_probability > MAX_NO_SPEECH_PROBABILITY
            and passage.mean_log_probability < MIN_LOG_PROBABILITY
        ):
            if passage.words:
                warnings.append(_invented_at(passage.start_s))
        else:
            spoken.append(passage)
    words = [word for passage in spoken for word in passage.words]
    owners = [passage for passage in spoken for _ in passage.words]
    starts_s = [
        owner.start_s if word.start_s is None else word.start_s
        for word, owner in zip(words, owners, strict=True)
    ]
    dropped: set[int] = set()
    loops: list[tuple[int, int]] = []
    for loop in find_loops([word.text for word in words], starts_s):
        looping = owners[loop.first : loop.end]
        mean = math.fsum(passage.no_speech_probability for passage in looping) / len(looping)
        if mean > MAX_NO_SPEECH_PROBABILITY:
            # A model trusts its own repetitions, so that only one of its two signs of invention remains.
            dropped.update(range(loop.first, loop.end))
            warnings.append(_invented_at(starts_s[loop.first]))
        else:
            dropped.update(range(loop.first_repeated, loop.end))
            loops.append((loop.first, loop.end - loop.first_repeated))
    segments: list[Segment] = []
    segment_of: dict[int, int] = {}
    position = 0
    for passage in spoken:
        numbers = range(position, position + len(passage.words))
        position = numbers.stop
        kept = [number for number in numbers if number not in dropped]
        remaining = iter(kept)
        for piece in split_into_sentences([words[number] for number in kept]):
            segment_of |= dict.fromkeys([next(remaining) for _ in piece], len(segments))
            segments.append(_to_segment(piece, passage, duration_s))
    for first, omitted in loops:
        message = f"{omitted} words that repeat in a loop were omitted."
        warnings.append(TranscriptWarning(WarningCode.REPETITION, message, segment_of[first]))
    return put_in_order(segments), tuple(warnings)


def _invented_at(start_s: float) -> TranscriptWarning:
    message = f"Text at {start_s:.1f} s was omitted: the model itself detects no speech there."
    return TranscriptWarning(WarningCode.INVENTED_TEXT, message)


def _to_segment(words: Sequence[Word], passage: Passage, duration_s: float) -> Segment:
    starts = [word.start_s for word in words if word.start_s is not None]
    ends = [word.end_s for word in words if word.end_s is not None]
    start_s = min(starts, default=passage.start_s)
    confidence = mean_confidence(words)
    if confidence is None:
        confidence = min(math.exp(passage.mean_log_probability), 1.0)
    return Segment(
        start_s=round(start_s, 3),
        end_s=round(min(max(ends, default=passage.end_s), duration_s), 3),
        text=join_words(words),
        words=tuple(words),
        confidence=round(confidence, 4),
        language=passage.language,
    )


def _place_words(decoded: DecodedChunk, chunk: Chunk, duration_s: float) -> tuple[Word, ...]:
    """Return the words with times of the recording; without times if the model reports none."""
    if not decoded.words:
        return tuple(Word(text, None, None, None, is_spaced=True) for text in decoded.text.split())
    return tuple(
        clip_word(_place_word(word, chunk), duration_s=duration_s)
        for word in decoded.words
        if word.text.strip()
    )


def _place_word(word: SpokenWord, chunk: Chunk) -> Word:
    """Return a word within the region of the chunk that contains its middle."""
    middle = (word.start_s + word.end_s) / 2 * SAMPLE_RATE_HZ
    offset = 0
    for region in chunk:
        length = region.end - region.start
        if middle < offset + length or region is chunk[-1]:
            break
        offset += length
    shift_s = (region.start - offset) / SAMPLE_RATE_HZ
    end_s = region.end / SAMPLE_RATE_HZ
    return Word(
        text=word.text.strip(),
        start_s=min(max(word.start_s + shift_s, region.start_s), end_s),
        end_s=min(max(word.end_s + shift_s, region.start_s), end_s),
        confidence=round(word.probability, 4),
        is_spaced=word.text.startswith(" "),
    )
