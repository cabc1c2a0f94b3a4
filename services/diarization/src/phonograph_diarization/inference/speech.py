"""Finds speech with Silero VAD, from the model inside faster-whisper's wheel."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.constants import SAMPLE_RATE_HZ
from phonograph_runtime.ports import Progress

Span = tuple[int, int]
"""First sample and the one after the last."""

_BLOCK = 600 * SAMPLE_RATE_HZ
"""Ten minutes: the model copies its input several times."""
_MIN_SILENCE_MS = 150
_PAD_MS = 60
_MIN_SPEECH_MS = 100
_JOIN = SAMPLE_RATE_HZ * _MIN_SILENCE_MS // 1000


class SileroSpeechDetector:
    """Speech regions of a recording.

    Source: Silero VAD v6, MIT.
    """

    def __init__(
        self, timestamps: Callable[[NDArray[np.float32]], list[dict[str, Any]]] | None = None
    ) -> None:
        """Take a function that gives the `start` and `end` of speech in samples; by default Silero's."""
        self._timestamps = timestamps

    def load(self) -> None:
        """Bring the model into memory."""
        if self._timestamps is None:
            self._timestamps = self._load()

    def _load(self) -> Callable[[NDArray[np.float32]], list[dict[str, Any]]]:
        from faster_whisper.vad import VadOptions, get_speech_timestamps, get_vad_model

        get_vad_model()
        options = VadOptions(
            min_silence_duration_ms=_MIN_SILENCE_MS,
            min_speech_duration_ms=_MIN_SPEECH_MS,
            speech_pad_ms=_PAD_MS,
        )
        return partial(get_speech_timestamps, vad_options=options)

    def predict(self, samples: NDArray[np.float32], progress: Progress) -> list[Span]:
        """Regions of speech in order, in samples; `samples` has the shape (samples,) at 16 kHz."""
        self.load()
        if self._timestamps is None:
            raise TypeError("load() gave no model.")
        spans: list[Span] = []
        for begin in range(0, samples.size, _BLOCK):
            progress(begin / samples.size, "speech")
            for found in self._timestamps(samples[begin : begin + _BLOCK]):
                start, end = begin + int(found["start"]), begin + int(found["end"])
                if spans and start - spans[-1][1] < _JOIN:
                    spans[-1] = (spans[-1][0], end)
                else:
                    spans.append((start, end))
        return spans
