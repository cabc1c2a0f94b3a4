"""Rules that make a transcript easier to read: they work offline, change few things, and list every change.

The rules for fillers, repetitions, numbers and pronouns are those of English; other languages only get
capital letters and full stops. A segment whose text is not its words, separated by spaces, is left as it is.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from phonograph_events import Fillers
from phonograph_transcription.domain.numbers import JOINING, parse_number, starts_number
from phonograph_transcription.domain.transcript import Segment, Transcript, Word

RULES_VERSION: Final = 1
"""Part of the key of the cache: another set of rules gives other results."""
SENTENCE_PAUSE_S: Final = 0.7
"""A pause of this length ends a sentence, where the engine writes no punctuation."""
_HESITATIONS: Final = frozenset(
    {"um", "umm", "uh", "uhh", "uhm", "er", "erm", "hmm", "mm", "mmm", "ah", "eh"}
)
_PHRASES: Final = (("you", "know"), ("i", "mean"), ("sort", "of"), ("kind", "of"))
"""Fillers only where punctuation sets them off on both sides: elsewhere they have a meaning."""
_STUTTERED: Final = frozenset(
    {
        "a", "an", "and", "at", "but", "for", "he", "i", "if", "in", "is", "it", "of", "on", "or", "she",
        "so", "the", "their", "they", "this", "to", "was", "we", "with", "you",
    }
)  # fmt: skip
"""Words that are not repeated for emphasis; "that that" and "had had" are correct."""
_QUESTION: Final = re.compile(
    r"(what|who|where|when|why|how|which)"
    r" (is|are|was|were|do|does|did|can|could|will|would|should|has|have)\b"
)
_PRONOUN: Final = re.compile(r"i('.+)?")
_SENTENCE_END: Final = re.compile(r"[.!?…]['\")\]]*$")


@dataclass(frozen=True, slots=True)
class EnhancementRules:
    """Which rules are applied."""

    fillers: Fillers = Fillers.SOME
    """Which fillers are removed: none, hesitations, or these and phrases such as "you know"."""
    repetitions: bool = True
    numbers: bool = True
    casing: bool = True
    """Capital letters and punctuation, where the engine writes neither."""


@dataclass(frozen=True, slots=True)
class Improvement:
    """One change."""

    kind: str
    """`filler`, `repetition`, `number` or `casing`."""
    segment: int
    """Index of the segment."""
    start_s: float | None
    """Start of the first changed word."""
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Enhancement:
    """An enhanced transcript with its changes."""

    transcript: Transcript
    improvements: tuple[Improvement, ...]
    metadata: dict[str, Any]
    """Rules, number of changes of each kind, and the segments that were left as they are."""


def enhance(transcript: Transcript, rules: EnhancementRules) -> Enhancement:
    """Apply rules to a transcript; words keep their times, and segments their number and order."""
    is_english = (transcript.language or "").lower().partition("-")[0] == "en"
    is_plain = rules.casing and not _has_casing(transcript)
    improvements: list[Improvement] = []
    segments: list[Segment] = []
    untouched = 0
    starts_sentence = True
    for number, segment in enumerate(transcript.segments):
        if segment.text.split() != [word.text for word in segment.words]:
            segments.append(segment)
            untouched += bool(segment.text.strip())
            starts_sentence = True
            continue
        words = list(segment.words)
        if is_english:
            words = _remove_fillers(words, rules.fillers, number, improvements)
            words = _remove_repetitions(words, number, improvements) if rules.repetitions else words
            words = _write_numbers(words, number, improvements) if rules.numbers else words
        if is_plain and words:
            following = _start_of_next(transcript.segments[number + 1 :])
            words, starts_sentence = _punctuate(
                words, following, starts_sentence=starts_sentence, is_english=is_english
            )
            text = " ".join(word.text for word in words)
            improvements.append(Improvement("casing", number, words[0].start_s, segment.text, text))
        text = " ".join(word.text for word in words)
        segments.append(replace(segment, text=text, words=tuple(words)))
    metadata = {
        "method": "rules",
        "rules_version": RULES_VERSION,
        "rules": asdict(rules),
        "counts": dict(Counter(each.kind for each in improvements)),
        "segments_left_alone": untouched,
    }
    return Enhancement(replace(transcript, segments=tuple(segments)), tuple(improvements), metadata)


def _has_casing(transcript: Transcript) -> bool:
    """Return whether the engine writes capital letters or ends of sentences."""
    return any(
        any(character.isupper() for character in segment.text) or re.search(r"[.?!]", segment.text)
        for segment in transcript.segments
    )


def _fold(word: Word) -> str:
    return word.text.casefold().strip(".,!?…;:-\"'")


def _remove_fillers(
    words: list[Word], fillers: Fillers, segment: int, improvements: list[Improvement]
) -> list[Word]:
    if fillers is Fillers.NONE:
        return words
    kept: list[Word] = []
    position = 0
    while position < len(words):
        length = _filler_length(words, position, fillers)
        if not length:
            kept.append(words[position])
            position += 1
            continue
        removed = words[position : position + length]
        position += length
        improvements.append(Improvement("filler", segment, removed[0].start_s, _join(removed), ""))
        _close_gap(kept, words, position, removed)
    return kept


def _filler_length(words: Sequence[Word], position: int, fillers: Fillers) -> int:
    """Return the number of words of the filler that begins here; 0 if none does."""
    if _fold(words[position]) in _HESITATIONS:
        return 1
    if fillers is Fillers.ALL:
        is_set_off = position == 0 or words[position - 1].text[-1] in ",.?!;"
        pair = tuple(_fold(word) for word in words[position : position + 2])
        if is_set_off and pair in _PHRASES and words[position + 1].text.endswith(","):
            return 2
    return 0


def _close_gap(kept: list[Word], words: list[Word], position: int, removed: Sequence[Word]) -> None:
    """Move the end of the sentence, and the capital letter of its beginning, to the words that stay."""
    if _SENTENCE_END.search(removed[-1].text) and kept and not _SENTENCE_END.search(kept[-1].text):
        kept[-1] = replace(kept[-1], text=kept[-1].text.rstrip(",;") + removed[-1].text[-1])
    if removed[0].text[0].isupper() and position < len(words):
        words[position] = _capitalize(words[position])


def _remove_repetitions(words: list[Word], segment: int, improvements: list[Improvement]) -> list[Word]:
    kept: list[Word] = []
    for word in words:
        previous = kept[-1] if kept else None
        if previous is None or not _is_stutter(previous, word):
            kept.append(word)
            continue
        kept[-1] = _capitalize(word) if previous.text[0].isupper() else word
        before, after = _join([previous, word]), kept[-1].text
        improvements.append(Improvement("repetition", segment, previous.start_s, before, after))
    return kept


def _is_stutter(previous: Word, word: Word) -> bool:
    """Return whether a speaker says a word a second time, within one sentence."""
    is_same = _fold(word) in _STUTTERED and _fold(word) == _fold(previous)
    return is_same and not _SENTENCE_END.search(previous.text)


def _write_numbers(words: list[Word], segment: int, improvements: list[Improvement]) -> list[Word]:
    """Write a spoken number from 10 on, or with a fraction, in digits, as one word."""
    written: list[Word] = []
    position = 0
    while position < len(words):
        end = position
        # Punctuation between two words ends a number.
        while end < len(words) and starts_number(_fold(words[end]), is_first=end == position):
            end += 1
            if words[end - 1].text[-1] in ",.;:?!":
                break
        while end > position and _fold(words[end - 1]) in JOINING:
            end -= 1
        spoken = words[position:end]
        digits = parse_number([_fold(word) for word in spoken])
        if digits is None:
            written += spoken or [words[position]]
            position = max(end, position + 1)
            continue
        last = spoken[-1].text
        text = digits + last[len(last.rstrip(",.;:?!")) :]
        confidences = [word.confidence for word in spoken if word.confidence is not None]
        written.append(
            replace(
                spoken[0],
                text=text,
                end_s=spoken[-1].end_s,
                confidence=min(confidences) if confidences else None,
            )
        )
        improvements.append(Improvement("number", segment, spoken[0].start_s, _join(spoken), text))
        position = end
    return written


def _punctuate(
    words: list[Word], following_s: float | None, *, starts_sentence: bool, is_english: bool
) -> tuple[list[Word], bool]:
    """Begin sentences with capital letters and end them where the speaker pauses.

    Args:
        words: Words of a segment.
        following_s: Start of the next segment; None after the last one.
        starts_sentence: Whether the first word begins a sentence.
        is_english: Whether pronouns and questions of English are known.

    Returns:
        The words, and whether the word after them begins a sentence.
    """
    punctuated: list[Word] = []
    sentence: list[str] = []
    for word, next_s in zip(words, [*(word.start_s for word in words[1:]), following_s], strict=True):
        is_first = starts_sentence if not sentence and not punctuated else not sentence
        is_pronoun = is_english and _PRONOUN.fullmatch(word.text)
        sentence.append(word.text)
        changed = _capitalize(word) if is_first or is_pronoun else word
        if next_s is None or word.end_s is None or next_s - word.end_s >= SENTENCE_PAUSE_S:
            is_question = is_english and _QUESTION.match(" ".join(sentence)) is not None
            changed = replace(changed, text=changed.text + ("?" if is_question else "."))
            sentence = []
        punctuated.append(changed)
    return punctuated, not sentence


def _start_of_next(segments: Sequence[Segment]) -> float | None:
    return next((segment.start_s for segment in segments if segment.text.strip()), None)


def _capitalize(word: Word) -> Word:
    return replace(word, text=word.text[:1].upper() + word.text[1:])


def _join(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)
