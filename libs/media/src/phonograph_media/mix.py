"""Mixing of channels that cancel each other in their sum.

A microphone or a cable with swapped poles gives channels whose sum is nearly nothing. In windows where this
happens, the difference of the two channels, or the strongest of several, is used instead of the mix.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WINDOW_S = 0.5
_FADE_S = 0.01
# Energy of the mix relative to the one that independent channels would have: 1 + their correlation.
_MIN_ENERGY_RATIO = 0.2
# RMS of the channels, relative to full scale, below which noise decides whether they cancel: -66 dB.
_MIN_LEVEL = 5e-4


Samples = NDArray[Any]


class CancellationGuard:
    """Replaces the mix of a recording in windows where its channels cancel, in the order of time."""

    def __init__(self, sample_rate_hz: int, full_scale: float) -> None:
        """Create the guard.

        Args:
            sample_rate_hz: Sample rate of mix and channels.
            full_scale: Largest sample value: 1.0, or 32,768 for 16-bit samples.
        """
        self.cancelled_samples = 0
        self._window = round(_WINDOW_S * sample_rate_hz)
        self._fade = round(_FADE_S * sample_rate_hz)
        self._floor = (_MIN_LEVEL * full_scale) ** 2
        self._mix: list[Samples] = []
        self._channels: list[Samples] = []
        self._was_cancelled = False

    def push(self, mix: Iterable[Samples], channels: Iterable[Samples]) -> Samples:
        """Return the samples that are decided.

        Args:
            mix: Next samples of the mix, each of shape (samples,).
            channels: Next samples of the channels, each of shape (samples, channels); their number may lag.
        """
        self._mix += mix
        self._channels += channels
        ready = min(sum(map(len, self._mix)), sum(map(len, self._channels))) // self._window * self._window
        return self._decide(ready) if ready else np.zeros(0, np.int16)

    def flush(self) -> Samples:
        """Return the rest of the samples."""
        return self._decide(sum(map(len, self._mix)))

    def _decide(self, count: int) -> Samples:
        if not count:
            return np.zeros(0, np.int16)
        mix, channels = np.concatenate(self._mix), np.concatenate(self._channels)
        self._mix, self._channels = [mix[count:]], [channels[count:]]
        decided = mix[:count].copy()
        for start in range(0, count, self._window):
            window = slice(start, min(start + self._window, count))
            self._decide_window(decided[window], channels[window])
        return decided

    def _decide_window(self, mix: Samples, channels: Samples) -> None:
        is_cancelled = self._is_cancelled(mix, channels)
        if is_cancelled or self._was_cancelled:
            other = _mix_otherwise(channels[: len(mix)])
            share = np.full(len(other), float(is_cancelled))
            if is_cancelled != self._was_cancelled:
                fade = min(self._fade, len(other))
                ramp = np.linspace(0.0, 1.0, fade, endpoint=False)
                share[:fade] = ramp if is_cancelled else 1.0 - ramp
            sound = mix[: len(other)] * (1.0 - share) + other * share
            # The difference of two samples at full scale is one step too large.
            mix[: len(other)] = np.rint(sound).clip(-32_768, 32_767) if mix.dtype.kind == "i" else sound
        self._was_cancelled = is_cancelled
        if is_cancelled:
            self.cancelled_samples += len(mix)

    def _is_cancelled(self, mix: Samples, channels: Samples) -> bool:
        if not len(channels):
            return False
        energies = np.mean(np.square(channels.astype(np.float64)), axis=0)
        expected = float(energies.sum()) / channels.shape[1] ** 2
        if not np.isfinite(expected) or float(energies.max()) < self._floor:
            return False
        return bool(np.mean(np.square(mix.astype(np.float64))) < _MIN_ENERGY_RATIO * expected)


def mix_down(block: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """Return the mean of the channels of a block, or their difference where they cancel.

    Args:
        block: Shape (samples, channels).
        sample_rate_hz: Sample rate of the block.

    Returns:
        Shape (samples,).
    """
    mean: NDArray[np.float32] = block.mean(axis=1)
    if block.shape[1] == 1:
        return mean
    guard = CancellationGuard(sample_rate_hz, 1.0)
    decided = guard.push([mean], [block])
    return np.concatenate([decided, guard.flush()]).astype(np.float32)


def _mix_otherwise(channels: Samples) -> NDArray[np.float64]:
    sound = channels.astype(np.float64)
    if sound.shape[1] == 2:
        return (sound[:, 0] - sound[:, 1]) / 2
    return sound[:, int(np.argmax(np.square(sound).sum(axis=0)))]
