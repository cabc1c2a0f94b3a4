"""A transcript: segments of words, with times, confidence and what a reader should know."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

MAX_WORD_S = 3.0
"""No spoken word is longer; recognisers stretch the last word before a silence."""


class WarningCode(StrEnum):
    """What can be said about a transcript besides its text."""

    NO_SPEECH = "no_speech"
    UNSUPPORTED_LANGUAGE = "unsupported_language"
    ENGINE_FALLBACK = "engine_fallback"
    REPETITION = "repetition"
    INVENTED_TEXT = "invented_text"
    NO_SPEAKERS = "no_speakers"
    UNKNOWN_SPEAKER = "unknown_speaker"


@dataclass(frozen=True, slots=True)
class TranscriptWarning:
    """A warning; `segment` is an index into the segments."""

    code: WarningCode
    message: str
    segment: int | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """A recognised word; times in seconds from the start of the file, null where unknown."""

    text: str
    start_s: float | None
    end_s: float | None
    confidence: float | None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech by one speaker, or of unknown speaker."""

    start_s: float
    end_s: float
    text: str
    words: tuple[Word, ...] = ()
    confidence: float | None = None
    """From 0 to 1; where the engine has none of its own, the mean of its words'."""
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, and which engine heard it."""

    engine: str
    model: str
    language: str | None
    language_probability: float | None
    segments: tuple[Segment, ...] = ()
    warnings: tuple[TranscriptWarning, ...] = ()

    @property
    def text(self) -> str:
        """Everything, one line a segment."""
        return "\n".join(segment.text for segment in self.segments)

    @property
    def word_count(self) -> int:
        """Number of recognised words."""
        return sum(len(segment.words) for segment in self.segments)

    @property
    def confidence(self) -> float | None:
        """Mean confidence of the segments, weighted by their length; null without segments."""
        known = [(s.confidence, s.end_s - s.start_s) for s in self.segments if s.confidence is not None]
        total = sum(duration for _, duration in known)
        return sum(confidence * duration for confidence, duration in known) / total if total > 0 else None

    @property
    def speakers(self) -> tuple[str, ...]:
        """Labels of the speakers, each once, in the order of their first words."""
        return tuple(dict.fromkeys(s.speaker for s in self.segments if s.speaker is not None))

    @property
    def reason(self) -> str | None:
        """Why there is no text."""
        reasons = (WarningCode.NO_SPEECH, WarningCode.UNSUPPORTED_LANGUAGE)
        return next((w.code.value for w in self.warnings if w.code in reasons), None)

    def with_warnings(self, *warnings: TranscriptWarning) -> "Transcript":
        """The same with more warnings."""
        return replace(self, warnings=(*self.warnings, *warnings))


def mean_confidence(words: Iterable[Word]) -> float | None:
    """Mean of the words that have a confidence; null when none has."""
    known = [word.confidence for word in words if word.confidence is not None]
    return math.fsum(known) / len(known) if known else None


def bounded(word: Word, *, duration_s: float) -> Word:
    """The word inside the recording, in order, and no longer than `MAX_WORD_S`."""
    if word.start_s is None or word.end_s is None:
        return word
    start = min(max(word.start_s, 0.0), duration_s)
    end = min(max(word.end_s, start), duration_s, start + MAX_WORD_S)
    return replace(word, start_s=round(start, 3), end_s=round(end, 3))
