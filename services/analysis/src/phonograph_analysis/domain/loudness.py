"""Loudness of a programme out of its momentary loudness, and where in it something sounds."""

import numpy as np
from numpy.typing import NDArray

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
OFFSET_LUFS = -0.691
LONGEST_BEAT_S = 1.5
"""A beat of 40 BPM: the gap between two clicks is part of the music."""


def integrated_loudness(momentary_lufs: NDArray[np.float64]) -> float | None:
    """Integrated loudness in LUFS by the two gates of ITU-R BS.1770-5 (EBU R128).

    Args:
        momentary_lufs: loudness of each 400 ms window, shape (windows,).

    Returns:
        LUFS; null where every window lies under the absolute gate.
    """
    heard = momentary_lufs[momentary_lufs > ABSOLUTE_GATE_LUFS]
    if not heard.size:
        return None
    kept = heard[heard > _mean(heard) + RELATIVE_GATE_LU]
    return _mean(kept)


def sounding_extent(
    momentary_lufs: NDArray[np.float64],
    at_s: NDArray[np.float64],
    hop_s: float,
    *,
    floor_lufs: float,
    longest_s: float,
) -> tuple[float, float, float]:
    """Stretch that is worth analysing.

    It runs from the first to the last window above `floor_lufs`. Where that is longer than `longest_s`, it is
    as much of it as lies around the middle of what sounds.

    Args:
        momentary_lufs: loudness of each window, shape (windows,).
        at_s: where each window lies, in seconds.
        hop_s: distance of two windows.
        floor_lufs: what is not louder does not sound.
        longest_s: longest stretch to give.

    Returns:
        Start and end in seconds, and how many seconds of the file sound in all, with gaps of up to a beat.
    """
    sounding = np.flatnonzero(momentary_lufs > floor_lufs)
    if not sounding.size:
        return 0.0, 0.0, 0.0
    start_s, end_s = at_s[sounding[0]], at_s[sounding[-1]] + hop_s
    if end_s - start_s > longest_s:
        middle_s = at_s[sounding[sounding.size // 2]]
        start_s = min(max(start_s, middle_s - longest_s / 2), end_s - longest_s)
        end_s = start_s + longest_s
    steps_s = np.diff(at_s[sounding])
    sounding_s = hop_s + steps_s[steps_s <= LONGEST_BEAT_S].sum()
    return float(start_s), float(end_s), float(sounding_s)


def _mean(lufs: NDArray[np.float64]) -> float:
    """Mean of the energies, as LUFS."""
    energy = 10.0 ** ((lufs - OFFSET_LUFS) / 10.0)
    return OFFSET_LUFS + 10.0 * float(np.log10(energy.mean()))
