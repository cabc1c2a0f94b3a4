"""The words of a transcript with times for each, and utterances made of them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from phonograph_events.documents import TranscriptDocument, TranscriptSegment
from phonograph_highlights.domain.regions import Span

PAUSE_S = 0.7
"""A pause of this length ends an utterance."""
MAX_WORDS = 40
"""Longer utterances are split: recognizers without a notion of sentences produce segments of minutes."""

_SENTENCE_END = re.compile(r"[.!?…。！？]['\"”’)\]]*$")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


@dataclass(frozen=True, slots=True)
class Word:
    """A spoken word; times in seconds of the recording."""

    text: str
    start_s: float
    end_s: float

    @property
    def middle_s(self) -> float:
        """Middle of its time, in seconds."""
        return (self.start_s + self.end_s) / 2

    @property
    def ends_sentence(self) -> bool:
        """True if the word ends with a full stop or another final mark."""
        return _SENTENCE_END.search(self.text) is not None


@dataclass(frozen=True, slots=True)
class Utterance:
    """Words spoken without a long pause; never empty."""

    words: tuple[Word, ...]

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
        return join_words(word.text for word in self.words)


def split_into_utterances(transcript: TranscriptDocument) -> list[Utterance]:
    """Split a transcript at segment ends, full stops and pauses, in the order of time.

    Words without times share the time of their segment in proportion to their length.
    """
    utterances: list[Utterance] = []
    for segment in sorted(transcript.segments, key=lambda segment: (segment.start, segment.end)):
        for phrase in _split_at_pauses(_timed_words(segment)):
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


def join_words(texts: Iterable[str]) -> str:
    """Join words with spaces, except between characters of scripts without spaces."""
    line = ""
    for text in texts:
        is_unspaced = line == "" or (_UNSPACED.match(line[-1]) and _UNSPACED.match(text[0]))
        line += text if is_unspaced else f" {text}"
    return line


def _timed_words(segment: TranscriptSegment) -> list[Word]:
    recognized = [(word.word.strip(), word.start, word.end) for word in segment.words if word.word.strip()]
    if not recognized:
        recognized = [(text, None, None) for text in segment.text.split()]
    if not recognized:
        return []
    length = sum(len(text) for text, _, _ in recognized)
    duration_s = max(segment.end, segment.start) - segment.start
    done = 0
    words: list[Word] = []
    for text, start, end in recognized:
        share_start_s = segment.start + duration_s * done / length
        done += len(text)
        share_end_s = segment.start + duration_s * done / length
        earliest_s = words[-1].start_s if words else 0.0
        start_s = max(earliest_s, share_start_s if start is None else start)
        words.append(Word(text, start_s, max(start_s, share_end_s if end is None else end)))
    return words


def _split_at_pauses(words: Sequence[Word]) -> Iterator[list[Word]]:
    phrase: list[Word] = []
    for word in words:
        if phrase and (phrase[-1].ends_sentence or word.start_s - phrase[-1].end_s >= PAUSE_S):
            yield phrase
            phrase = []
        phrase.append(word)
    if phrase:
        yield phrase


def _split_long(words: list[Word]) -> Iterator[list[Word]]:
    """Split at the longest pause of the middle half until no piece has more than `MAX_WORDS`."""
    if len(words) <= MAX_WORDS:
        yield words
        return
    middle = range(len(words) // 4, len(words) * 3 // 4)
    at = max(middle, key=lambda i: (words[i].start_s - words[i - 1].end_s, -abs(i - len(words) // 2)))
    yield from _split_long(words[:at])
    yield from _split_long(words[at:])
