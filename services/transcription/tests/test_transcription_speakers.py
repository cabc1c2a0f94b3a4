"""Assignment of speakers to the words of a transcript, with its corner cases."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph_transcription.domain.speakers import Turn, TurnIndex, assign_speakers
from phonograph_transcription.domain.transcript import (
    Segment,
    Transcript,
    TranscriptWarning,
    WarningCode,
    Word,
)


def segment(*words: tuple[str, float | None, float | None], text: str | None = None) -> Segment:
    times = [time for _, start, end in words for time in (start, end) if time is not None]
    return Segment(
        start_s=min(times, default=0.0),
        end_s=max(times, default=10.0),
        text=text or " ".join(word for word, _, _ in words),
        words=tuple(Word(word, start, end, 0.5) for word, start, end in words),
        confidence=0.9,
    )


def merge(segments: list[Segment], *turns: tuple[float, float, str]) -> Transcript:
    transcript = Transcript("engine", "model", "en", 1.0, tuple(segments))
    return assign_speakers(transcript, TurnIndex(Turn(*turn) for turn in turns))


def lines_of(transcript: Transcript) -> list[tuple[str | None, str]]:
    return [(segment.speaker, segment.text) for segment in transcript.segments]


def test_a_segment_is_split_where_the_speaker_changes():
    result = merge([segment(("hello", 0, 1), ("hi", 2, 3), ("there", 3, 4))], (0, 1.5, "A"), (1.5, 4, "B"))
    assert lines_of(result) == [("A", "hello"), ("B", "hi there")]
    first, second = result.segments
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (0, 1, 2, 4)
    assert (first.confidence, second.confidence) == (0.5, 0.5)
    assert [word.speaker for word in second.words] == ["B", "B"]
    assert result.speakers == ("A", "B")


def test_a_segment_of_one_speaker_is_not_split():
    before = segment(("hello", 0, 1), ("there", 1, 2))
    (after,) = merge([before], (0, 2, "A")).segments
    assert (after.start_s, after.end_s, after.text, after.confidence, after.speaker) == (
        0,
        2,
        "hello there",
        0.9,
        "A",
    )


def test_a_word_between_two_turns_belongs_to_the_nearer_one():
    turns = (0, 1, "A"), (2, 3, "B")
    assert lines_of(merge([segment(("early", 1.1, 1.3))], *turns)) == [("A", "early")]
    assert lines_of(merge([segment(("late", 1.7, 1.9))], *turns)) == [("B", "late")]


def test_a_word_far_from_every_turn_has_no_speaker_and_a_warning():
    result = merge([segment(("hello", 0, 1), ("who", 5, 6))], (0, 1, "A"), (7, 8, "B"))
    assert lines_of(result) == [("A", "hello"), (None, "who")]
    assert [(warning.code, warning.segment) for warning in result.warnings] == [("unknown_speaker", 1)]


def test_a_word_across_two_turns_belongs_to_the_larger_overlap():
    assert lines_of(merge([segment(("mine", 0.6, 1.5))], (0, 1, "A"), (1, 2, "B"))) == [("B", "mine")]


def test_in_overlapping_turns_the_previous_speaker_continues():
    words = segment(("I", 0, 0.4), ("still", 1.0, 1.4), ("speak", 1.5, 2.0))
    assert lines_of(merge([words], (0, 3, "A"), (0.9, 2.1, "B"))) == [("A", "I still speak")]


def test_in_overlapping_turns_the_first_word_belongs_to_the_first_turn():
    assert lines_of(merge([segment(("both", 1, 2))], (0.5, 3, "B"), (0, 3, "A"))) == [("A", "both")]


def test_in_overlapping_turns_the_first_word_of_a_sentence_follows_the_sentence():
    words = segment(("Right.", 0, 0.9), ("And", 1.0, 1.4), ("we", 1.5, 1.7), ("go.", 1.7, 2.4))
    assert lines_of(merge([words], (0, 1.35, "A"), (1.2, 3, "B"))) == [("A", "Right."), ("B", "And we go.")]
    # A segment begins a sentence, too.
    first, second = segment(("Right.", 0, 0.9)), segment(("And", 1.0, 1.4), ("we", 1.5, 1.7))
    assert lines_of(merge([first, second], (0, 1.35, "A"), (1.2, 3, "B"))) == [
        ("A", "Right."),
        ("B", "And we"),
    ]


def test_a_first_word_stays_with_its_speaker_where_only_one_talks():
    words = segment(("Right.", 0, 0.9), ("And", 1.0, 1.4), ("we", 1.6, 1.7), ("go.", 1.7, 2.4))
    assert lines_of(merge([words], (0, 1.4, "A"), (1.5, 3, "B"))) == [("A", "Right. And"), ("B", "we go.")]
    # One word of another speaker is not the rest of a sentence.
    words = segment(("I", 1.0, 1.4), ("yes", 1.5, 1.7), ("think.", 1.8, 2.4))
    turns = (0, 1.45, "A"), (1.2, 1.7, "B"), (1.7, 3, "A")
    assert lines_of(merge([words], *turns)) == [("A", "I"), ("B", "yes"), ("A", "think.")]


def test_overlaps_with_turns_of_one_speaker_are_added():
    turns = (0.0, 0.3, "A"), (0.3, 0.7, "B"), (0.7, 1.0, "A")
    assert lines_of(merge([segment(("word", 0, 1))], *turns)) == [("A", "word")]


def test_a_speaker_without_words_splits_no_segment():
    words = segment(("one", 0, 1), ("two", 2, 3))
    result = merge([words], (0, 1, "A"), (1.1, 1.9, "B"), (2, 3, "A"))
    assert lines_of(result) == [("A", "one two")]
    assert result.speakers == ("A",)


def test_an_empty_transcript_remains_empty():
    result = merge([], (0, 1, "A"))
    assert (result.segments, result.warnings) == ((), ())


def test_without_turns_no_word_has_a_speaker():
    result = merge([segment(("hello", 0, 1))])
    assert lines_of(result) == [(None, "hello")]
    assert [warning.code for warning in result.warnings] == [WarningCode.NO_SPEAKERS]


def test_words_without_times_have_the_speaker_of_adjacent_words():
    words = segment(("at", None, None), ("7", 0, 1), ("30", None, None), ("yes", 5, 6))
    result = merge([words], (0, 2, "A"), (4, 6, "B"))
    assert lines_of(result) == [("A", "at 7 30"), ("B", "yes")]
    untimed = Segment(0, 2, "all of it", (Word("all", None, None, None), Word("of it", None, None, None)))
    assert lines_of(merge([untimed], (0, 2, "A"))) == [("A", "all of it")]


def test_a_segment_without_words_has_the_speaker_of_its_time():
    assert lines_of(merge([Segment(0, 2, "hello")], (1, 3, "B"))) == [("B", "hello")]


def test_text_without_spaces_and_with_punctuation_is_split_as_written():
    chinese = segment(("你", 0, 1), ("好。", 1, 2), ("谢", 3, 4), ("谢!", 4, 5), text="你好。谢谢!")
    assert lines_of(merge([chinese], (0, 2, "A"), (3, 5, "B"))) == [("A", "你好。"), ("B", "谢谢!")]


def test_words_that_the_text_does_not_contain_are_joined_with_their_spaces():
    words = (
        Word("100", 0, 1, None, is_spaced=True),
        Word("%", 1, 1.2, None, is_spaced=False),
        Word("sure", 2, 3, None, is_spaced=True),
    )
    result = merge([Segment(0, 3, "edited by hand", words)], (0, 1.5, "A"), (1.9, 3, "B"))
    assert lines_of(result) == [("A", "100%"), ("B", "sure")]


def test_the_parts_of_a_segment_keep_its_language():
    words = (Word("ja", 0, 1, None), Word("nein", 2, 3, None))
    result = merge([Segment(0, 3, "ja nein", words, language="de")], (0, 1, "A"), (2, 3, "B"))
    assert [(part.text, part.language) for part in result.segments] == [("ja", "de"), ("nein", "de")]


def test_warnings_move_with_their_segments():
    first, second = segment(("a", 0, 1), ("b", 2, 3)), segment(("c", 4, 5))
    transcript = Transcript("e", "m", "en", 1.0, (first, second)).with_warnings(
        TranscriptWarning(WarningCode.REPETITION, "loop", 1),
        TranscriptWarning(WarningCode.ENGINE_FALLBACK, "other"),
    )
    result = assign_speakers(transcript, TurnIndex([Turn(0, 1, "A"), Turn(2, 5, "B")]))
    assert [(warning.code, warning.segment) for warning in result.warnings] == [
        ("engine_fallback", None),
        ("repetition", 2),
    ]


times = st.floats(0, 30, allow_nan=False).map(lambda value: round(value, 2))
turns = st.lists(st.tuples(times, times, st.sampled_from("ABC")), max_size=8)


@given(
    starts=st.lists(times, min_size=1, max_size=12).map(sorted),
    missing=st.sets(st.integers(0, 11)),
    turns=turns,
)
def test_no_word_is_lost_added_or_moved(starts, missing, turns):
    timed = [
        (f"w{n}", None, None) if n in missing else (f"w{n}", start, start + 0.3)
        for n, start in enumerate(starts)
    ]
    before = segment(*timed)
    result = merge([before], *((min(a, b), max(a, b), speaker) for a, b, speaker in turns))
    after = [word for segment in result.segments for word in segment.words]
    assert [(w.text, w.start_s, w.end_s) for w in after] == timed
    assert " ".join(segment.text for segment in result.segments) == before.text
    assert all(a.speaker != b.speaker for a, b in pairwise(result.segments))
    assert all(segment.start_s <= segment.end_s for segment in result.segments)
    assert all({word.speaker for word in segment.words} == {segment.speaker} for segment in result.segments)


def test_an_hour_of_words_is_merged():
    words = [segment((f"w{n}", n * 0.4, n * 0.4 + 0.3)) for n in range(9_000)]
    turns = [(n * 2.0, n * 2.0 + 1.9, "AB"[n % 2]) for n in range(1_800)]
    assert merge(words, *turns).speakers == ("A", "B")


def test_an_overlap_with_a_long_early_turn_is_found():
    result = merge([segment(("late", 50, 51))], (0, 60, "A"), (10, 11, "B"), (20, 21, "B"))
    assert lines_of(result) == [("A", "late")]


@pytest.mark.parametrize("gap", [0.5, 0.51])
def test_the_tolerance_is_half_a_second(gap):
    result = merge([segment(("edge", 1 + gap, 2 + gap))], (0, 1, "A"))
    assert result.segments[0].speaker == ("A" if gap <= 0.5 else None)
