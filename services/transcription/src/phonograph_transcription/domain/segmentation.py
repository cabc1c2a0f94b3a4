"""Segments of a transcript: a sentence or a clause each, cut by the times and the punctuation of words."""

import re
from collections.abc import Iterator, Sequence

from phonograph_transcription.domain.transcript import Word

MAX_SEGMENT_S = 15.0
LONG_PAUSE_S = 2.0
"""A silence of this length always ends a segment."""
CLAUSE_PAUSE_S = 0.7
"""A pause of this length ends a segment after a comma."""

_SENTENCE_END = re.compile(r"[.!?…。！？]['\"”’»)\]]*$")
_CLAUSE_END = re.compile(r"[,;:–—、，；：]['\"”’»)\]]*$")
_ABBREVIATION = re.compile(
    r"^[('\"“]*(?:[A-HJ-Z]|Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|No|vs|e\.g|i\.e|z\.B|d\.h|bzw|usw|ca|Nr)\.$",
    re.IGNORECASE,
)
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, in which any word may begin a line."""
_NUMBER = re.compile(r"^[^\w]*\d[\d.,:/]*\W*$")


def split_into_sentences(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """Yield the words in pieces that are good segments.

    A piece ends at the end of a sentence, at a pause after a comma, and at every long silence. One that is
    longer than `MAX_SEGMENT_S` is split at its best comma or pause; never inside a number or between words
    without a space.

    Args:
        words: Words in the order of the text; those without times follow their neighbors.
    """
    piece: list[Word] = []
    for word in words:
        if piece and _ends_between(piece[-1], word):
            yield from _split_long(piece)
            piece = []
        piece.append(word)
    if piece:
        yield from _split_long(piece)


def is_sentence_end(word: Word, following: Word | None) -> bool:
    """Return whether a sentence ends after a word.

    Args:
        word: The word.
        following: The word after it; None at the end.
    """
    if not _SENTENCE_END.search(word.text):
        return False
    if not word.text.endswith(".") or following is None:
        return True
    # An abbreviation or an ordinal number continues the sentence, unless there is a pause.
    is_open = bool(_ABBREVIATION.match(word.text) or re.fullmatch(r"\d+\.", word.text))
    return (not is_open or _pause_s(word, following) >= CLAUSE_PAUSE_S) and not following.text[0].islower()


def _ends_between(word: Word, following: Word) -> bool:
    pause_s = _pause_s(word, following)
    if pause_s > LONG_PAUSE_S:
        return True
    if not _may_split(word, following):
        return False
    is_clause_end = bool(_CLAUSE_END.search(word.text)) and pause_s >= CLAUSE_PAUSE_S
    return is_clause_end or is_sentence_end(word, following)


def _may_split(word: Word, following: Word) -> bool:
    """Return whether both words stay readable apart: "20 | 000" and "I | -link" do not."""
    if _NUMBER.match(word.text) and _NUMBER.match(following.text) and not _SENTENCE_END.search(word.text):
        return False
    return following.is_spaced is not False or bool(_UNSPACED.match(following.text))


def _split_long(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    if len(words) < 2 or _duration_s(words) <= MAX_SEGMENT_S:
        yield words
        return
    cuts = [at for at in range(1, len(words)) if _may_split(words[at - 1], words[at])]
    if not cuts:
        yield words
        return
    at = max(cuts, key=lambda cut: _quality(words, cut))
    yield from _split_long(words[:at])
    yield from _split_long(words[at:])


def _quality(words: Sequence[Word], cut: int) -> float:
    """Return how good a cut is: in a pause, after a comma, and not near the ends."""
    before, after = words[cut - 1], words[cut]
    pause_s = min(_pause_s(before, after), LONG_PAUSE_S)
    comma = 1.0 if _CLAUSE_END.search(before.text) else 0.0
    balance = min(cut, len(words) - cut) / len(words)
    return pause_s + comma + 2.0 * balance


def _pause_s(word: Word, following: Word) -> float:
    if word.end_s is None or following.start_s is None:
        return 0.0
    return following.start_s - word.end_s


def _duration_s(words: Sequence[Word]) -> float:
    starts = [word.start_s for word in words if word.start_s is not None]
    ends = [word.end_s for word in words if word.end_s is not None]
    return max(ends) - min(starts) if starts and ends else 0.0
