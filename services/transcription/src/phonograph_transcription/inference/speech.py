"""Where somebody speaks, by Silero VAD: what is not speech never reaches a recogniser."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phonograph_media import SAMPLE_RATE_HZ

THRESHOLD = 0.5
MIN_SPEECH_S = 0.2
"""Clicks and coughs are shorter."""
MIN_SILENCE_S = 0.5
"""A pause that ends a segment: shorter ones lie inside sentences."""
PAD_S = 0.2
"""Kept on both sides: the first and last consonants are too quiet for the VAD."""


@dataclass(frozen=True, slots=True)
class Speech:
    """A stretch of speech in samples."""

    start: int
    end: int

    @property
    def start_s(self) -> float:
        """Seconds from the start of the file."""
        return self.start / SAMPLE_RATE_HZ

    @property
    def end_s(self) -> float:
        """Seconds from the start of the file."""
        return self.end / SAMPLE_RATE_HZ


def find_speech(samples: NDArray[np.float32], *, max_speech_s: float) -> list[Speech]:
    """Stretches of speech, in order, each at most `max_speech_s` long, cut in a pause where there is one.

    Args:
        samples: shape (n,), 16 kHz mono, [-1, 1].
        max_speech_s: longest stretch in seconds.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if not samples.any():
        return []
    options = VadOptions(
        threshold=THRESHOLD,
        min_speech_duration_ms=int(MIN_SPEECH_S * 1000),
        max_speech_duration_s=max_speech_s,
        min_silence_duration_ms=int(MIN_SILENCE_S * 1000),
        speech_pad_ms=int(PAD_S * 1000),
    )
    return [Speech(found["start"], found["end"]) for found in get_speech_timestamps(samples, options)]
