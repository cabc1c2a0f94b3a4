"""Integrated loudness, and the audible part of a recording, from its momentary loudness."""

import numpy as np
from numpy.typing import NDArray

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
OFFSET_LUFS = -0.691
MAX_BEAT_S = 1.5
"""Interval of 40 BPM: a gap up to this length, as between two clicks, is part of the music."""


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


def find_audible_extent(
    momentary_lufs: NDArray[np.float64],
    at_s: NDArray[np.float64],
    hop_s: float,
    *,
    floor_lufs: float,
    max_s: float,
) -> tuple[float, float, float]:
    """Return the excerpt to analyze, from the first to the last audible window.

    If that is longer than `max_s`, the excerpt is a part of it of that length, around the middle of the
    audible windows.

    Args:
        momentary_lufs: Loudness of each window, shape (windows,).
        at_s: Start of each window in seconds, shape (windows,).
        hop_s: Distance between two windows in seconds.
        floor_lufs: Loudness above which a window is audible.
        max_s: Longest excerpt to return, in seconds.

    Returns:
        Start and end of the excerpt in seconds, and the audible seconds of the whole file, which include gaps
        of up to a beat. All are 0 if no window is audible.
    """
    audible = np.flatnonzero(momentary_lufs > floor_lufs)
    if not audible.size:
        return 0.0, 0.0, 0.0
    start_s, end_s = at_s[audible[0]], at_s[audible[-1]] + hop_s
    if end_s - start_s > max_s:
        middle_s = at_s[audible[audible.size // 2]]
        start_s = min(max(start_s, middle_s - max_s / 2), end_s - max_s)
        end_s = start_s + max_s
    steps_s = np.diff(at_s[audible])
    audible_s = hop_s + steps_s[steps_s <= MAX_BEAT_S].sum()
    return float(start_s), float(end_s), float(audible_s)


def _mean(lufs: NDArray[np.float64]) -> float:
    """Return the mean of the energies, as LUFS."""
    energy = 10.0 ** ((lufs - OFFSET_LUFS) / 10.0)
    return OFFSET_LUFS + 10.0 * float(np.log10(energy.mean()))
