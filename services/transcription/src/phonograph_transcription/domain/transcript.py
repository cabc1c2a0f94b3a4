"""A transcript: segments of words with times, confidence, and warnings for the reader."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

MAX_WORD_S = 3.0
"""No spoken word is longer; engines stretch the last word before a silence."""
MIN_WORD_S = 0.04
"""No spoken word is shorter; engines report words of no length where they are unsure."""


class WarningCode(StrEnum):
    """Code of a warning."""

    NO_SPEECH = "no_speech"
    UNSUPPORTED_LANGUAGE = "unsupported_language"
    ENGINE_FALLBACK = "engine_fallback"
    MEMORY_FALLBACK = "memory_fallback"
    REPETITION = "repetition"
    INVENTED_TEXT = "invented_text"
    NO_SPEAKERS = "no_speakers"
    UNKNOWN_SPEAKER = "unknown_speaker"


@dataclass(frozen=True, slots=True)
class TranscriptWarning:
    """A warning about a transcript, or about one segment of it."""

    code: WarningCode
    message: str
    segment: int | None = None
    """Index into the segments."""


@dataclass(frozen=True, slots=True)
class Word:
    """A recognized word; times in seconds from the start of the recording, None if unknown."""

    text: str
    start_s: float | None
    end_s: float | None
    confidence: float | None
    speaker: str | None = None
    is_spaced: bool | None = None
    """Whether the text has a space before it; None if unknown."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive words of one speaker, or of an unknown speaker."""

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    confidence: float | None = None
    """In [0, 1]; the mean of the words' if the engine reports none for segments."""
    speaker: str | None = None
    language: str | None = None
    """ISO 639-1 code; None if unknown."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """Recognized speech, and the engine that recognized it."""

    engine: str
    model: str
    language: str | None
    language_probability: float | None
    segments: tuple[Segment, ...] = ()
    warnings: tuple[TranscriptWarning, ...] = ()

    @property
    def text(self) -> str:
        """The whole text, one line per segment."""
        return "\n".join(segment.text for segment in self.segments)

    @property
    def languages(self) -> tuple[str, ...]:
        """The spoken languages, each once, in the order of their first words."""
        spoken = (s.language or self.language for s in self.segments)
        return tuple(dict.fromkeys(language for language in spoken if language is not None))

    @property
    def word_count(self) -> int:
        """Number of recognized words."""
        return sum(len(segment.words) for segment in self.segments)

    @property
    def confidence(self) -> float | None:
        """Mean confidence of the segments, weighted by their length; None without segments."""
        known = [(s.confidence, s.end_s - s.start_s) for s in self.segments if s.confidence is not None]
        total = sum(duration for _, duration in known)
        return sum(confidence * duration for confidence, duration in known) / total if total > 0 else None

    @property
    def speakers(self) -> tuple[str, ...]:
        """Labels of the speakers, each once, in the order of their first words."""
        return tuple(dict.fromkeys(s.speaker for s in self.segments if s.speaker is not None))

    @property
    def reason(self) -> str | None:
        """Reason code if there is no text."""
        reasons = (WarningCode.NO_SPEECH, WarningCode.UNSUPPORTED_LANGUAGE)
        return next((w.code.value for w in self.warnings if w.code in reasons), None)

    def with_warnings(self, *warnings: TranscriptWarning) -> "Transcript":
        """Return the transcript with more warnings."""
        return replace(self, warnings=(*self.warnings, *warnings))


def mean_confidence(words: Iterable[Word]) -> float | None:
    """Return the mean of the words that have a confidence; None if none has."""
    known = [word.confidence for word in words if word.confidence is not None]
    return math.fsum(known) / len(known) if known else None


def join_words(words: Iterable[Word]) -> str:
    """Return the words as one line: with spaces, except before words that have none."""
    line = ""
    for word in words:
        line += word.text if not line or word.is_spaced is False else f" {word.text}"
    return line


def clip_word(word: Word, *, duration_s: float) -> Word:
    """Return the word with times inside the recording, in order, and at most `MAX_WORD_S` apart."""
    if word.start_s is None or word.end_s is None:
        return word
    start = min(max(word.start_s, 0.0), duration_s)
    end = min(max(word.end_s, start), duration_s, start + MAX_WORD_S)
    return replace(word, start_s=round(start, 3), end_s=round(end, 3))


def put_in_order(segments: Sequence[Segment]) -> list[Segment]:
    """Return the segments with times that never run backwards and never overlap, in the order of the text.

    Engines report words in the order in which they are spoken, but sometimes with a wrong time. The times of
    most words agree with that order; those of the others are estimated from their neighbors.
    """
    timed = [word for segment in segments for word in segment.words if word.start_s is not None]
    starts = _make_ascending([word.start_s or 0.0 for word in timed])
    placed = iter(_widen([_place_word(word, starts, number) for number, word in enumerate(timed)]))
    ordered: list[Segment] = []
    free_s = 0.0
    for segment in segments:
        words = tuple(word if word.start_s is None else next(placed) for word in segment.words)
        known = [word for word in words if word.start_s is not None]
        start_s = known[0].start_s or 0.0 if known else max(segment.start_s, free_s)
        end_s = known[-1].end_s or start_s if known else segment.end_s
        free_s = max(start_s, end_s)
        ordered.append(replace(segment, words=words, start_s=start_s, end_s=free_s))
    next_s = math.inf
    for number in reversed(range(len(ordered))):
        segment = ordered[number]
        start_s = min(segment.start_s, next_s)
        ordered[number] = replace(segment, start_s=start_s, end_s=min(segment.end_s, next_s))
        next_s = start_s
    return ordered


def _place_word(word: Word, starts: Sequence[float], number: int) -> Word:
    """Return a timed word with its start in order, ending before the next one starts."""
    start_s = starts[number]
    end_s = max(start_s, start_s if word.end_s is None else word.end_s)
    if number + 1 < len(starts):
        end_s = min(end_s, starts[number + 1])
    return replace(word, start_s=start_s, end_s=end_s)


def _widen(words: list[Word]) -> list[Word]:
    """Return the words, in the order of time, with those of no length widened to `MIN_WORD_S` where possible.

    They take the time first from the gap after them, then from the gap before them, then from longer words
    next to them.
    """
    spans = [(word.start_s or 0.0, word.end_s or word.start_s or 0.0) for word in words]
    first = 0
    while first < len(spans):
        end = first
        while end < len(spans) and _is_short(spans[end]) and spans[end][0] - spans[first][0] < MIN_WORD_S:
            end += 1
        if end > first:
            _widen_run(spans, first, end)
        first = max(end, first + 1)
    return [
        replace(word, start_s=round(start_s, 3), end_s=round(end_s, 3))
        for word, (start_s, end_s) in zip(words, spans, strict=True)
    ]


def _is_short(span: tuple[float, float]) -> bool:
    return span[1] - span[0] < MIN_WORD_S - 1e-6


def _widen_run(spans: list[tuple[float, float]], first: int, end: int) -> None:
    """Share the time around consecutive short words equally between them.

    Args:
        spans: Start and end of all words; those of the run and their neighbors are changed.
        first: Index of the first word of the run.
        end: Index of the word after the last one.
    """
    wanted_s = (end - first) * MIN_WORD_S
    before_s = spans[first - 1][1] if first else 0.0
    from_s, to_s = spans[first][0], spans[end - 1][1]
    # After the last word, the recording may end.
    after_s = spans[end][0] if end < len(spans) else to_s
    to_s = min(max(to_s, from_s + wanted_s), max(after_s, to_s))
    from_s = max(before_s, min(from_s, to_s - wanted_s))
    if end < len(spans) and spans[end][0] <= to_s:
        start_s, end_s = spans[end]
        to_s += min(wanted_s - (to_s - from_s), max(end_s - start_s - MIN_WORD_S, 0.0))
        spans[end] = (max(start_s, to_s), end_s)
    if first and before_s >= from_s:
        start_s, end_s = spans[first - 1]
        from_s -= min(wanted_s - (to_s - from_s), max(end_s - start_s - MIN_WORD_S, 0.0))
        spans[first - 1] = (start_s, min(end_s, from_s))
    borders = [from_s + (to_s - from_s) * number / (end - first) for number in range(end - first + 1)]
    spans[first:end] = pairwise(borders)


def _make_ascending(times: Sequence[float]) -> list[float]:
    """Return the times with those interpolated that are not in ascending order with most of the others."""
    kept = _longest_ascending(times)
    ascending = list(times)
    for left, right in zip([None, *kept], [*kept, None], strict=True):
        if left is None or right is None:
            # Outside the known times there is nothing to interpolate.
            anchor = left if right is None else right
            outside = range(right or 0) if left is None else range(left + 1, len(times))
            for number in outside:
                ascending[number] = times[anchor] if anchor is not None else 0.0
            continue
        for number in range(left + 1, right):
            share = (number - left) / (right - left)
            between = round(times[left] + share * (times[right] - times[left]), 3)
            ascending[number] = min(max(between, times[left]), times[right])
    return ascending


def _longest_ascending(times: Sequence[float]) -> list[int]:
    """Return the indices of the longest subsequence that never descends."""
    ends: list[float] = []
    last: list[int] = []
    before: list[int | None] = []
    for number, time in enumerate(times):
        length = bisect_right(ends, time)
        before.append(last[length - 1] if length else None)
        ends[length : length + 1] = [time]
        last[length : length + 1] = [number]
    found: list[int] = []
    previous = last[-1] if last else None
    while previous is not None:
        found.append(previous)
        previous = before[previous]
    return found[::-1]
