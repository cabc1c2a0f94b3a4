"""A transcript: segments of words with times, confidence, and warnings for the reader."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

MAX_WORD_S = 3.0
"""No spoken word is longer; engines stretch the last word before a silence."""


class WarningCode(StrEnum):
    """Code of a warning."""

    NO_SPEECH = "no_speech"
    UNSUPPORTED_LANGUAGE = "unsupported_language"
    ENGINE_FALLBACK = "engine_fallback"
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


def clip_word(word: Word, *, duration_s: float) -> Word:
    """Return the word with times inside the recording, in order, and at most `MAX_WORD_S` apart."""
    if word.start_s is None or word.end_s is None:
        return word
    start = min(max(word.start_s, 0.0), duration_s)
    end = min(max(word.end_s, start), duration_s, start + MAX_WORD_S)
    return replace(word, start_s=round(start, 3), end_s=round(end, 3))
