"""Loudness, its range and peak, and the audible part of a recording."""

import numpy as np
from numpy.typing import NDArray

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
OFFSET_LUFS = -0.691
RANGE_GATE_LU = -20.0
RANGE_PERCENTILES = (10.0, 95.0)
SHORT_TERM_WINDOWS = 27
"""Momentary windows of 0.4 s, each 0.1 s later, in 3 s."""
OVERSAMPLING = 4
SINC_HALF = 12
"""Samples on each side that the interpolation of the true peak uses."""
PEAK_BLOCK = 4096
MAX_OVERSHOOT = 2.0
"""Between samples a signal rarely exceeds twice its sample peak: quieter blocks cannot have the true peak."""
MAX_BEAT_S = 1.5
"""Interval of 40 BPM: a gap up to this length, as between two clicks, is part of the music."""


def _make_kernel(offset: float) -> NDArray[np.float64]:
    """Return the filter that interpolates at an offset from each sample, as a share of their distance."""
    taps = np.arange(-SINC_HALF, SINC_HALF) + offset
    window = np.interp(taps, np.arange(-SINC_HALF, SINC_HALF + 1), np.hanning(2 * SINC_HALF + 3)[1:-1])
    kernel: NDArray[np.float64] = np.sinc(taps) * window
    return kernel


_BETWEEN_SAMPLES = [_make_kernel(step / OVERSAMPLING) for step in range(1, OVERSAMPLING)]


def integrated_loudness(momentary_lufs: NDArray[np.float64]) -> float | None:
    """Return the integrated loudness by the two gates of ITU-R BS.1770-5 (EBU R128).

    Args:
        momentary_lufs: Loudness of each 400 ms window, shape (windows,).

    Returns:
        LUFS; None if every window is below the absolute gate.
    """
    gated = momentary_lufs[momentary_lufs > ABSOLUTE_GATE_LUFS]
    if not gated.size:
        return None
    kept = gated[gated > _mean(gated) + RELATIVE_GATE_LU]
    return _mean(kept)


def loudness_range(momentary_lufs: NDArray[np.float64]) -> float | None:
    """Return the loudness range of EBU Tech 3342.

    Args:
        momentary_lufs: Loudness of 400 ms windows every 0.1 s, shape (windows,).

    Returns:
        LU; None if nothing is audible for three seconds.
    """
    if momentary_lufs.size < SHORT_TERM_WINDOWS:
        return None
    energies = 10.0 ** ((momentary_lufs - OFFSET_LUFS) / 10.0)
    sums = np.concatenate([[0.0], np.cumsum(energies)])
    short_term = (sums[SHORT_TERM_WINDOWS:] - sums[:-SHORT_TERM_WINDOWS]) / SHORT_TERM_WINDOWS
    lufs = OFFSET_LUFS + 10.0 * np.log10(np.maximum(short_term, 1e-30))
    gated = lufs[lufs > ABSOLUTE_GATE_LUFS]
    if not gated.size:
        return None
    kept = gated[gated > _mean(gated) + RANGE_GATE_LU]
    low, high = np.percentile(kept, RANGE_PERCENTILES)
    return float(high - low)


def true_peak(block: NDArray[np.float32], earlier: float = 0.0) -> float:
    """Return the largest absolute value of a signal between its samples too, as ITU-R BS.1770-5.

    Args:
        block: Shape (samples, channels); its ends count as silence.
        earlier: Peak of the blocks before, which is returned if this one has none that is higher.
    """
    if not block.size:
        return earlier
    peak = max(earlier, float(np.abs(block).max()))
    for channel in np.pad(block, ((SINC_HALF, SINC_HALF), (0, 0))).T:
        for start in range(SINC_HALF, len(channel) - SINC_HALF, PEAK_BLOCK):
            part = channel[start - SINC_HALF : start + PEAK_BLOCK + SINC_HALF]
            if np.abs(part).max() * MAX_OVERSHOOT < peak:
                continue
            for kernel in _BETWEEN_SAMPLES:
                peak = max(peak, float(np.abs(np.convolve(part, kernel, "valid")).max()))
    return peak


def find_audible_extent(
    momentary_lufs: NDArray[np.float64],
    at_s: NDArray[np.float64],
    hop_s: float,
    *,
    floor_lufs: float,
) -> tuple[float, float, float]:
    """Return the first and the last audible moment, and how much is audible.

    Args:
        momentary_lufs: Loudness of each window, shape (windows,).
        at_s: Start of each window in seconds, shape (windows,).
        hop_s: Distance between two windows in seconds.
        floor_lufs: Loudness above which a window is audible.

    Returns:
        Start and end in seconds, and the audible seconds of the whole file, which include gaps
        of up to a beat. All are 0 if no window is audible.
    """
    audible = np.flatnonzero(momentary_lufs > floor_lufs)
    if not audible.size:
        return 0.0, 0.0, 0.0
    start_s, end_s = at_s[audible[0]], at_s[audible[-1]] + hop_s
    steps_s = np.diff(at_s[audible])
    audible_s = hop_s + steps_s[steps_s <= MAX_BEAT_S].sum()
    return float(start_s), float(end_s), float(audible_s)


def _mean(lufs: NDArray[np.float64]) -> float:
    """Return the mean of the energies, as LUFS."""
    energy = 10.0 ** ((lufs - OFFSET_LUFS) / 10.0)
    return OFFSET_LUFS + 10.0 * float(np.log10(energy.mean()))
