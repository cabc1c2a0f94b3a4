"""Silence and blank pictures become regions that do not overlap."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from phonograph_highlights.domain.regions import (
    SilenceRegion,
    SilenceType,
    Span,
    blank_spans,
    join_spans,
    merge_silence,
    silent_spans,
)

TENTHS = st.integers(0, 300).map(lambda tenth: tenth / 10)
SPANS = st.lists(st.tuples(TENTHS, TENTHS).map(lambda pair: Span(min(pair), max(pair))), max_size=8)


def test_where_sound_and_picture_are_missing_the_region_is_both() -> None:
    """A region is of the type `both` exactly where silence and blank picture overlap (L-05)."""
    regions = merge_silence([Span(2, 8)], [Span(4, 10)])

    assert regions == [
        SilenceRegion(2, 4, SilenceType.AUDIO_SILENCE),
        SilenceRegion(4, 8, SilenceType.BOTH),
        SilenceRegion(8, 10, SilenceType.BLANK_SCREEN),
    ]


def test_a_recording_without_video_has_silence_only() -> None:
    assert merge_silence([Span(1, 2)], []) == [SilenceRegion(1, 2, SilenceType.AUDIO_SILENCE)]


def test_detectors_that_differ_by_a_few_frames_give_one_region() -> None:
    assert merge_silence([Span(3.02, 5.5)], [Span(3, 5.56)]) == [SilenceRegion(3.02, 5.5, SilenceType.BOTH)]


@given(SPANS, SPANS)
def test_regions_do_not_overlap_and_cover_every_span(silent: list[Span], blank: list[Span]) -> None:
    regions = merge_silence(silent, blank)

    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(regions))
    for merged, original in ((silent_spans(regions), silent), (blank_spans(regions), blank)):
        merged_s = sum(span.duration_s for span in merged)
        original_s = sum(span.duration_s for span in join_spans(original, 0.1))
        assert abs(merged_s - original_s) < 0.1 * 2 * (len(silent) + len(blank) + 1)
