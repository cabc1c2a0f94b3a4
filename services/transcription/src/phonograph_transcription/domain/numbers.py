"""English number words as digits."""

from collections.abc import Sequence
from typing import Final

_UNITS: Final = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15,
    "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS: Final = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80,
    "ninety": 90,
}  # fmt: skip
_SCALES: Final = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
JOINING: Final = frozenset({"and", "point"})
"""Parts of numbers that cannot end one."""
_INNER: Final = frozenset({"hundred", *JOINING, *_SCALES})


def starts_number(word: str, *, is_first: bool) -> bool:
    """Return whether a word, without case and punctuation, can be part of a number.

    Args:
        word: The word.
        is_first: Whether it is the first of the number, which is no "and", "hundred" or "point".
    """
    parts = word.split("-")
    known = all(part in _UNITS or part in _TENS for part in parts)
    return known or (not is_first and word in _INNER)


def parse_number(words: Sequence[str]) -> str | None:
    """Return a spoken number in digits; None for a small number, and for words that are not one number.

    "nineteen eighty four" and "one two three" are several numbers: what they mean is not known.
    """
    parts = [part for word in words for part in word.split("-")]
    whole, has_point, fraction = parts, False, []
    if "point" in parts:
        at = parts.index("point")
        whole, has_point, fraction = parts[:at], True, parts[at + 1 :]
        if not fraction or any(_UNITS.get(word, 10) > 9 for word in fraction):
            return None
    value = _parse_whole(whole)
    if value is None or (value < 10 and not has_point):
        return None
    return str(value) + (f".{''.join(str(_UNITS[word]) for word in fraction)}" if has_point else "")


def _parse_whole(words: Sequence[str]) -> int | None:
    """Return the value of a number such as two million three hundred and five; None if it is not one."""
    total, rest = 0, list(words)
    for scale_word, scale in sorted(_SCALES.items(), key=lambda item: -item[1]):
        if scale_word in rest:
            at = rest.index(scale_word)
            group = _parse_group(rest[:at])
            if not group:
                return None
            total, rest = total + group * scale, rest[at + 1 :]
    if total and not rest:
        return total
    if total and rest[0] == "and":
        rest = rest[1:]
    group = _parse_group(rest)
    if group is None or (total and not group):
        return None
    return total + group


def _parse_group(words: Sequence[str]) -> int | None:
    """Return the value of a number below 1000; None if the words are not one."""
    match words:
        case [count, "hundred"]:
            return _parse_hundreds(count)
        case [count, "hundred", "and", *rest] | [count, "hundred", *rest]:
            hundreds, value = _parse_hundreds(count), _parse_below_hundred(rest)
            return None if hundreds is None or value is None else hundreds + value
        case _:
            return _parse_below_hundred(words)


def _parse_hundreds(count: str) -> int | None:
    return 100 * _UNITS[count] if 1 <= _UNITS.get(count, 0) <= 9 else None


def _parse_below_hundred(words: Sequence[str]) -> int | None:
    match words:
        case [word] if word in _UNITS or word in _TENS:
            return _UNITS.get(word) if word in _UNITS else _TENS[word]
        case [ten, unit] if ten in _TENS and 1 <= _UNITS.get(unit, 0) <= 9:
            return _TENS[ten] + _UNITS[unit]
        case _:
            return None
