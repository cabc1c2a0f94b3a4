"""A speech model that returns given texts, with the limits of a real one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_media import SAMPLE_RATE_HZ
from phonograph_transcription.domain.languages import LanguageWindow
from phonograph_transcription.inference.whisper import WhisperTranscriber
from phonograph_transcription.inference.whisper_model import (
    DecodedChunk,
    EncodedChunks,
    SpeechModel,
    SpokenWord,
)

Sound = NDArray[np.float32]
ENGLISH = {"en": 0.9, "de": 0.05}


class FakeModel(SpeechModel):
    """Decodes each chunk by a function; the language of a window depends on its sound."""

    def __init__(
        self,
        decode: Callable[[Sound], DecodedChunk],
        detect: Callable[[Sound], Mapping[str, float]] = lambda _: ENGLISH,
    ) -> None:
        self._decode = decode
        self._detect = detect
        self.batches: list[int] = []
        self.lengths: list[int] = []
        self.languages_used: list[str] = []

    @property
    @override
    def device(self) -> str:
        return "cpu"

    @property
    @override
    def compute_type(self) -> str:
        return "float32"

    @property
    @override
    def languages(self) -> Sequence[str]:
        return ("en", "de")

    @override
    def encode(self, sounds: Sequence[Sound]) -> EncodedChunks:
        durations_s = tuple(sound.size / SAMPLE_RATE_HZ for sound in sounds)
        return EncodedChunks(durations_s, np.empty(0, np.float32), sounds)

    @override
    def detect_languages(
        self, chunks: EncodedChunks, spans_s: Sequence[Sequence[tuple[float, float]]]
    ) -> list[list[LanguageWindow]]:
        return [
            [
                LanguageWindow(
                    start, end, self._detect(sound[int(start * SAMPLE_RATE_HZ) : int(end * SAMPLE_RATE_HZ)])
                )
                for start, end in spans
            ]
            for sound, spans in zip(chunks.encoding, spans_s, strict=True)
        ]

    @override
    def decode(self, chunks: EncodedChunks, language: str) -> list[DecodedChunk]:
        self.batches.append(len(chunks.encoding))
        self.lengths += [sound.size for sound in chunks.encoding]
        self.languages_used += [language] * len(chunks.encoding)
        return [self._decode(sound) for sound in chunks.encoding]


def chunk_of(*words: tuple[str, float, float]) -> DecodedChunk:
    """Return a decoded chunk of words, each with its start and end in seconds."""
    return DecodedChunk(
        "".join(text for text, _, _ in words),
        tuple(SpokenWord(text, start, end, 0.8) for text, start, end in words),
        mean_log_probability=-0.2,
        no_speech_probability=0.1,
    )


def fake_transcriber(model: SpeechModel, *, batch_size: int = 8) -> WhisperTranscriber:
    """Return a transcriber that uses a model."""
    return WhisperTranscriber(
        Path("nowhere"),
        model_name="m",
        device="cpu",
        compute_type="int8",
        batch_size=batch_size,
        load_model=lambda device, compute_type: model,
    )
