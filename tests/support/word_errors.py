"""The word error rate of a transcript, normalized like Whisper's own evaluation.

Letter case, punctuation, fillers and the spelling of contractions and numbers do not count as errors.
"""

import re
import unicodedata
from collections.abc import Iterator

import jiwer

_FILLERS = {"hmm", "mm", "mhm", "mmm", "uh", "um"}
_CONTRACTIONS = (
    (r"\bwon't\b", "will not"),
    (r"\bcan't\b", "can not"),
    (r"\blet's\b", "let us"),
    (r"n't\b", " not"),
    (r"'re\b", " are"),
    (r"'s\b", " is"),
    (r"'d\b", " would"),
    (r"'ll\b", " will"),
    (r"'ve\b", " have"),
    (r"'m\b", " am"),
)
_SMALL = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15,
    "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30,
    "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_LARGE = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}


def word_error_rate(reference: str, text: str) -> float:
    """Return the wrong, missing and added words as a share of the words of the reference."""
    rate: float = jiwer.wer(" ".join(normalize(reference)), " ".join(normalize(text)))
    return rate


def normalize(text: str) -> list[str]:
    """Return the words of an English text as they are compared."""
    text = re.sub(r"[<\[(][^>\])]*[>\])]", " ", text.lower().replace("’", "'"))
    for pattern, replacement in _CONTRACTIONS:
        text = re.sub(pattern, replacement, text)
    text = re.sub(r"(\d),(?=\d)", r"\1", text)
    letters = unicodedata.normalize("NFKD", text).replace("'", "")
    words = re.findall(r"\w+", re.sub(r"[^\w\s]", " ", "".join(c for c in letters if not _is_mark(c))))
    return [word for word in _with_digits(words) if word not in _FILLERS]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) == "Mn"


def _with_digits(words: list[str]) -> Iterator[str]:
    """Yield the words, with consecutive words of one number as its digits."""
    total = part = 0
    is_number = False
    for word in words:
        if word in _LARGE and is_number:
            scale = _LARGE[word]
            part *= scale
            if scale > 100:
                total, part = total + part, 0
        elif word in _SMALL and (not is_number or part % 100 == 0 or (part % 10 == 0 and _SMALL[word] < 10)):
            part += _SMALL[word]
            is_number = True
        else:
            if is_number:
                yield str(total + part)
            total, part, is_number = 0, _SMALL.get(word, 0), word in _SMALL
            if not is_number:
                yield word
    if is_number:
        yield str(total + part)
