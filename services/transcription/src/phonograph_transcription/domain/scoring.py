"""Error rates of a transcript against a text that a person has checked."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from rapidfuzz.distance import Levenshtein

_WORD: Final = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_]+(?:'[^\W_]+)*")
"""A word, or a character of a script that writes no spaces."""


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Differences between a transcript and a reference, without case and punctuation."""

    words: int
    """Words of the reference."""
    word_error_rate: float
    """Words to change, add or leave out per word of the reference; it may exceed 1."""
    character_error_rate: float
    """The same for characters, without spaces."""

    @property
    def accuracy(self) -> float:
        """1 - word error rate, at least 0 (C-51)."""
        return max(1 - self.word_error_rate, 0.0)


def split_words(text: str) -> list[str]:
    """Return the words of a text as they are compared: without case, punctuation and forms of characters.

    Marks that belong to a letter count, so that words with other accents differ.
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'"))


def compare(reference: str, transcript: str) -> ErrorRates | None:
    """Return the error rates of a transcript; None if the reference has no words.

    The distance is that of Levenshtein: each substitution, insertion and deletion counts 1.
    """
    expected, found = split_words(reference), split_words(transcript)
    if not expected:
        return None
    characters = "".join(expected)
    return ErrorRates(
        words=len(expected),
        word_error_rate=Levenshtein.distance(expected, found) / len(expected),
        character_error_rate=Levenshtein.distance(characters, "".join(found)) / len(characters),
    )
