"""Speech detection with Silero VAD, whose model is inside the wheel of faster-whisper."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonograph_media import SAMPLE_RATE_HZ
from phonograph_runtime.ports import Progress

SpeechTimestamps = Callable[[NDArray[np.float32]], list[dict[str, Any]]]
"""Takes samples of shape (samples,), returns the `start` and `end` of each speech region in samples."""

_BLOCK = 600 * SAMPLE_RATE_HZ
"""Ten minutes: the model copies its input several times."""
_MIN_SILENCE_MS = 150
_PAD_MS = 60
_MIN_SPEECH_MS = 100
_MIN_SILENCE = SAMPLE_RATE_HZ * _MIN_SILENCE_MS // 1000
"""The same in samples."""


class SpeechRegion(NamedTuple):
    """A stretch of speech, in samples from the start of the recording."""

    start: int
    end: int
    """The sample after the last one."""


class SileroSpeechDetector:
    """Finds the speech regions of a recording. Source: Silero VAD v6, MIT."""

    def __init__(self, timestamps: SpeechTimestamps | None = None) -> None:
        """Create the detector.

        Args:
            timestamps: Finds the speech regions of one block; Silero's if None.
        """
        self._timestamps = timestamps

    def load(self) -> None:
        """Load the model into memory; a second call does nothing."""
        self._loaded()

    def detect(self, samples: NDArray[np.float32], progress: Progress) -> list[SpeechRegion]:
        """Return the speech regions in order.

        Args:
            samples: Shape (samples,), 16 kHz mono, [-1, 1].
            progress: Called with the fraction done and the stage.
        """
        timestamps = self._loaded()
        regions: list[SpeechRegion] = []
        for begin in range(0, samples.size, _BLOCK):
            progress(begin / samples.size, "speech")
            for region in timestamps(samples[begin : begin + _BLOCK]):
                start, end = begin + int(region["start"]), begin + int(region["end"])
                # Speech across the border of two blocks is one region.
                if regions and start - regions[-1].end < _MIN_SILENCE:
                    regions[-1] = SpeechRegion(regions[-1].start, end)
                else:
                    regions.append(SpeechRegion(start, end))
        return regions

    def _loaded(self) -> SpeechTimestamps:
        if self._timestamps is None:
            from faster_whisper.vad import VadOptions, get_speech_timestamps, get_vad_model

            get_vad_model()
            options = VadOptions(
                min_silence_duration_ms=_MIN_SILENCE_MS,
                min_speech_duration_ms=_MIN_SPEECH_MS,
                speech_pad_ms=_PAD_MS,
            )
            self._timestamps = partial(get_speech_timestamps, vad_options=options)
        return self._timestamps
