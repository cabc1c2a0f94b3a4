"""Detection of text that a model repeats in a loop although it was spoken once."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_PHRASE_WORDS = 40
MAX_SHORT_PHRASE_WORDS = 12
"""People do repeat longer sentences word for word, for example in an announcement."""
MAX_WORDS_PER_S = 6.0
"""No speaker is faster for long, so that a longer sentence that is repeated faster is a loop, too."""
MIN_WORD_REPETITIONS = 8
"""People do say "no, no, no"."""
MIN_PHRASE_REPETITIONS = 4


@dataclass(frozen=True, slots=True)
class Loop:
    """A phrase with its repetitions, as indices of words."""

    first: int
    """Index of the first word of the first occurrence."""
    length: int
    """Words of the phrase."""
    repetitions: int
    """Occurrences in a row."""

    @property
    def first_repeated(self) -> int:
        """Index of the first word after the first occurrence."""
        return self.first + self.length

    @property
    def end(self) -> int:
        """Index of the word after the last occurrence."""
        return self.first + self.length * self.repetitions


def find_loops(words: Sequence[str], starts_s: Sequence[float]) -> list[Loop]:
    """Return the loops in the order of the text; they do not overlap.

    A single word is a loop from `MIN_WORD_REPETITIONS` occurrences in a row, a longer phrase from
    `MIN_PHRASE_REPETITIONS`; a sentence of more than `MAX_SHORT_PHRASE_WORDS` words only if it is
    faster than speech.

    Args:
        words: Words of the whole recording: a model often makes a segment of each repetition.
        starts_s: Start of each word, in seconds.
    """
    folded = [word.casefold().strip(".,!?…;: ") for word in words]
    loops: list[Loop] = []
    position = 0
    while position < len(folded):
        loop = _loop_at(folded, position)
        if loop is None:
            position += 1
        else:
            if loop.length <= MAX_SHORT_PHRASE_WORDS or _is_too_fast(loop, starts_s):
                loops.append(loop)
            position = loop.end
    return loops


def _is_too_fast(loop: Loop, starts_s: Sequence[float]) -> bool:
    repeated_s = starts_s[loop.end - 1] - starts_s[loop.first_repeated]
    return loop.end - loop.first_repeated > MAX_WORDS_PER_S * max(repeated_s, 0.0)


def _loop_at(words: Sequence[str], position: int) -> Loop | None:
    """Return the shortest loop that starts here, or None."""
    for length in range(1, min(MAX_PHRASE_WORDS, len(words) - position - 1) + 1):
        if words[position] != words[position + length]:
            continue
        phrase = words[position : position + length]
        repetitions = 1
        while words[position + repetitions * length : position + (repetitions + 1) * length] == phrase:
            repetitions += 1
        if repetitions >= (MIN_WORD_REPETITIONS if length == 1 else MIN_PHRASE_REPETITIONS):
            return Loop(position, length, repetitions)
    return None
