"""Detection of text that a model repeats in a loop although it was spoken once."""

MAX_PHRASE_WORDS = 8
MIN_WORD_REPETITIONS = 8
"""People do say "no, no, no"."""
MIN_PHRASE_REPETITIONS = 4


def find_unrepeated_words(words: list[str]) -> list[int]:
    """Return the indices of the words to keep: of a phrase that is repeated in a loop, the first occurrence.

    A single word is a loop from `MIN_WORD_REPETITIONS` occurrences in a row, a longer phrase from
    `MIN_PHRASE_REPETITIONS`.
    """
    folded = [word.casefold().strip(".,!?…;: ") for word in words]
    kept: list[int] = []
    position = 0
    while position < len(folded):
        length, repetitions = _loop_at(folded, position)
        kept.extend(range(position, position + length))
        position += length * repetitions
    return kept


def _loop_at(words: list[str], position: int) -> tuple[int, int]:
    """Return the number of words and of occurrences of the shortest loop that starts here; (1, 1) if none."""
    for length in range(1, MAX_PHRASE_WORDS + 1):
        phrase = words[position : position + length]
        repetitions = 1
        while words[position + repetitions * length : position + (repetitions + 1) * length] == phrase:
            repetitions += 1
        if repetitions >= (MIN_WORD_REPETITIONS if length == 1 else MIN_PHRASE_REPETITIONS):
            return length, repetitions
    return 1, 1
