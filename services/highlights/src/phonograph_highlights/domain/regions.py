"""Stretches of time, and where sound or picture are missing."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

MIN_REMAINDER_S = 0.1
"""What is left of a region beside an overlap and is shorter than this is an inaccuracy of the detectors."""


class SilenceType(StrEnum):
    """What is missing (L-05)."""

    AUDIO_SILENCE = "audio_silence"
    BLANK_SCREEN = "blank_screen"
    BOTH = "both"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of a recording, in seconds from its start."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True, order=True)
class SilenceRegion:
    """A stretch without sound, without picture, or without both."""

    start_s: float
    end_s: float
    type: SilenceType


def merge_silence(silent: Sequence[Span], blank: Sequence[Span]) -> list[SilenceRegion]:
    """Combine silence and blank pictures into regions that do not overlap, in order.

    Where both are missing the region is `both`; what is left of either beside it keeps its own type.
    """
    silent, blank = list(joined(silent)), list(joined(blank))
    both = list(_overlaps(silent, blank))
    regions = [SilenceRegion(span.start_s, span.end_s, SilenceType.BOTH) for span in both]
    for spans, kind in ((silent, SilenceType.AUDIO_SILENCE), (blank, SilenceType.BLANK_SCREEN)):
        regions += [SilenceRegion(rest.start_s, rest.end_s, kind) for rest in without(spans, both)]
    return sorted(regions)


def silences(regions: Iterable[SilenceRegion]) -> list[Span]:
    """Where there is no sound."""
    return _of(regions, SilenceType.AUDIO_SILENCE)


def blanks(regions: Iterable[SilenceRegion]) -> list[Span]:
    """Where there is no picture."""
    return _of(regions, SilenceType.BLANK_SCREEN)


def joined(spans: Iterable[Span], gap_s: float = 0.0) -> Iterator[Span]:
    """Sort spans and join those that touch, overlap or lie at most `gap_s` apart; empty ones go."""
    open_span: Span | None = None
    for span in sorted(span for span in spans if span.duration_s > 0):
        if open_span is not None and span.start_s <= open_span.end_s + gap_s:
            open_span = Span(open_span.start_s, max(open_span.end_s, span.end_s))
            continue
        if open_span is not None:
            yield open_span
        open_span = span
    if open_span is not None:
        yield open_span


def without(spans: Iterable[Span], holes: Sequence[Span]) -> Iterator[Span]:
    """What is left of the spans outside the holes; remainders below `MIN_REMAINDER_S` go.

    `holes` are sorted and do not overlap.
    """
    for span in spans:
        start_s, cut = span.start_s, False
        for hole in holes:
            if hole.end_s <= start_s or hole.start_s >= span.end_s:
                continue
            if hole.start_s - start_s >= MIN_REMAINDER_S:
                yield Span(start_s, hole.start_s)
            start_s, cut = hole.end_s, True
        if span.end_s - start_s >= (MIN_REMAINDER_S if cut else 0):
            yield Span(start_s, span.end_s)


def _overlaps(left: Sequence[Span], right: Sequence[Span]) -> Iterator[Span]:
    for one in left:
        for other in right:
            overlap = Span(max(one.start_s, other.start_s), min(one.end_s, other.end_s))
            if overlap.duration_s > 0:
                yield overlap


def _of(regions: Iterable[SilenceRegion], kind: SilenceType) -> list[Span]:
    wanted = (kind, SilenceType.BOTH)
    spans = (Span(region.start_s, region.end_s) for region in regions if region.type in wanted)
    return list(joined(spans, MIN_REMAINDER_S))
