"""The analysis of a recording: its music features, and reasons for those that are missing."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Self

TEMPO_FIELDS: Final = ("bpm", "bpm_confidence", "bpm_candidates", "beats")
KEY_FIELDS: Final = ("key", "scale", "key_strength")
DANCEABILITY_FIELD: Final = "danceability"
LOUDNESS_FIELD: Final = "loudness_lufs"
TIMBRE_FIELDS: Final = ("timbre_mean", "timbre_variance")


class Reason(StrEnum):
    """Reason codes for missing values."""

    SILENCE = "silence"
    """Nothing is audible."""
    NOISE = "noise"
    """It is audible, but no pitch and no pulse stand out."""
    SPEECH = "speech"
    """A speaking voice: no pulse, no steady pitches, pauses between words."""
    TOO_SHORT = "too_short"
    """Less than five seconds are audible."""
    NO_STEADY_BEAT = "no_steady_beat"
    """It is not noise, but no regular beat stands out."""
    NOT_TONAL = "not_tonal"
    """The pitch classes are as evenly used as in noise or drums, or only one or two are used at all."""
    AMBIGUOUS_KEY = "ambiguous_key"
    """It has pitches, but they fit no key well enough."""


@dataclass(frozen=True, slots=True)
class Tempo:
    """A steady tempo."""

    bpm: float
    """Beats per minute, 40 to 250."""
    confidence: float
    """0 to 1: agreement of the engine's five beat trackers, relative to the largest possible."""
    candidates: tuple[float, ...]
    """Half, same and double tempo, ascending, if within 40 to 250: listeners differ by octaves."""
    beats: tuple[float, ...]
    """Seconds from the start of the file."""


@dataclass(frozen=True, slots=True)
class Key:
    """A musical key."""

    key: str
    """Tonic as essentia spells it: A, Bb, B, C, C#, D, Eb, E, F, F#, G, Ab."""
    scale: str
    """`major` or `minor`."""
    strength: float
    """0 to 1: correlation with the winning profile."""
    profile: str
    """The profile that won: the first if both agree, else the stronger."""
    profiles_agree: bool
    """Whether both profiles name this key."""


@dataclass(frozen=True, slots=True)
class Timbre:
    """Statistics of 13 MFCC over the audible frames, at a level normalized to -20 dBFS."""

    mean: tuple[float, ...]
    variance: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MusicAnalysis:
    """All measurements on one file; `reasons` has a code for each value that is missing."""

    engine: str
    algorithm_build: str
    tempo: Tempo | None = None
    key: Key | None = None
    loudness_lufs: float | None = None
    """EBU R128 integrated loudness of the whole file; a mono file counts as one channel."""
    danceability: float | None = None
    """Detrended fluctuation analysis (Streich and Herrera 2005): 0 to about 3; more is easier to dance to."""
    timbre: Timbre | None = None
    excerpt_start_s: float = 0.0
    """Start of the excerpt on which tempo, key, danceability and timbre were measured."""
    excerpt_end_s: float = 0.0
    """End of the excerpt."""
    reason: Reason | None = None
    """Reason if there is no music at all."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Name of a missing field, as in the result document, to its reason."""

    @property
    def first_reason(self) -> str | None:
        """The reason why there is no music, else that of the first missing field; None if none is missing."""
        return self.reason or next(iter(self.reasons.values()), None)

    def without_music(self, reason: Reason, *more: str) -> Self:
        """Return a copy with one reason for all features of music, and for further fields.

        Args:
            reason: Why there is no music.
            more: Names of fields that are missing as well.
        """
        fields = (*TEMPO_FIELDS, *KEY_FIELDS, DANCEABILITY_FIELD, *more)
        return replace(self, reason=reason, reasons=dict.fromkeys(fields, reason.value))


@dataclass(frozen=True, slots=True)
class StoredAnalysis:
    """An analysis whose document is in the object store."""

    analysis: MusicAnalysis
    document_uri: str
