"""A loaded Whisper model: encodes chunks of speech, detects their languages, and decodes their words.

The batched pipeline of faster-whisper decides on one language for all chunks and encodes a chunk again to
detect its language. Here, everything that is derived from a chunk shares one encoding of it.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_media import SAMPLE_RATE_HZ
from phonograph_runtime.errors import EngineUnavailableError
from phonograph_transcription.domain.languages import LanguageWindow

CHUNK_S: Final = 30.0
"""Input length of a Whisper model."""
_ENCODED_PER_S: Final = 50
_MIN_WINDOW_S: Final = 1.0
_CPU: Final = "cpu"
_MAX_COMPRESSION: Final = 2.4
"""Whisper's own threshold: text that compresses better repeats itself."""
_TEMPERATURES: Final = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Of the attempts to decode such a chunk again."""
_PREPENDED: Final = "\"'“¿([{-"
_APPENDED: Final = "\"'.。,，!！?？:：”)]}、"
"""Punctuation that belongs to the next or the previous word; as in faster-whisper."""


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of a chunk; its text begins with a space where the model wrote one."""

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True, slots=True)
class DecodedChunk:
    """The words said in a chunk; times in seconds of the chunk."""

    text: str
    words: tuple[SpokenWord, ...]
    """Empty if the model cannot align the text."""
    mean_log_probability: float
    no_speech_probability: float


@dataclass(frozen=True, slots=True)
class EncodedChunks:
    """Chunks as the encoder of the model represents them."""

    durations_s: tuple[float, ...]
    features: NDArray[np.float32]
    """Shape (chunks, mels, frames)."""
    encoding: Any
    """A `ctranslate2.StorageView` of shape (chunks, positions, width)."""


class SpeechModel(Protocol):
    """A loaded model. Methods block, and raise what CTranslate2 raises if the memory is full."""

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""

    @property
    def compute_type(self) -> str:
        """The type of CTranslate2 in use."""

    @property
    def languages(self) -> Sequence[str]:
        """ISO 639-1 codes of the languages that the model supports."""

    def encode(self, sounds: Sequence[NDArray[np.float32]]) -> EncodedChunks:
        """Return the chunks as the decoder needs them; each has at most `CHUNK_S` seconds."""

    def detect_languages(
        self, chunks: EncodedChunks, spans_s: Sequence[Sequence[tuple[float, float]]]
    ) -> list[list[LanguageWindow]]:
        """Return windows of each chunk with the probabilities of languages.

        Args:
            chunks: The chunks.
            spans_s: Start and end of the windows of each chunk, in seconds of the chunk.
        """

    def decode(self, chunks: EncodedChunks, language: str) -> list[DecodedChunk]:
        """Return what is said in each chunk.

        Args:
            chunks: Chunks in one language.
            language: Its code.
        """


class FasterWhisperModel(SpeechModel):
    """A model of faster-whisper."""

    def __init__(self, model: Any, *, beam_size: int) -> None:
        """Create it.

        Args:
            model: A `faster_whisper.WhisperModel`.
            beam_size: Width of the search.
        """
        self._model = model
        self._beam_size = beam_size

    @property
    @override
    def device(self) -> str:
        return str(self._model.model.device)

    @property
    @override
    def compute_type(self) -> str:
        return str(self._model.model.compute_type)

    @property
    @override
    def languages(self) -> Sequence[str]:
        languages: Sequence[str] = self._model.supported_languages
        return languages

    @override
    def encode(self, sounds: Sequence[NDArray[np.float32]]) -> EncodedChunks:
        from faster_whisper.audio import pad_or_trim

        features = np.stack([pad_or_trim(self._model.feature_extractor(sound)[..., :-1]) for sound in sounds])
        durations_s = tuple(sound.size / SAMPLE_RATE_HZ for sound in sounds)
        if self.device != _CPU:
            return EncodedChunks(durations_s, features, self._model.encode(features))
        import ctranslate2

        # The encoder needs 70 MB for each chunk of a batch, which makes it no faster on a CPU.
        encodings = [np.asarray(self._model.encode(chunk)) for chunk in features]
        joined = ctranslate2.StorageView.from_array(np.concatenate(encodings))
        return EncodedChunks(durations_s, features, joined)

    @override
    def detect_languages(
        self, chunks: EncodedChunks, spans_s: Sequence[Sequence[tuple[float, float]]]
    ) -> list[list[LanguageWindow]]:
        import ctranslate2

        # The encoding of a few seconds is a part of that of the chunk: no second pass of the encoder.
        on_cpu = chunks.encoding.to_device(ctranslate2.Device.cpu).to(ctranslate2.DataType.float32)
        encoding = np.asarray(on_cpu)
        parts: dict[int, list[tuple[int, int, NDArray[np.float32]]]] = defaultdict(list)
        for chunk, spans in enumerate(spans_s):
            for number, (start_s, end_s) in enumerate(spans):
                # Whole seconds, so that most windows have the same shape as others.
                length = int(max(end_s - start_s, _MIN_WINDOW_S)) * _ENCODED_PER_S
                start = min(int(start_s * _ENCODED_PER_S), encoding.shape[1] - length)
                parts[length].append((chunk, number, encoding[chunk, start : start + length]))
        windows: dict[tuple[int, int], LanguageWindow] = {}
        for same in parts.values():
            stacked = ctranslate2.StorageView.from_array(np.stack([part for _, _, part in same]))
            detected = self._model.model.detect_language(stacked)
            for (chunk, number, _), languages in zip(same, detected, strict=True):
                probabilities = {token[2:-2]: float(probability) for token, probability in languages}
                windows[chunk, number] = LanguageWindow(*spans_s[chunk][number], probabilities)
        return [
            [windows[chunk, number] for number in range(len(spans))] for chunk, spans in enumerate(spans_s)
        ]

    @override
    def decode(self, chunks: EncodedChunks, language: str) -> list[DecodedChunk]:
        from faster_whisper.tokenizer import Tokenizer

        tokenizer = Tokenizer(
            self._model.hf_tokenizer, self._model.model.is_multilingual, task="transcribe", language=language
        )
        drafts = [
            _Draft.of(result, tokenizer)
            for result in self._generate(
                chunks.encoding, tokenizer, len(chunks.durations_s), beam_size=self._beam_size
            )
        ]
        for number, draft in enumerate(drafts):
            if draft.compression > _MAX_COMPRESSION:
                drafts[number] = self._decode_again(chunks.features[number], tokenizer, draft)
        return self._align(chunks, tokenizer, drafts)

    def _generate(self, encoding: Any, tokenizer: Any, count: int, **options: Any) -> list[Any]:
        from faster_whisper.transcribe import get_suppressed_tokens

        # With time stamps, the model omits what it says after the last one of a chunk.
        prompt = self._model.get_prompt(tokenizer, [], without_timestamps=True)
        results: list[Any] = self._model.model.generate(
            encoding,
            [prompt] * count,
            max_length=self._model.max_length,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            return_scores=True,
            return_no_speech_prob=True,
            **options,
        )
        return results

    def _decode_again(self, features: NDArray[np.float32], tokenizer: Any, draft: "_Draft") -> "_Draft":
        """Return the first attempt with less repetition; without one, the draft."""
        encoding = self._model.encode(features)
        for temperature in _TEMPERATURES:
            options = {"beam_size": 1, "sampling_topk": 0, "sampling_temperature": temperature}
            (result,) = self._generate(encoding, tokenizer, 1, num_hypotheses=self._beam_size, **options)
            attempt = _Draft.of(result, tokenizer)
            if attempt.compression <= _MAX_COMPRESSION:
                return attempt
        return draft

    def _align(self, chunks: EncodedChunks, tokenizer: Any, drafts: list["_Draft"]) -> list[DecodedChunk]:
        # Far apart, so that a long first word is recognized as one that follows a pause, and shortened.
        offsets_s = [2 * CHUNK_S * number for number in range(len(drafts))]
        rate = self._model.frames_per_second
        passages = [
            [
                {
                    "seek": round(offset_s * rate),
                    "start": offset_s,
                    "end": offset_s + duration_s,
                    "tokens": draft.tokens,
                    "words": [],
                }
            ]
            for draft, offset_s, duration_s in zip(drafts, offsets_s, chunks.durations_s, strict=True)
        ]
        frames = [math.ceil(duration_s) * rate for duration_s in chunks.durations_s]
        self._model.add_word_timestamps(
            passages, tokenizer, chunks.encoding, frames, _PREPENDED, _APPENDED, 0.0
        )
        return [
            DecodedChunk(
                draft.text,
                tuple(
                    SpokenWord(
                        word["word"],
                        float(word["start"]) - offset_s,
                        float(word["end"]) - offset_s,
                        float(word["probability"]),
                    )
                    for word in passage["words"]
                ),
                draft.mean_log_probability,
                draft.no_speech_probability,
            )
            for draft, offset_s, (passage,) in zip(drafts, offsets_s, passages, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Draft:
    """A decoded chunk before its words are aligned."""

    tokens: list[int]
    text: str
    mean_log_probability: float
    no_speech_probability: float
    compression: float

    @classmethod
    def of(cls, result: Any, tokenizer: Any) -> "_Draft":
        from faster_whisper.transcribe import get_compression_ratio

        tokens = result.sequences_ids[0]
        text = tokenizer.decode(tokens)
        # The score is the mean of the tokens without the one that ends the text.
        mean = result.scores[0] * len(tokens) / (len(tokens) + 1)
        compression = get_compression_ratio(text.strip())
        return cls(tokens, text, float(mean), float(result.no_speech_prob), compression)


def load_faster_whisper(
    folder: Path, *, device: str, compute_type: str, threads: int, beam_size: int
) -> SpeechModel:
    """Load a model from a local folder.

    Args:
        folder: Folder with model.bin, config.json and tokenizer.json.
        device: `auto`, `cpu` or `cuda`.
        compute_type: A type of CTranslate2; `default` keeps the model's.
        threads: Threads on a CPU.
        beam_size: Width of the search.

    Raises:
        EngineUnavailableError: If it cannot be loaded.
    """
    if not (folder / "tokenizer.json").is_file():
        # faster-whisper would download one.
        raise EngineUnavailableError(f"The Whisper model in {folder} has no tokenizer.json.")
    try:
        from faster_whisper import WhisperModel

        model = WhisperModel(
            str(folder),
            device=device,
            compute_type=compute_type,
            cpu_threads=threads,
            local_files_only=True,
        )
    except Exception as error:  # CTranslate2 and tokenizers raise errors of many kinds
        raise EngineUnavailableError(
            f"The Whisper model in {folder} cannot be loaded on {device} as {compute_type}: {error}"
        ) from error
    return FasterWhisperModel(model, beam_size=beam_size)
