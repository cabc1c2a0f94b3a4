"""Estimation of a tempo from tracked beats."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phonograph_analysis import constants
from phonograph_analysis.domain.results import Tempo


@dataclass(frozen=True, slots=True)
class Pulse:
    """Regularity of the onsets."""

    strength: float
    """Largest autocorrelation of the onset strength at a period of 40 to 250 BPM, 0 to 1."""
    depth: float
    """Standard deviation of the onset strength, divided by the mean log magnitude."""

    @property
    def is_periodic(self) -> bool:
        """Whether there are onsets that repeat at some beat period."""
        return self.strength >= constants.PULSE_MIN and self.depth >= constants.ONSET_DEPTH_MIN


def estimate_tempo(
    beats: NDArray[np.float64],
    tracker_confidence: float,
    *,
    is_periodic: bool,
    duration_s: float,
    offset_s: float = 0.0,
) -> Tempo | None:
    """Return the tempo of tracked beats, or None if the beats are not reliable.

    A tracker finds beats in any audio. They are reliable if most intervals are alike, and either the onsets
    are periodic or, in 20 s or more, the trackers agree well. The tempo is that of the longest regular run of
    beats: the slope of their times over their numbers, which is more precise than the tracker's own histogram
    (it reports 172.3 for 170). A mix of several tempi has the tempo of its longest part.

    Args:
        beats: Seconds from the start of the excerpt, shape (beats,).
        tracker_confidence: 0 to 5.32.
        is_periodic: `Pulse.is_periodic` of the excerpt.
        duration_s: Length of the excerpt.
        offset_s: Start of the excerpt in the file.
    """
    trackers_agree = (
        duration_s >= constants.TRACKER_MIN_S and tracker_confidence >= constants.TRACKER_CONFIDENCE_MIN
    )
    if not (is_periodic or trackers_agree) or beats.size < 4:
        return None
    intervals = np.diff(beats)
    # A missed beat makes an interval of two: intervals count as regular near any whole number of beats.
    counts = intervals / np.median(intervals)
    regular = np.abs(counts - np.round(counts)) <= constants.BEAT_TOLERANCE * counts
    if np.mean(regular & (np.round(counts) == 1)) < constants.REGULAR_MIN:
        return None
    run = _longest_run(regular)
    count = np.concatenate([[0.0], np.cumsum(np.round(counts[run]))])
    bpm = 60.0 / float(np.polyfit(count, beats[run.start : run.stop + 1], 1)[0])
    if not constants.BPM_MIN <= bpm <= constants.BPM_MAX:
        return None
    return Tempo(
        bpm=round(bpm, 2),
        confidence=normalize_confidence(tracker_confidence),
        candidates=tempo_candidates(bpm),
        beats=tuple(round(float(beat) + offset_s, 3) for beat in beats),
    )


def tempo_candidates(bpm: float) -> tuple[float, ...]:
    """Return half, same and double tempo, ascending, those within 40 to 250 BPM."""
    return tuple(
        round(bpm * factor, 2)
        for factor in (0.5, 1.0, 2.0)
        if constants.BPM_MIN <= bpm * factor <= constants.BPM_MAX
    )


def normalize_confidence(tracker_confidence: float) -> float:
    """Return the tracker's confidence as a share of its maximum, clipped to [0, 1]."""
    return round(min(max(tracker_confidence / constants.CONFIDENCE_MAX, 0.0), 1.0), 3)


def _longest_run(flags: NDArray[np.bool_]) -> slice:
    """Return the longest run of true values, of which there is at least one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return slice(int(starts[longest]), int(ends[longest]))
