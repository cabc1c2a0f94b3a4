"""The words of a transcript with times for each, and utterances made of them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from phonograph_events.documents import TranscriptDocument, TranscriptSegment
from phonograph_highlights.domain.regions import Span

PAUSE_S = 0.7
"""A pause this long ends an utterance."""
MAX_WORDS = 40
"""Recognisers that know no sentences give segments of minutes; longer utterances are split."""

_SENTENCE_END = re.compile(r"[.!?…。！？]['\"”’)\]]*$")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it was said."""

    text: str
    start_s: float
    end_s: float

    @property
    def middle_s(self) -> float:
        """When half of it is said."""
        return (self.start_s + self.end_s) / 2

    @property
    def ends_sentence(self) -> bool:
        """Whether a full stop or its like follows."""
        return _SENTENCE_END.search(self.text) is not None


@dataclass(frozen=True, slots=True)
class Utterance:
    """Words said in one go; never empty."""

    words: tuple[Word, ...]

    @property
    def start_s(self) -> float:
        """Start of the first word."""
        return self.words[0].start_s

    @property
    def end_s(self) -> float:
        """End of the last word."""
        return self.words[-1].end_s

    @property
    def text(self) -> str:
        """The words as one line."""
        return written(word.text for word in self.words)


def utterances(transcript: TranscriptDocument) -> list[Utterance]:
    """Split a transcript at segment ends, full stops and pauses, in the order of time.

    Words without times of their own share the time of their segment by their length.
    """
    found: list[Utterance] = []
    for segment in sorted(transcript.segments, key=lambda segment: (segment.start, segment.end)):
        for words in _phrases(_words(segment)):
            found.extend(Utterance(tuple(part)) for part in _short(words))
    return sorted(found, key=lambda utterance: utterance.start_s)


def speech_s(spoken: Iterable[Utterance]) -> float:
    """Seconds of speech, without the pauses between utterances; overlapping speech counts once."""
    total_s = heard_s = 0.0
    for utterance in spoken:
        total_s += max(0.0, utterance.end_s - max(utterance.start_s, heard_s))
        heard_s = max(heard_s, utterance.end_s)
    return total_s


def span(spoken: Sequence[Utterance]) -> Span:
    """From the first word to the last."""
    return Span(spoken[0].start_s, max(utterance.end_s for utterance in spoken))


def written(texts: Iterable[str]) -> str:
    """Join words with spaces, except between characters of scripts that use none."""
    line = ""
    for text in texts:
        close = line == "" or (_UNSPACED.match(line[-1]) and _UNSPACED.match(text[0]))
        line += text if close else f" {text}"
    return line


def _words(segment: TranscriptSegment) -> list[Word]:
    given = [(word.word.strip(), word.start, word.end) for word in segment.words if word.word.strip()]
    if not given:
        given = [(text, None, None) for text in segment.text.split()]
    if not given:
        return []
    length = sum(len(text) for text, _, _ in given)
    end_s = max(segment.end, segment.start)
    done = 0
    words: list[Word] = []
    for text, start, end in given:
        share_start = segment.start + (end_s - segment.start) * done / length
        done += len(text)
        share_end = segment.start + (end_s - segment.start) * done / length
        earliest_s = words[-1].start_s if words else 0.0
        from_s = max(earliest_s, share_start if start is None else start)
        words.append(Word(text, from_s, max(from_s, share_end if end is None else end)))
    return words


def _phrases(words: Sequence[Word]) -> Iterator[list[Word]]:
    phrase: list[Word] = []
    for word in words:
        if phrase and (phrase[-1].ends_sentence or word.start_s - phrase[-1].end_s >= PAUSE_S):
            yield phrase
            phrase = []
        phrase.append(word)
    if phrase:
        yield phrase


def _short(words: list[Word]) -> Iterator[list[Word]]:
    """Split at the longest pause of the middle half until no part has more than `MAX_WORDS`."""
    if len(words) <= MAX_WORDS:
        yield words
        return
    middle = range(len(words) // 4, len(words) * 3 // 4)
    at = max(middle, key=lambda i: (words[i].start_s - words[i - 1].end_s, -abs(i - len(words) // 2)))
    yield from _short(words[:at])
    yield from _short(words[at:])
