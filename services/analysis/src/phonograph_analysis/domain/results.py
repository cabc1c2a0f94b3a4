"""What is known about the music of a file, and why the rest is not."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Self

TEMPO_FIELDS: Final = ("bpm", "bpm_confidence", "bpm_candidates", "beats")
KEY_FIELDS: Final = ("key", "scale", "key_strength")
DANCEABILITY_FIELD: Final = "danceability"
LOUDNESS_FIELD: Final = "loudness_lufs"
TIMBRE_FIELDS: Final = ("timbre_mean", "timbre_variance")


class Reason(StrEnum):
    """Why a value is null."""

    SILENCE = "silence"
    """Nothing sounds."""
    NOISE = "noise"
    """It sounds, but no pitch and no pulse stand out."""
    SPEECH = "speech"
    """A voice that speaks: no pulse, no steady pitches, pauses between words."""
    TOO_SHORT = "too_short"
    """Less than five seconds sound."""
    NO_STEADY_BEAT = "no_steady_beat"
    """It is not noise, but no regular beat stands out."""
    NOT_TONAL = "not_tonal"
    """The pitch classes are as evenly used as in noise or drums, or only one or two sound at all."""
    AMBIGUOUS_KEY = "ambiguous_key"
    """It has pitches, but they fit no key well."""


@dataclass(frozen=True, slots=True)
class Tempo:
    """A steady tempo."""

    bpm: float
    """Beats per minute, 40 to 250."""
    confidence: float
    """0 to 1: agreement of the engine's five beat trackers, of the most they can reach."""
    candidates: tuple[float, ...]
    """Half, same and double tempo, ascending, those within 40 to 250: listeners differ by octaves."""
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
    """The profile that won: the first where both agree, else the stronger."""
    agreed: bool
    """Whether both profiles name this key."""


@dataclass(frozen=True, slots=True)
class Timbre:
    """MFCC over the frames that sound, at a level normalised to -20 dBFS: 13 coefficients."""

    mean: tuple[float, ...]
    variance: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MusicAnalysis:
    """Everything measured on one file; `reasons` has a word for every value that is null."""

    engine: str
    algorithm_build: str
    tempo: Tempo | None = None
    key: Key | None = None
    loudness_lufs: float | None = None
    """EBU R128 integrated loudness of the whole file; a mono file counts as one channel."""
    danceability: float | None = None
    """Detrended fluctuation analysis (Streich and Herrera 2005): 0 to about 3, higher dances better."""
    timbre: Timbre | None = None
    excerpt_start_s: float = 0.0
    """Where the stretch begins on which tempo, key, danceability and timbre were measured."""
    excerpt_end_s: float = 0.0
    reason: Reason | None = None
    """Why there is no music here at all."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Name of a null field, as in the result document, to the reason."""

    @property
    def first_reason(self) -> str | None:
        """One word for why there is nothing, or not all, in the result."""
        return self.reason or next(iter(self.reasons.values()), None)

    def without_music(self, reason: Reason, *more: str) -> Self:
        """The same, with one reason for all that music would have, and for `more` fields."""
        fields = (*TEMPO_FIELDS, *KEY_FIELDS, DANCEABILITY_FIELD, *more)
        return replace(self, reason=reason, reasons=dict.fromkeys(fields, reason.value))


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished analysis and where its full document lies."""

    analysis: MusicAnalysis
    document_uri: str
