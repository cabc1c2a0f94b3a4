"""Cleaning and comparison of text from outside."""

import unicodedata

_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_JOINERS = frozenset("\u200c\u200d")


def printable(text: str) -> str:
    """Return one line of composed text (NFC) without control, direction, surrogate and unassigned characters.

    Runs of white space become one space. PostgreSQL refuses NUL, JSON encoders refuse lone surrogates, and a
    direction mark can make a name look like another. The two joiners stay: Persian and emoji need them.
    """
    spaced = " ".join(text.split())
    kept = (
        char
        for char in spaced
        if char in _JOINERS or char == " " or unicodedata.category(char) not in _DROPPED
    )
    return " ".join(unicodedata.normalize("NFC", "".join(kept)).split())


def comparable(text: str) -> str:
    """Return the letters and digits, without case and accents: names that differ in punctuation are equal."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in decomposed if char.isalnum())
