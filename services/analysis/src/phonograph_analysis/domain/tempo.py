"""Estimation of tempi from tracked beats."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from phonograph_analysis import constants
from phonograph_analysis.domain.results import Tempo, TempoSection

CANDIDATE_FACTORS = (1 / 2, 2 / 3, 1.0, 3 / 2, 2.0)
"""What listeners and trackers take for the beat instead: other octaves, and triplets."""
MAX_GAP_S = 30.0
"""A break without drums does not end a section."""


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
    bpm = _slope_bpm(beats[run.start : run.stop + 1], counts[run])
    if not constants.BPM_MIN <= bpm <= constants.BPM_MAX:
        return None
    sections = find_sections(beats + offset_s, bpm)
    if len(sections) > 1:
        bpm = _most_frequent(sections)
    confidence = normalize_confidence(tracker_confidence)
    return Tempo(
        bpm=round(bpm, 2),
        confidence=confidence,
        candidates=tempo_candidates(bpm),
        sections=sections,
        beats=tuple(round(float(beat) + offset_s, 3) for beat in beats),
        needs_review=confidence < constants.CONFIDENCE_CLEAR or duration_s < constants.TRACKER_MIN_S,
    )


def find_sections(beats: NDArray[np.float64], bpm: float) -> tuple[TempoSection, ...]:
    """Return the stretches in which the tempo is steady, in order of time.

    A section ends where the mean of the next intervals between beats differs from that of the last ones: each
    interval is a multiple of the engine's frames, 12 ms. A tracker that takes half or double the tempo for a
    while makes no section: it is folded to the octave of the whole.

    Args:
        beats: Seconds from the start of the file, shape (beats,).
        bpm: Tempo of the whole.
    """
    intervals = np.diff(beats)
    span = constants.SECTION_BEATS
    if intervals.size < span:
        return (TempoSection(round(float(beats[0]), 3), round(float(beats[-1]), 3), round(bpm, 2)),)
    octaves = np.round(np.log2(60.0 / bpm / intervals)).astype(np.float64)
    folded = intervals * 2.0**octaves
    means = np.lib.stride_tricks.sliding_window_view(folded, span // 2).mean(axis=1)
    # jumps[i] is the change of the tempo at interval i + span // 2.
    jumps = np.abs(np.log2(means[span // 2 :] / means[: -(span // 2)]))
    bounds = [0, *(peak + span // 2 for peak in _peaks(jumps, constants.SECTION_CHANGE)), intervals.size]
    sections: list[TempoSection] = []
    for first, last in itertools.pairwise(bounds):
        period_s = float(np.median(folded[first:last]))
        steady = np.abs(folded[first:last] - period_s) <= constants.BEAT_TOLERANCE * period_s
        if last - first < span // 2 or np.mean(steady) < constants.REGULAR_MIN:
            continue
        run = _longest_run(steady)
        start, stop = first + run.start, first + run.stop
        section_bpm = _slope_bpm(beats[start : stop + 1], np.exp2(-octaves[start:stop]))
        sections.append(
            TempoSection(round(float(beats[first]), 3), round(float(beats[last]), 3), round(section_bpm, 2))
        )
    return join_sections(sections)


def join_sections(sections: Iterable[TempoSection]) -> tuple[TempoSection, ...]:
    """Join adjacent sections of one tempo; `sections` are in order of time."""
    joined: list[TempoSection] = []
    for section in sections:
        last = joined[-1] if joined else None
        if last is None or not _is_same(last.bpm, section.bpm) or section.start_s - last.end_s > MAX_GAP_S:
            joined.append(section)
            continue
        lengths = (last.end_s - last.start_s, section.end_s - section.start_s)
        bpm = float(np.average((last.bpm, section.bpm), weights=lengths))
        joined[-1] = replace(last, end_s=section.end_s, bpm=round(bpm, 2))
    return tuple(joined)


def combine_tempi(tempi: Sequence[Tempo]) -> Tempo | None:
    """Return the tempo of a recording from those of its parts, in order of time; None if there are none."""
    if len(tempi) <= 1:
        return tempi[0] if tempi else None
    sections = join_sections(section for tempo in tempi for section in tempo.sections)
    if not sections:
        return None

    bpm = _most_frequent(sections)
    confidence = float(np.average([t.confidence for t in tempi], weights=[len(t.beats) for t in tempi]))
    return Tempo(
        bpm=bpm,
        confidence=round(confidence, 3),
        candidates=tempo_candidates(bpm),
        sections=sections,
        beats=tuple(beat for tempo in tempi for beat in tempo.beats),
        needs_review=confidence < constants.CONFIDENCE_CLEAR,
    )


def tempo_candidates(bpm: float) -> tuple[float, ...]:
    """Return the tempo times ½, ⅔, 1, 1½ and 2, ascending, those within 40 to 250 BPM."""
    return tuple(
        round(bpm * factor, 2)
        for factor in CANDIDATE_FACTORS
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


def _slope_bpm(beats: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Return the tempo of beats; `counts` is how many beats each interval is long, about."""
    # The tracker may take double the tempo for a while: an interval is then half a beat long.
    numbers = np.concatenate([[0.0], np.cumsum(np.round(2 * counts) / 2)])
    return 60.0 / float(np.polyfit(numbers, beats, 1)[0])


def _most_frequent(sections: Sequence[TempoSection]) -> float:
    """Return the tempo at which most of the time is spent."""

    def length_at(bpm: float) -> float:
        return sum(each.end_s - each.start_s for each in sections if _is_same(each.bpm, bpm))

    return max(sections, key=lambda section: length_at(section.bpm)).bpm


def _is_same(bpm: float, other: float) -> bool:
    return bool(abs(np.log2(bpm / other)) < constants.SECTION_CHANGE)


def _peaks(values: NDArray[np.float64], threshold: float) -> list[int]:
    """Return the index of the largest value of each run of values above a threshold.

    Of several equal ones it is that in their middle.
    """
    above = np.concatenate([[False], values > threshold, [False]])
    starts, ends = np.flatnonzero(~above[:-1] & above[1:]), np.flatnonzero(above[:-1] & ~above[1:])
    peaks = []
    for start, end in zip(starts, ends, strict=True):
        largest = np.flatnonzero(values[start:end] >= 0.999 * values[start:end].max())
        peaks.append(int(start + largest[len(largest) // 2]))
    return peaks
