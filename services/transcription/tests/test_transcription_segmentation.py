"""Segments: a sentence or a clause each, never cut inside a word or a number."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph_transcription.domain.segmentation import MAX_SEGMENT_S, split_into_sentences
from phonograph_transcription.domain.transcript import Word, join_words


def spoken(text: str, *, word_s: float = 0.4) -> list[Word]:
    """Return the words of a text; `<3>` is a pause of 3 s, and `|` separates words without a space."""
    words: list[Word] = []
    now = 0.0
    for token in text.split():
        if pause := re.fullmatch(r"<([\d.]+)>", token):
            now += float(pause[1])
            continue
        for number, part in enumerate(token.split("|")):
            words.append(Word(part, now, now + word_s, 0.9, is_spaced=number == 0))
            now += word_s
    return words


def lines(text: str, **options: float) -> list[str]:
    return [join_words(piece) for piece in split_into_sentences(spoken(text, **options))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good morning. Let us talk!", ["Good morning.", "Let us talk!"]),
        ("Really? “Yes.” Good.", ["Really?", "“Yes.”", "Good."]),
        ("We paid $3.50 a piece.", ["We paid $3.50 a piece."]),
        ("Ask Dr. Smith and J. R. Miller. Neither did I. Okay.", None),
        ("Am 3. Oktober war es.", ["Am 3. Oktober war es."]),
        ("well. that is odd", ["well. that is odd"]),
        ("One, two <1> and three", ["One, two and three"]),
        ("One, <1> two and three", ["One,", "two and three"]),
        ("One two <2.5> three", ["One two", "three"]),
        ("20 <2.5> 000", ["20", "000"]),
        ("机|器|学习。|你|好。", ["机器学习。", "你好。"]),
        ("", []),
    ],
)
def test_segments_end_at_sentences_and_pauses(text, expected):
    if expected is None:
        expected = ["Ask Dr. Smith and J. R. Miller.", "Neither did I.", "Okay."]
    assert lines(text) == expected


def test_a_long_sentence_is_split_at_its_commas_and_pauses():
    text = " ".join(f"the {n}th stone fell into the water," for n in range(14))
    found = lines(text)

    assert len(found) > 2
    assert all(line.endswith(",") for line in found)
    assert " ".join(found) == text


def test_a_long_text_without_punctuation_is_split_between_words():
    found = list(split_into_sentences(spoken("and so it goes on " * 60)))
    assert all(piece[-1].end_s - piece[0].start_s <= MAX_SEGMENT_S for piece in found)
    assert min(len(piece) for piece in found) > 5


def test_numbers_and_glued_words_are_never_cut():
    text = "10 000 000 1,5 " * 10
    assert lines(text, word_s=1.0) == [text.strip()]
    assert lines("a|-b" + "|-c" * 40, word_s=1.0) == ["a" + "-b" + "-c" * 40]


def test_words_without_times_follow_their_neighbors():
    words = [Word("One.", None, None, None), Word("Two", None, None, None), Word("three", None, None, None)]
    assert [join_words(piece) for piece in split_into_sentences(words)] == ["One.", "Two three"]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b.", "c,", "7", "8.", "?"]), st.integers(0, 40)), max_size=80)
)
def test_no_word_is_lost(tokens):
    words: list[Word] = []
    now = 0.0
    for text, pause in tokens:
        now += pause / 10
        words.append(Word(text, now, now + 0.3, None, is_spaced=True))
        now += 0.3
    pieces = list(split_into_sentences(words))

    assert [word for piece in pieces for word in piece] == words
    assert all(pieces)
    for piece in pieces:
        gaps = [after.start_s - before.end_s for before, after in pairwise(piece)]
        assert max(gaps, default=0) <= 2.0 + 1e-9
