"""Speech detection with Silero VAD: sound that is not speech never reaches a model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phonograph_media import SAMPLE_RATE_HZ
from phonograph_transcription.domain.transcript import TranscriptWarning, WarningCode

NO_SPEECH = TranscriptWarning(WarningCode.NO_SPEECH, "The recording contains no speech.")

THRESHOLD = 0.5
MIN_SPEECH_S = 0.2
"""Clicks and coughs are shorter."""
MIN_SILENCE_S = 0.5
"""Pause that ends a region; shorter ones occur inside sentences."""
PAD_S = 0.2
"""Added on both sides: the first and last consonants are too quiet for the VAD."""


@dataclass(frozen=True, slots=True)
class SpeechRegion:
    """A stretch of speech, in samples from the start of the recording."""

    start: int
    end: int
    """The sample after the last one."""

    @property
    def start_s(self) -> float:
        """Start in seconds."""
        return self.start / SAMPLE_RATE_HZ


def find_speech(samples: NDArray[np.float32], *, max_region_s: float) -> list[SpeechRegion]:
    """Return the speech regions in order; long ones are split, in a pause if there is one.

    Args:
        samples: Shape (samples,), 16 kHz mono, [-1, 1].
        max_region_s: Maximum length of a region, in seconds.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if not samples.any():
        return []
    options = VadOptions(
        threshold=THRESHOLD,
        min_speech_duration_ms=int(MIN_SPEECH_S * 1000),
        max_speech_duration_s=max_region_s,
        min_silence_duration_ms=int(MIN_SILENCE_S * 1000),
        speech_pad_ms=int(PAD_S * 1000),
    )
    return [
        SpeechRegion(region["start"], region["end"]) for region in get_speech_timestamps(samples, options)
    ]
