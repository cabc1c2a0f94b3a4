"""The word error rate counts words, not their spelling."""

import pytest
from tests.support.word_errors import normalize, word_error_rate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello world"),
        ("Two hundred this year, and three hundred the year after.", "200 this year and 300 the year after"),
        ("One thousand two hundred and 1,500.", "1200 and 1500"),
        ("twenty one, nineteen ninety five, two three", "21 19 95 2 3"),
        ("I didn't, I’m, we'll, it's, can't", "i did not i am we will it is can not"),
        ("Um, [noise] well-known (laughs) café", "well known cafe"),
        ("a hundred stones", "a hundred stones"),
    ],
)
def test_spelling_is_normalized(text: str, expected: str) -> None:
    assert " ".join(normalize(text)) == expected


def test_wrong_missing_and_added_words_are_errors() -> None:
    reference = "one small step for a man"
    assert word_error_rate(reference, "One small step, for a man.") == 0
    assert word_error_rate(reference, "one tall step for a man") == pytest.approx(1 / 6)
    assert word_error_rate(reference, "small step for man") == pytest.approx(2 / 6)
    assert word_error_rate(reference, "one small step for a man and a dog") == pytest.approx(3 / 6)
    assert word_error_rate(reference, "") == 1
