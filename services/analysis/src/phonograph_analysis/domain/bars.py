"""Estimation of bars from the accents of beats."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from phonograph_analysis import constants
from phonograph_analysis.domain.results import Bars

BEATS_PER_BAR = (3, 4)


def find_bars(beats: Sequence[float], accents: NDArray[np.float64]) -> Bars | None:
    """Return the bars, or None if no beat of three or four is clearly the first.

    The first beat of a bar is the one on which bass notes and chords change.

    Args:
        beats: Seconds from the start of the file.
        accents: Strength of the accent of each beat, shape (beats,).
    """
    if len(beats) < constants.BAR_MIN_BEATS or not accents.std():
        return None
    accents = (accents - accents.mean()) / accents.std()
    clarity, beats_per_bar, phase = max(
        (_clarity(accents, number, phase), number, phase)
        for number in BEATS_PER_BAR
        for phase in range(number)
    )
    if clarity < constants.BAR_CLARITY_MIN:
        return None
    return Bars(beats_per_bar, tuple(beats[phase::beats_per_bar]))


def _clarity(accents: NDArray[np.float64], number: int, phase: int) -> float:
    """Return by how many deviations the beats of a phase stand out from the next strongest phase."""
    means = [accents[other::number].mean() for other in range(number)]
    rival = max(mean for other, mean in enumerate(means) if other != phase)
    return float(means[phase] - rival)
