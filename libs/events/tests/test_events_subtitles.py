"""Subtitles fit on the screen; their times count from the start of the clip and are rounded."""

from itertools import pairwise

import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phonograph_events.documents import TranscriptSegment, Word
from phonograph_events.subtitles import (
    Cue,
    Phrase,
    TimedWord,
    build_cues,
    build_transcript_cues,
    join_words,
    render_cues,
    split_into_words,
)

TEXT = (
    "gradient descent follows the slope of the loss towards a minimum and the learning rate decides how far "
    "each of the steps goes while momentum remembers the direction of the steps before it"
)


def talk(text: str, start_s: float = 100.0, step_s: float = 0.35) -> list[Phrase]:
    words = [
        TimedWord(word, start_s + i * step_s, start_s + i * step_s + 0.3)
        for i, word in enumerate(text.split())
    ]
    return [Phrase(words)]


def phrase(*words: tuple[str, float, float]) -> Phrase:
    return Phrase([TimedWord(*word) for word in words])


def segment(start: float, end: float, text: str, speaker: str | None = None) -> TranscriptSegment:
    return TranscriptSegment(start=start, end=end, text=text, speaker=speaker)


def check_rules(cues: list[Cue]) -> None:
    """Every cue has one or two lines of at most 42 characters and lasts 1 to 7 s; none overlaps another."""
    for cue in cues:
        assert 1 <= len(cue.lines) <= 2
        assert all(0 < len(line) <= 42 and line == line.strip() for line in cue.lines)
        assert 1000 <= cue.end_ms - cue.start_ms <= 7000
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(cues))


def test_cues_have_two_lines_of_at_most_42_characters_and_contain_every_word() -> None:
    cues = build_cues(talk(TEXT), start_s=99, end_s=200)

    assert max(len(line) for cue in cues for line in cue.lines) <= 42
    assert max(len(cue.lines) for cue in cues) == 2
    assert " ".join(" ".join(cue.lines) for cue in cues) == TEXT
    assert max(cue.end_ms - cue.start_ms for cue in cues) <= 7000
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(cues))


def test_times_count_from_the_start_of_the_clip_and_are_rounded() -> None:
    assert build_cues([phrase(("hello", 10.9996, 12.4996))], start_s=10, end_s=20) == [
        Cue(1000, 2500, ("hello",))
    ]


def test_words_outside_the_clip_are_left_out() -> None:
    cues = build_cues(talk("one two three four", start_s=0, step_s=2), start_s=1.5, end_s=5)

    assert [cue.lines for cue in cues] == [("two",), ("three",)]


def test_a_short_word_shares_a_cue_with_the_next_one_or_is_shown_for_a_second() -> None:
    phrases = [phrase(("a", 0, 0.1), ("b", 0.9, 1.0)), phrase(("c", 5, 5.1)), phrase(("d", 9.3, 9.4))]

    assert build_cues(phrases, start_s=0, end_s=9.5) == [
        Cue(0, 1000, ("a b",)),
        Cue(5000, 6000, ("c",)),
        Cue(8500, 9500, ("d",)),
    ]


def test_a_clip_without_time_for_its_cues_divides_it_among_them() -> None:
    long_words = [
        phrase((letter * 42, at, at)) for letter, at in zip("abcde", (0, 0, 0.2, 0.4, 0.5), strict=True)
    ]

    cues = build_cues(long_words, start_s=0, end_s=0.6)

    assert [cue.lines for cue in cues] == [("a" * 42, "b" * 42), ("c" * 42, "d" * 42), ("e" * 42,)]
    assert [(cue.start_ms, cue.end_ms) for cue in cues] == [(0, 200), (200, 400), (400, 600)]


def test_a_word_of_minutes_is_not_shown_for_minutes() -> None:
    assert build_cues([phrase(("Well", 3, 90))]) == [Cue(3000, 10_000, ("Well",))]


def test_a_script_without_spaces_is_broken_into_lines() -> None:
    cues = build_cues([phrase(("学" * 150, 0, 30))], start_s=0, end_s=30)

    assert sum(len(line) for cue in cues for line in cue.lines) == 150
    assert max(len(line) for cue in cues for line in cue.lines) <= 42


def test_speakers_who_interrupt_each_other_have_a_line_each() -> None:
    cues = build_transcript_cues(
        [
            segment(4.3, 4.3, "No.", "S1"),
            segment(0, 4, "Is it?", "S1"),
            segment(4, 4.2, "Yes.", "S2"),
            segment(4.4, 6, "Well …", "S2"),
        ]
    )

    assert [cue.lines for cue in cues] == [("S1: Is it?",), ("S2: Yes.", "S1: No."), ("S2: Well …",)]
    assert [(cue.start_ms, cue.end_ms) for cue in cues] == [(0, 4000), (4000, 5000), (5000, 6000)]


def test_a_segment_without_length_or_text_makes_no_empty_cue() -> None:
    cues = build_transcript_cues(
        [
            segment(6.9, 6.9, "No."),
            segment(2, 2, "Yes."),
            segment(3, 9, " \n\x00 "),
            segment(0, 2, "Welcome."),
        ],
        duration_s=60.0,
    )

    check_rules(cues)
    assert [cue.lines for cue in cues] == [("Welcome.",), ("Yes.",), ("No.",)]
    assert [cue.start_ms for cue in cues] == [0, 2000, 6900]


def test_the_last_cue_ends_with_the_recording() -> None:
    cues = build_transcript_cues([segment(9.5, 9.9, "Bye.")], duration_s=10.0)
    assert [(cue.start_ms, cue.end_ms) for cue in cues] == [(9000, 10_000)]
    beyond = build_transcript_cues([segment(0, 5, "One."), segment(50, 55, "Two.")], duration_s=10.0)
    assert [(cue.start_ms, cue.end_ms) for cue in beyond] == [(0, 5000), (50_000, 55_000)]


def test_words_are_joined_as_the_text_of_their_segment_writes_them() -> None:
    for text, words in (
        ("สวัสดีครับ ทุกคน", ["สวัสดี", "ครับ", "ทุกคน"]),
        ("It's well-known, R2-D2!", ["It's", "well-", "known,", "R2-D2!"]),
        ("機械学習と AI", ["機械", "学習と", "AI"]),
        ("in New York", ["in", "New York"]),
    ):
        spoken = [
            Word(word=word, start=number, end=number + 0.5, confidence=None)
            for number, word in enumerate(words)
        ]
        found = split_into_words(TranscriptSegment(start=0, end=9, text=text, words=spoken))
        assert join_words(found) == text
        assert [word.start_s for word in found] == [*map(float, range(len(words)))]


def test_words_without_a_text_are_joined_with_their_own_spaces() -> None:
    spoken = [
        Word(word=word, start=1, end=2, confidence=None, is_spaced=is_spaced)
        for word, is_spaced in (("I", True), ("-link", False), ("is", True), ("100", True), ("%", False))
    ]
    found = split_into_words(TranscriptSegment(start=0, end=9, text="", words=spoken))
    assert join_words(found) == "I-link is 100%"


def test_a_text_other_than_its_words_is_shown_within_the_time_of_its_segment() -> None:
    spoken = [Word(word="four", start=1, end=2, confidence=None)]
    found = split_into_words(TranscriptSegment(start=0, end=9, text="one two three", words=spoken))

    assert join_words(found) == "one two three"
    assert (found[0].start_s, found[-1].end_s) == (0, 9)


def test_times_of_words_never_run_backwards() -> None:
    spoken = [
        Word(word=word, start=start, end=end, confidence=None)
        for word, start, end in (("a", 5, 4), ("b", 3, 3.5), ("c", None, None), ("d", 7, None))
    ]
    found = split_into_words(TranscriptSegment(start=3, end=8, text="a b c d", words=spoken))

    starts = [word.start_s for word in found]
    assert starts == sorted(starts)
    assert all(word.start_s <= word.end_s for word in found)


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_rendered_subtitles_can_be_parsed(form: str) -> None:
    cues = [Cue(999, 2500, ("a first line", "and <b> & {c} --> d")), Cue(86_400_001, 86_401_000, ("x",))]
    parsed = pysubs2.SSAFile.from_string(render_cues(cues, form), format_=form)

    assert [(event.start, event.end) for event in parsed] == [(999, 2500), (86_400_001, 86_401_000)]
    assert ("(c)" in parsed[0].plaintext) == (form == "srt")
    assert ("{c}" in render_cues(cues, form)) == (form == "vtt")
    assert render_cues([], form).strip() in {"", "WEBVTT"}


def test_braces_that_players_take_for_styling_are_replaced_in_srt_only() -> None:
    cues = [Cue(0, 1000, (r"a {\an8} b",))]

    assert "a (/an8) b" in render_cues(cues, "srt")
    assert r"a {\an8} b" in render_cues(cues, "vtt")


segments = st.builds(
    segment,
    start=st.floats(0, 300, allow_nan=False),
    end=st.floats(0, 300, allow_nan=False),
    text=st.text(alphabet="abc d\n.学\u0e2a<&-\x07", max_size=300),
    speaker=st.sampled_from([None, "S1", "S2", "a name that is longer than a line of a subtitle"]),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(segments, max_size=12))
def test_any_transcript_obeys_the_rules_and_loses_no_text(spoken: list[TranscriptSegment]) -> None:
    cues = build_transcript_cues(spoken)

    check_rules(cues)
    text = "".join(line for cue in cues for line in cue.lines)
    for each in spoken:
        shown = "".join(split.text for split in split_into_words(each))
        assert sorted(shown.replace(" ", "")) == sorted("".join(each.text.replace("\x07", "").split()))
    wanted = sum(len("".join(w.text for w in split_into_words(each)).replace(" ", "")) for each in spoken)
    assert len(text.replace(" ", "")) >= wanted
