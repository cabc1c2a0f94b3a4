"""Recognises text that a model repeats in a loop instead of hearing it."""

MAX_PHRASE_WORDS = 8
MIN_WORD_RUN = 8
MIN_PHRASE_RUN = 4


def without_loops(words: list[str]) -> list[int]:
    """Which words to keep: of a phrase that is repeated over and over, the first time.

    A word alone counts as a loop from `MIN_WORD_RUN` times on, a phrase from `MIN_PHRASE_RUN` times:
    people do say "no, no, no".
    """
    folded = [word.casefold().strip(".,!?…;: ") for word in words]
    kept: list[int] = []
    position = 0
    while position < len(folded):
        length, times = _loop_at(folded, position)
        kept.extend(range(position, position + length))
        position += length * times
    return kept


def _loop_at(words: list[str], position: int) -> tuple[int, int]:
    """Length in words of the shortest loop that begins here, and how often it comes; (1, 1) for none."""
    for length in range(1, MAX_PHRASE_WORDS + 1):
        phrase = words[position : position + length]
        times = 1
        while words[position + times * length : position + (times + 1) * length] == phrase:
            times += 1
        if times >= (MIN_WORD_RUN if length == 1 else MIN_PHRASE_RUN):
            return length, times
    return 1, 1
