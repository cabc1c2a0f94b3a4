"""Subtitles fit on the screen; their times count from the start of the clip and are rounded."""

from itertools import pairwise

import pysubs2
import pytest

from phonograph_highlights.domain.regions import Span
from phonograph_highlights.domain.speech import Utterance, Word
from phonograph_highlights.domain.subtitles import Cue, build_cues, render_cues

TEXT = (
    "gradient descent follows the slope of the loss towards a minimum and the learning rate decides how far "
    "each of the steps goes while momentum remembers the direction of the steps before it"
)


def talk(text: str, start_s: float = 100.0, step_s: float = 0.35) -> list[Utterance]:
    words = tuple(
        Word(word, start_s + i * step_s, start_s + i * step_s + 0.3) for i, word in enumerate(text.split())
    )
    return [Utterance(words)]


def test_cues_have_two_lines_of_at_most_42_characters_and_contain_every_word() -> None:
    utterances = talk(TEXT)
    cues = build_cues(utterances, Span(99, 200))

    assert max(len(line) for cue in cues for line in cue.lines) <= 42
    assert max(len(cue.lines) for cue in cues) == 2
    assert " ".join(" ".join(cue.lines) for cue in cues) == TEXT
    assert max(cue.end_ms - cue.start_ms for cue in cues) <= 7000
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(cues))


def test_times_count_from_the_start_of_the_clip_and_are_rounded() -> None:
    utterances = [Utterance((Word("hello", 10.9996, 12.4996),))]

    assert build_cues(utterances, Span(10, 20)) == [Cue(1000, 2500, ("hello",))]


def test_words_outside_the_clip_are_left_out() -> None:
    cues = build_cues(talk("one two three four", start_s=0, step_s=2), Span(1.5, 5))

    assert [cue.lines for cue in cues] == [("two",), ("three",)]


def test_a_short_word_is_shown_for_a_second_or_until_the_next_one() -> None:
    utterances = [Utterance((Word("a", 0, 0.1), Word("b", 0.9, 1.0))), Utterance((Word("c", 5, 5.1),))]

    assert [(cue.start_ms, cue.end_ms) for cue in build_cues(utterances, Span(0, 5.5))] == [
        (0, 900),
        (900, 1900),
        (5000, 5500),
    ]


def test_a_script_without_spaces_is_broken_into_lines() -> None:
    cues = build_cues([Utterance((Word("学" * 150, 0, 30),))], Span(0, 30))

    assert sum(len(line) for cue in cues for line in cue.lines) == 150
    assert max(len(line) for cue in cues for line in cue.lines) <= 42


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_rendered_subtitles_can_be_parsed(form: str) -> None:
    cues = [Cue(999, 2500, ("a first line", "and <b> & {c} --> d")), Cue(86_400_001, 86_401_000, ("x",))]
    parsed = pysubs2.SSAFile.from_string(render_cues(cues, form), format_=form)

    assert [(event.start, event.end) for event in parsed] == [(999, 2500), (86_400_001, 86_401_000)]
    assert "(c)" in parsed[0].plaintext
    assert render_cues([], form).strip() in {"", "WEBVTT"}
