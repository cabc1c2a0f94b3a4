"""Words that tell what a text is about, in any language; for English with a list of those that do not."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

ENGLISH_SHARE = 0.25
"""A text of unknown language with so many English stop words is English; in others it is below 0.1."""
MIN_LETTERS = 3
SPREAD = 0.7
"""A word that occurs in this share of the tenths of a talk in another language is a function word."""

# What people say rather than write; scikit-learn's list comes from written English.
_SPOKEN = frozenset(
    """
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
    """.split()  # noqa: SIM905  # as literals it would be a line for each
)


def content_words(lines: Sequence[str], language: str | None) -> list[list[str | None]]:
    """The words of each line in lower case; null in place of a word that says nothing.

    `language` is an ISO 639-1 code; null guesses whether it is English. Characters of scripts without
    spaces are taken in pairs.
    """
    spoken = [_words(line) for line in lines]
    empty = _empty_words(spoken, language)
    return [[None if word in empty or _meagre(word) else word for word in words] for words in spoken]


def is_english(lines: Iterable[str], language: str | None) -> bool:
    """Whether the list of English stop words applies."""
    if language:
        return language.lower().partition("-")[0] in {"en", "eng", "english"}
    words = [word for line in lines for word in _words(line)]
    return bool(words) and sum(word in _english() for word in words) / len(words) >= ENGLISH_SHARE


def stem(word: str) -> str:
    """The word without a plural ending (Harman 1991, the S stemmer)."""
    if len(word) > 4 and word.endswith("ies") and word[-4] not in "ae":
        return f"{word[:-3]}y"
    if len(word) > 3 and word.endswith("s") and word[-2] not in "us" and not word.endswith("ees"):
        return word[:-1]
    return word


def _empty_words(spoken: Sequence[Sequence[str]], language: str | None) -> frozenset[str]:
    if is_english((" ".join(words) for words in spoken), language):
        return _english()
    parts = 10
    if len(spoken) < 2 * parts:
        return frozenset()
    seen = Counter(
        word
        for i in range(parts)
        for word in {
            w for line in spoken[i * len(spoken) // parts : (i + 1) * len(spoken) // parts] for w in line
        }
    )
    return frozenset(word for word, count in seen.items() if count >= SPREAD * parts)


@cache
def _english() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS) | _SPOKEN


def _meagre(word: str) -> bool:
    """Whether a word of an alphabet is too short to tell anything."""
    return word.isascii() and len(word) < MIN_LETTERS


def _words(line: str) -> list[str]:
    plain = line.lower().replace("’", "'")
    kept = "".join(c if c == "'" or unicodedata.category(c)[0] in "LM" else " " for c in plain)
    words: list[str] = []
    for word in kept.split():
        bare = word.strip("'").removesuffix("'s")
        if bare and all("\u3040" <= c <= "\u9fff" for c in bare):
            words.extend(bare[i : i + 2] for i in range(max(1, len(bare) - 1)))
        elif bare:
            words.append(bare)
    return words
