"""Clips begin and end in silence, near their topic, and contain all of its words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph_events.subtitles import TimedWord
from phonograph_highlights.domain.clips import MARGIN_S, SNAP_S, choose_clip_span, choose_thumbnail_s
from phonograph_highlights.domain.regions import Span
from phonograph_highlights.domain.speech import Utterance


def spoken_at(*times: tuple[float, float]) -> list[Utterance]:
    return [Utterance((TimedWord(f"w{i}", start, end),)) for i, (start, end) in enumerate(times)]


def test_a_clip_begins_and_ends_in_the_silence_around_its_topic() -> None:
    utterances = spoken_at((0, 9), (12, 20), (24, 30))
    silences = [Span(9.1, 11.8), Span(20.3, 23.5)]

    clip = choose_clip_span(utterances, 1, 1, silences, 31)

    assert clip == Span(pytest.approx(11.8 - MARGIN_S), pytest.approx(20.3 + MARGIN_S))


def test_a_word_that_the_recognizer_starts_early_adds_no_silence() -> None:
    clip = choose_clip_span(spoken_at((10, 12.5)), 0, 0, [Span(5, 12), Span(12.6, 15)], 15)

    assert clip == Span(pytest.approx(12 - MARGIN_S), pytest.approx(12.6 + MARGIN_S))


def test_the_nearest_silence_within_five_seconds_is_used() -> None:
    utterances = spoken_at((0, 3.9), (4, 9.9), (10, 20))
    clip = choose_clip_span(utterances, 2, 2, [Span(2, 2.6), Span(6, 6.6)], 20)

    assert clip is not None
    assert clip.start_s == pytest.approx(6.4)


def test_without_silence_nearby_the_cut_is_between_two_words() -> None:
    utterances = spoken_at((0, 9.9), (10, 20), (20.1, 30))
    clip = choose_clip_span(utterances, 1, 1, [Span(0, 2)], 30)

    assert clip == Span(pytest.approx(9.95), pytest.approx(20.05))


def test_a_silence_that_would_cut_off_a_word_is_not_used() -> None:
    utterances = spoken_at((10, 10.4), (12, 20))
    clip = choose_clip_span(utterances, 0, 1, [Span(10.6, 11.8)], 20)

    assert clip is not None
    assert clip.start_s == pytest.approx(10 - MARGIN_S)


def test_a_clip_ends_with_the_recording() -> None:
    assert choose_clip_span(spoken_at((1, 12)), 0, 0, [], 10) == Span(pytest.approx(0.8), 10)
    assert choose_clip_span(spoken_at((11, 12)), 0, 0, [], 10) is None


@given(
    st.lists(st.tuples(st.floats(0.05, 3), st.floats(0.05, 4)), min_size=1, max_size=30),
    st.data(),
)
def test_words_are_never_cut(rhythm: list[tuple[float, float]], data: st.DataObject) -> None:
    """The silences are the pauses between the words, as a perfect detector finds them."""
    now_s, times, silences = 0.0, [], []
    for word_s, pause_s in rhythm:
        times.append((now_s, now_s + word_s))
        if pause_s >= 0.5:
            silences.append(Span(now_s + word_s, now_s + word_s + pause_s))
        now_s += word_s + pause_s
    utterances = spoken_at(*times)
    first = data.draw(st.integers(0, len(utterances) - 1))
    last = data.draw(st.integers(first, len(utterances) - 1))

    clip = choose_clip_span(utterances, first, last, silences, now_s)

    if clip is None:
        return
    for cut_s in (clip.start_s, clip.end_s):
        assert not any(start + 1e-6 < cut_s < end - 1e-6 for start, end in times)
    assert clip.start_s <= times[first][0] + 1e-6
    assert clip.end_s >= times[last][1] - 1e-6
    assert times[first][0] - clip.start_s <= SNAP_S + 1e-6
    assert clip.end_s - times[last][1] <= SNAP_S + 1e-6


def test_a_thumbnail_is_taken_where_the_picture_is_not_blank() -> None:
    assert choose_thumbnail_s(Span(0, 10), []) == 5
    assert choose_thumbnail_s(Span(0, 10), [Span(4, 12)]) == 2
    assert choose_thumbnail_s(Span(4, 8), [Span(0, 20)]) is None
