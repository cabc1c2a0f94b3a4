"""Detection of speech with Silero VAD, whose model is part of the wheel of faster-whisper.

Source: Silero VAD v6, MIT. Needs the extra `speech` of this package.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonograph_media.rendition import SAMPLE_RATE_HZ, Samples

Model = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Takes whole frames of `FRAME` samples, returns the probability of speech in each."""

FRAME: Final = 512
"""Samples of a frame, for which the model reports one probability: 32 ms."""
_WINDOW: Final = 250
"""Frames of a window: 8 s."""
_HOP: Final = _WINDOW // 2
_WARM_UP: Final = 62
"""Frames after which a window counts fully: 2 s."""
_HYSTERESIS: Final = 0.15
"""Speech continues until its probability is that much below the threshold."""
_MIN_LEVEL: Final = 0.05
"""Amplitude of the loud frames below which models miss speech."""
_LOUD_SHARE: Final = 0.999
_PROGRESS_EVERY: Final = 100
_FRAMES_AT_ONCE: Final = 2048
"""Frames of a long recording that are in memory at once: 65 s."""


class SpeechRegion(NamedTuple):
    """A stretch of speech, in samples from the start of the recording."""

    start: int
    end: int
    """The sample after the last one."""

    @property
    def start_s(self) -> float:
        """Start in seconds."""
        return self.start / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """The limits of a region of speech."""

    min_speech_s: float
    """Shorter sounds are no speech."""
    min_silence_s: float
    """Pause that ends a region."""
    pad_s: float
    """Added on both sides: the first and last consonants are too quiet for the model."""
    max_region_s: float | None = None
    """Longer regions are split where speech is least probable; None for no limit."""
    threshold: float = 0.5
    """Probability from which a frame is speech."""


class SpeechDetector:
    """Finds the speech regions of recordings."""

    def __init__(self, options: SpeechOptions, model: Model | None = None) -> None:
        """Create the detector.

        Args:
            options: The limits of a region.
            model: Reports the probability of speech; Silero's if None.
        """
        self._options = options
        self._model = model

    def load(self) -> None:
        """Load the model into memory; a second call does nothing."""
        self._loaded()

    def detect(
        self, samples: Samples, progress: Callable[[float], None] = lambda _: None
    ) -> list[SpeechRegion]:
        """Return the speech regions in order. Memory does not grow with a recording that is read from a file.

        Args:
            samples: 16 kHz mono, [-1, 1].
            progress: Called with the fraction done.
        """
        peaks = _measure_peaks(samples)
        if not peaks.any():
            return []
        probabilities = _compute_probabilities(self._loaded(), samples, _gain_of(peaks), progress)
        return _find_regions(probabilities, self._options, len(samples))

    def _loaded(self) -> Model:
        if self._model is None:
            from faster_whisper.vad import get_vad_model

            self._model = _flatten(get_vad_model())
        return self._model


def _flatten(model: Any) -> Model:
    def probabilities(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(model(samples), np.float32).reshape(-1)

    return probabilities


def amplify(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a quiet recording at the level that models of speech need, and any other as it is.

    Args:
        samples: Shape (samples,), 16 kHz mono, [-1, 1].
    """
    gain = measure_gain(samples)
    return samples if gain == 1 else samples * gain


def measure_gain(samples: Samples) -> np.float32:
    """Return the factor by which `amplify` multiplies a recording."""
    return _gain_of(_measure_peaks(samples))


def _measure_peaks(samples: Samples) -> NDArray[np.float32]:
    """Return the largest amplitude of each frame; the last frame may be incomplete."""
    peaks = []
    for start in range(0, len(samples), _FRAMES_AT_ONCE * FRAME):
        part = np.abs(samples[start : start + _FRAMES_AT_ONCE * FRAME])
        peaks.append(np.pad(part, (0, -part.size % FRAME)).reshape(-1, FRAME).max(axis=1))
    return np.concatenate(peaks) if peaks else np.empty(0, np.float32)


def _gain_of(peaks: NDArray[np.float32]) -> np.float32:
    level = float(np.quantile(peaks, _LOUD_SHARE)) if peaks.size else 0.0
    return np.float32(1 if level == 0 or level >= _MIN_LEVEL else _MIN_LEVEL / level)


def _compute_probabilities(
    model: Model, samples: Samples, gain: np.float32, progress: Callable[[float], None]
) -> NDArray[np.float32]:
    """Return the probability of speech in each frame.

    The model remembers what precedes a frame, and long noise makes it miss speech for seconds. Each window
    therefore starts without a memory. Windows overlap by half, so that every frame is judged twice; a window
    counts less in its first two seconds, where it lacks the context that the other one has.

    Args:
        model: Reports the probability of speech.
        samples: 16 kHz mono, [-1, 1].
        gain: Factor for the samples.
        progress: Called with the fraction done.
    """
    count = -(-len(samples) // FRAME)
    weights = np.clip(np.arange(_WINDOW) / _WARM_UP, 0.02, 1).astype(np.float32)
    total, weight = np.zeros(count, np.float32), np.zeros(count, np.float32)
    for number, begin in enumerate(range(_HOP - _WINDOW, count, _HOP)):
        first, last = max(begin, 0), min(begin + _WINDOW, count)
        length = last - first
        window = samples[first * FRAME : last * FRAME] * gain
        found = model(np.pad(window, (0, length * FRAME - window.size)))
        total[first:last] += weights[:length] * found
        weight[first:last] += weights[:length]
        if number % _PROGRESS_EVERY == 0:
            progress(first / count)
    return total / weight


def _find_regions(
    probabilities: NDArray[np.float32], options: SpeechOptions, sample_count: int
) -> list[SpeechRegion]:
    """Return the regions of speech: long enough, without pauses between them that are too short, padded."""
    min_silence = options.min_silence_s * SAMPLE_RATE_HZ / FRAME
    min_speech = options.min_speech_s * SAMPLE_RATE_HZ / FRAME
    runs: list[tuple[int, int]] = []
    for start, end in _find_runs(probabilities, options.threshold):
        if runs and start - runs[-1][1] < min_silence:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    runs = [(start, end) for start, end in runs if end - start > min_speech]
    regions = [SpeechRegion(start * FRAME, min(end * FRAME, sample_count)) for start, end in runs]
    padded = _pad(regions, round(options.pad_s * SAMPLE_RATE_HZ), sample_count)
    if options.max_region_s is None:
        return padded
    longest = int(options.max_region_s * SAMPLE_RATE_HZ)
    return [piece for region in padded for piece in _split(region, probabilities, longest)]


def _find_runs(probabilities: NDArray[np.float32], threshold: float) -> list[tuple[int, int]]:
    """Return the runs of frames that reach the threshold, each up to where it is clearly missed."""
    runs: list[tuple[int, int]] = []
    start: int | None = None
    for frame in np.flatnonzero((probabilities >= threshold) | (probabilities < threshold - _HYSTERESIS)):
        is_speech = probabilities[frame] >= threshold
        if is_speech and start is None:
            start = int(frame)
        elif not is_speech and start is not None:
            runs.append((start, int(frame)))
            start = None
    if start is not None:
        runs.append((start, len(probabilities)))
    return runs


def _pad(regions: list[SpeechRegion], pad: int, sample_count: int) -> list[SpeechRegion]:
    """Extend regions by `pad` samples on both sides; those that would meet share the pause between them."""
    padded: list[SpeechRegion] = []
    for number, (start, end) in enumerate(regions):
        before = regions[number - 1].end if number else -pad
        after = regions[number + 1].start if number + 1 < len(regions) else sample_count + pad
        from_sample = max(0, start - pad, start - (start - before) // 2)
        to_sample = min(sample_count, end + pad, end + (after - end) // 2)
        padded.append(SpeechRegion(from_sample, to_sample))
    return padded


def _split(region: SpeechRegion, probabilities: NDArray[np.float32], longest: int) -> list[SpeechRegion]:
    """Split a region into pieces of at most `longest` samples, where speech is least probable."""
    pieces: list[SpeechRegion] = []
    start, end = region
    while end - start > longest:
        first, last = (start + longest // 2) // FRAME + 1, (start + longest) // FRAME
        at = (
            (first + int(probabilities[first:last].argmin())) * FRAME + FRAME // 2
            if last > first
            else start + longest
        )
        pieces.append(SpeechRegion(start, at))
        start = at
    return [*pieces, SpeechRegion(start, end)]
