"""Spans of time, and the regions of a recording without sound or picture."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

MIN_REMAINDER_S = 0.1
"""A remainder of a span next to an overlap is an inaccuracy of the detectors if it is shorter than this."""


class SilenceType(StrEnum):
    """Kind of a silence region (L-05)."""

    AUDIO_SILENCE = "audio_silence"
    BLANK_SCREEN = "blank_screen"
    BOTH = "both"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A time span of a recording, in seconds from its start."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True, order=True)
class SilenceRegion:
    """A span without sound, without picture, or without both; times in seconds."""

    start_s: float
    end_s: float
    type: SilenceType
    noise_db: float | None = field(default=None, compare=False)
    """Level below which sound counted as silence, in dB full scale; None if only the picture is missing."""


def merge_silence(
    silent: Sequence[Span], blank: Sequence[Span], noise_db: float | None = None
) -> list[SilenceRegion]:
    """Return silence and blank pictures as sorted regions that do not overlap.

    A region is `both` where sound and picture are missing; remainders next to it keep their own type.

    Args:
        silent: Spans without sound.
        blank: Spans without picture.
        noise_db: Level below which sound counted as silence, in dB full scale.
    """
    silent, blank = list(join_spans(silent)), list(join_spans(blank))
    both = list(_intersect(silent, blank))
    regions = [SilenceRegion(span.start_s, span.end_s, SilenceType.BOTH, noise_db) for span in both]
    regions += [
        SilenceRegion(rest.start_s, rest.end_s, SilenceType.AUDIO_SILENCE, noise_db)
        for rest in subtract_spans(silent, both)
    ]
    regions += [
        SilenceRegion(rest.start_s, rest.end_s, SilenceType.BLANK_SCREEN)
        for rest in subtract_spans(blank, both)
    ]
    return sorted(regions)


def silent_spans(regions: Iterable[SilenceRegion]) -> list[Span]:
    """Return the spans without sound."""
    return _spans_of_type(regions, SilenceType.AUDIO_SILENCE)


def blank_spans(regions: Iterable[SilenceRegion]) -> list[Span]:
    """Return the spans without picture."""
    return _spans_of_type(regions, SilenceType.BLANK_SCREEN)


def join_spans(spans: Iterable[Span], gap_s: float = 0.0) -> Iterator[Span]:
    """Sort spans, drop empty ones, and join those that overlap or are at most `gap_s` apart."""
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


def subtract_spans(spans: Iterable[Span], holes: Sequence[Span]) -> Iterator[Span]:
    """Return what remains of spans outside the holes, without remainders below `MIN_REMAINDER_S`.

    `holes` are sorted and do not overlap.
    """
    for span in spans:
        start_s, is_cut = span.start_s, False
        for hole in holes:
            if hole.end_s <= start_s or hole.start_s >= span.end_s:
                continue
            if hole.start_s - start_s >= MIN_REMAINDER_S:
                yield Span(start_s, hole.start_s)
            start_s, is_cut = hole.end_s, True
        if span.end_s - start_s >= (MIN_REMAINDER_S if is_cut else 0):
            yield Span(start_s, span.end_s)


def _intersect(left: Sequence[Span], right: Sequence[Span]) -> Iterator[Span]:
    for one in left:
        for other in right:
            overlap = Span(max(one.start_s, other.start_s), min(one.end_s, other.end_s))
            if overlap.duration_s > 0:
                yield overlap


def _spans_of_type(regions: Iterable[SilenceRegion], kind: SilenceType) -> list[Span]:
    wanted = (kind, SilenceType.BOTH)
    spans = (Span(region.start_s, region.end_s) for region in regions if region.type in wanted)
    return list(join_spans(spans, MIN_REMAINDER_S))
