"""Utterances: words of a transcript spoken without a long pause."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from phonograph_events.documents import TranscriptDocument
from phonograph_events.subtitles import PAUSE_S, TimedWord, join_words, split_into_words
from phonograph_highlights.domain.regions import Span

MAX_WORDS = 40
"""Longer utterances are split: recognizers without a notion of sentences produce segments of minutes."""

_SENTENCE_END = re.compile(r"[.!?…。！？]['\"”’)\]]*$")


@dataclass(frozen=True, slots=True)
class Utterance:
    """Words spoken without a long pause; never empty."""

    words: tuple[TimedWord, ...]

    @property
    def start_s(self) -> float:
        """Start of the first word, in seconds."""
        return self.words[0].start_s

    @property
    def end_s(self) -> float:
        """End of the last word, in seconds."""
        return self.words[-1].end_s

    @property
    def text(self) -> str:
        """The words as one line."""
        return join_words(self.words)


def split_into_utterances(transcript: TranscriptDocument) -> list[Utterance]:
    """Split a transcript at segment ends, full stops and pauses, in the order of time."""
    utterances: list[Utterance] = []
    for segment in sorted(transcript.segments, key=lambda segment: (segment.start, segment.end)):
        for phrase in _split_at_pauses(split_into_words(segment)):
            utterances.extend(Utterance(tuple(words)) for words in _split_long(phrase))
    return sorted(utterances, key=lambda utterance: utterance.start_s)


def speech_duration_s(utterances: Iterable[Utterance]) -> float:
    """Return the seconds of speech without pauses between utterances; overlapping speech counts once."""
    total_s = counted_until_s = 0.0
    for utterance in utterances:
        total_s += max(0.0, utterance.end_s - max(utterance.start_s, counted_until_s))
        counted_until_s = max(counted_until_s, utterance.end_s)
    return total_s


def span_of(utterances: Sequence[Utterance]) -> Span:
    """Return the span from the first word to the last."""
    return Span(utterances[0].start_s, max(utterance.end_s for utterance in utterances))


def _split_at_pauses(words: Sequence[TimedWord]) -> Iterator[list[TimedWord]]:
    phrase: list[TimedWord] = []
    for word in words:
        if phrase and (_SENTENCE_END.search(phrase[-1].text) or word.start_s - phrase[-1].end_s >= PAUSE_S):
            yield phrase
            phrase = []
        phrase.append(word)
    if phrase:
        yield phrase


def _split_long(words: list[TimedWord]) -> Iterator[list[TimedWord]]:
    """Split at the longest pause of the middle half until no piece has more than `MAX_WORDS`."""
    if len(words) <= MAX_WORDS:
        yield words
        return
    middle = range(len(words) // 4, len(words) * 3 // 4)
    at = max(middle, key=lambda i: (words[i].start_s - words[i - 1].end_s, -abs(i - len(words) // 2)))
    yield from _split_long(words[:at])
    yield from _split_long(words[at:])
