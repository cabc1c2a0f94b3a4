"""Stop words, and the words that carry the content of a text, in any language."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise

ENGLISH_SHARE = 0.25
"""Minimum share of English stop words in a text of unknown language that is English; others are below 0.1."""
MIN_LETTERS = 3
SECTIONS = 10
MIN_SPREAD = 0.7
"""A word that occurs in this share of the sections of a talk in another language is a stop word."""

# Spoken rather than written; scikit-learn's list is from written English.
_SPOKEN_STOP_WORDS = """
actually ain't aint anyway basically bit bunch can't cannot cause come comes coming couldn't couple
didn't does doesn't doing don't done each exactly get gets getting give goes going gone gonna good
got gotta great guess guys hadn't hasn't haven't having he'll he's hello here's hey how's i'd i'll
i'm i've isn't it'd it'll it's just kind kinda know let let's like likely little look looking looks
lot lots make makes making maybe mean means need now oh ok okay one ones people pretty probably put
quite really right said say saying says see seen shall she'll she's shouldn't simply something
somewhat sorry sort stuff sure take taken takes talk talking tell thank thanks that'll that's
there'll there's they'd they'll they're they've thing things think thinking this three today told
true trying two uh uhh um umm use used uses using very want wanted wants wasn't way we'd we'll we're
we've went weren't what's whatever where's who's won't wouldn't yeah yep yes you'd you'll you're
you've
"""


def select_content_words(lines: Sequence[str], language: str | None) -> list[list[str | None]]:
    """Return the words of each line in lower case, with None in place of words without content.

    Args:
        lines: Utterances as text.
        language: ISO 639-1 code; if None, the words decide whether it is English.

    Returns:
        One list per line. Characters of scripts without spaces are taken in pairs.
    """
    tokenized = [_tokenize(line) for line in lines]
    stop_words = _find_stop_words(tokenized, language)
    return [
        [None if word in stop_words or _is_too_short(word) else word for word in words] for words in tokenized
    ]


def is_english(lines: Iterable[str], language: str | None) -> bool:
    """Return whether the list of English stop words applies to a text in a language, which may be None."""
    if language:
        return language.lower().partition("-")[0] in {"en", "eng", "english"}
    words = [word for line in lines for word in _tokenize(line)]
    return bool(words) and sum(word in _english() for word in words) / len(words) >= ENGLISH_SHARE


def stem(word: str) -> str:
    """Return a word without a plural ending (Harman 1991, the S stemmer)."""
    if len(word) > 4 and word.endswith("ies") and word[-4] not in "ae":
        return f"{word[:-3]}y"
    if len(word) > 3 and word.endswith("s") and word[-2] not in "us" and not word.endswith("ees"):
        return word[:-1]
    return word


def _find_stop_words(lines: Sequence[Sequence[str]], language: str | None) -> frozenset[str]:
    if is_english((" ".join(words) for words in lines), language):
        return _english()
    if len(lines) < 2 * SECTIONS:
        return frozenset()
    bounds = [i * len(lines) // SECTIONS for i in range(SECTIONS + 1)]
    spread = Counter(
        word
        for start, end in pairwise(bounds)
        for word in {word for words in lines[start:end] for word in words}
    )
    return frozenset(word for word, count in spread.items() if count >= MIN_SPREAD * SECTIONS)


@cache
def _english() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS) | frozenset(_SPOKEN_STOP_WORDS.split())


def _is_too_short(word: str) -> bool:
    """Return whether a word of an alphabet is too short to carry content."""
    return word.isascii() and len(word) < MIN_LETTERS


def _tokenize(line: str) -> list[str]:
    plain = line.lower().replace("’", "'")
    letters = "".join(c if c == "'" or unicodedata.category(c)[0] in "LM" else " " for c in plain)
    words: list[str] = []
    for word in letters.split():
        bare = word.strip("'").removesuffix("'s")
        if bare and all("\u3040" <= c <= "\u9fff" for c in bare):
            words.extend(bare[i : i + 2] for i in range(max(1, len(bare) - 1)))
        elif bare:
            words.append(bare)
    return words
