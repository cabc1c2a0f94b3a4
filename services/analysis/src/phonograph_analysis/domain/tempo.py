"""From tracked beats to a tempo, or to the reason why there is none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phonograph_analysis import constants
from phonograph_analysis.domain.result import Tempo


@dataclass(frozen=True, slots=True)
class Pulse:
    """How regularly sounds begin."""

    strength: float
    """Largest autocorrelation of the onset strength at a distance of 40 to 250 BPM, 0 to 1."""
    depth: float
    """Standard deviation of the onset strength over the mean log magnitude."""

    @property
    def repeats(self) -> bool:
        """Whether there are onsets, and they repeat at some beat distance."""
        return self.strength >= constants.PULSE_MIN and self.depth >= constants.ONSET_DEPTH_MIN


def steady_tempo(
    beats: NDArray[np.float64],
    tracker_confidence: float,
    *,
    repeats: bool,
    duration_s: float,
    offset_s: float = 0.0,
) -> Tempo | None:
    """Tempo of a beat track, null where the beats are not to be believed.

    A tracker puts beats on anything. They count where the onsets repeat at some beat distance or where, over
    20 s and more, the trackers agree well; and only if most intervals are alike. The tempo is that of the
    longest steady stretch: the slope of its beat times over their count, which is finer than the tracker's
    own histogram (it says 172.3 for 170). A mix of several tempi has the tempo of its largest part.

    Args:
        beats: seconds from the start of the excerpt, shape (beats,).
        tracker_confidence: 0 to 5.32.
        repeats: whether the onsets repeat, see `Pulse`.
        duration_s: length of the excerpt.
        offset_s: where the excerpt begins in the file.
    """
    agreed = duration_s >= constants.TRACKER_MIN_S and tracker_confidence >= constants.TRACKER_CONFIDENCE_MIN
    if not (repeats or agreed) or beats.size < 4:
        return None
    intervals = np.diff(beats)
    counts = intervals / np.median(intervals)
    regular = np.abs(counts - np.round(counts)) <= constants.BEAT_TOLERANCE * counts
    if np.mean(regular & (np.round(counts) == 1)) < constants.REGULAR_MIN:
        return None
    steady = _longest_run(regular)
    count = np.concatenate([[0.0], np.cumsum(np.round(counts[steady]))])
    bpm = 60.0 / float(np.polyfit(count, beats[steady.start : steady.stop + 1], 1)[0])
    if not constants.BPM_MIN <= bpm <= constants.BPM_MAX:
        return None
    return Tempo(
        bpm=round(bpm, 2),
        confidence=normalised_confidence(tracker_confidence),
        candidates=tempo_candidates(bpm),
        beats=tuple(round(float(beat) + offset_s, 3) for beat in beats),
    )


def tempo_candidates(bpm: float) -> tuple[float, ...]:
    """Half, same and double tempo, ascending, those within 40 to 250 BPM."""
    return tuple(
        round(bpm * factor, 2)
        for factor in (0.5, 1.0, 2.0)
        if constants.BPM_MIN <= bpm * factor <= constants.BPM_MAX
    )


def normalised_confidence(tracker_confidence: float) -> float:
    """The tracker's confidence as a share of its maximum, within 0 to 1."""
    return round(min(max(tracker_confidence / constants.CONFIDENCE_MAX, 0.0), 1.0), 3)


def _longest_run(flags: NDArray[np.bool_]) -> slice:
    """The longest stretch of true values; there is one at least."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - starts))
    return slice(int(starts[longest]), int(ends[longest]))
