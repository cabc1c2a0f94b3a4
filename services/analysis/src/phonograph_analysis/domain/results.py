"""The analysis of a recording: its music features, and reasons for those that are missing."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Self

TEMPO_FIELDS: Final = ("bpm", "bpm_confidence", "bpm_candidates", "tempo_sections", "beats")
BAR_FIELDS: Final = ("beats_per_bar", "downbeats")
KEY_FIELDS: Final = ("key", "scale", "key_strength", "camelot", "open_key", "key_sections")
TUNING_FIELD: Final = "tuning_hz"
DANCEABILITY_FIELD: Final = "danceability"
LOUDNESS_FIELDS: Final = ("loudness_lufs", "loudness_range_lu", "true_peak_dbtp")
SOUND_FIELDS: Final = (
    "onset_rate", "energy", "timbre_mean", "timbre_variance", "timbre_covariance", "spectrum_mean",
    "spectrum_covariance",
)  # fmt: skip
"""Fields that describe the sound itself, of music of any kind."""


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
    NO_CLEAR_BARS = "no_clear_bars"
    """No beat in three or four is accented more than the others."""
    NOT_TONAL = "not_tonal"
    """The pitch classes are as evenly used as in noise or drums, or only one or two are used at all."""
    AMBIGUOUS_TUNING = "ambiguous_tuning"
    """It has a key, but its partials agree on no tuning."""
    AMBIGUOUS_KEY = "ambiguous_key"
    """It has pitches, but they fit no key well enough."""


@dataclass(frozen=True, slots=True)
class TempoSection:
    """A stretch of one tempo; times in seconds from the start of the file."""

    start_s: float
    end_s: float
    bpm: float


@dataclass(frozen=True, slots=True)
class Tempo:
    """The tempo of a recording, which may change."""

    bpm: float
    """Beats per minute, 40 to 250; that at which most of the time is spent."""
    confidence: float
    """0 to 1: agreement of the engine's five beat trackers, relative to the largest possible."""
    candidates: tuple[float, ...]
    """The tempo times ½, ⅔, 1, 1½ and 2, ascending, if within 40 to 250: listeners differ by these."""
    sections: tuple[TempoSection, ...]
    """In order of time, without overlaps; gaps have no steady beat."""
    beats: tuple[float, ...]
    """Seconds from the start of the file."""
    needs_review: bool
    """Whether the evidence is thin: a person should check the tempo."""


@dataclass(frozen=True, slots=True)
class Bars:
    """The bars of music whose first beats are accented."""

    beats_per_bar: int
    """3 or 4."""
    downbeats: tuple[float, ...]
    """First beat of each bar, in seconds from the start of the file."""


@dataclass(frozen=True, slots=True)
class KeySection:
    """A stretch of one key; times in seconds from the start of the file."""

    start_s: float
    end_s: float
    key: str
    scale: str


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
    sections: tuple[KeySection, ...] = ()
    """In order of time, without overlaps; gaps have no clear key."""


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Mean and covariance of features over the audible frames, at a level normalized to -20 dBFS."""

    mean: tuple[float, ...]
    """Shape (features,)."""
    covariance: tuple[tuple[float, ...], ...]
    """Shape (features, features), symmetric."""

    @property
    def variance(self) -> tuple[float, ...]:
        """The diagonal of the covariance."""
        return tuple(row[number] for number, row in enumerate(self.covariance))


@dataclass(frozen=True, slots=True)
class MusicAnalysis:
    """All measurements on one file; `reasons` has a code for each value that is missing."""

    engine: str
    algorithm_build: str
    tempo: Tempo | None = None
    bars: Bars | None = None
    key: Key | None = None
    tuning_hz: float | None = None
    """Frequency of the A above middle C to which the music is tuned."""
    loudness_lufs: float | None = None
    """EBU R128 integrated loudness of the whole file; a mono file counts as one channel."""
    loudness_range_lu: float | None = None
    """EBU Tech 3342 loudness range; None if nothing is long enough for it."""
    true_peak_dbtp: float | None = None
    """ITU-R BS.1770 true peak of the loudest channel."""
    onset_rate: float | None = None
    """Onsets per second of sound."""
    energy: float | None = None
    """0 to 1: mean of the loudness from -30 to -6 LUFS and of the onset rate from 0 to 8 per second."""
    danceability: float | None = None
    """Detrended fluctuation analysis (Streich and Herrera 2005): 0 to about 3; more is easier to dance to."""
    timbre: FeatureStatistics | None = None
    """13 MFCC."""
    spectrum: FeatureStatistics | None = None
    """Centroid, spread and rolloff in kHz, flatness, and the share of energy in six octaves from 125 Hz."""
    excerpt_start_s: float = 0.0
    """First audible moment: everything but the loudness is measured from here."""
    excerpt_end_s: float = 0.0
    """Last audible moment."""
    reason: Reason | None = None
    """Reason if there is no music at all."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Name of a missing field, as in the result document, to its reason."""

    @property
    def first_reason(self) -> str | None:
        """The reason why there is no music, else that of the first missing field; None if none is missing.

        Bars and tuning do not count: most music has no clear ones.
        """
        expected = (
            reason for name, reason in self.reasons.items() if name not in (*BAR_FIELDS, TUNING_FIELD)
        )
        return self.reason or next(expected, None)

    def without_music(self, reason: Reason, *more: str) -> Self:
        """Return a copy with one reason for all features of music, and for further fields.

        Args:
            reason: Why there is no music.
            more: Names of fields that are missing as well.
        """
        fields = (*TEMPO_FIELDS, *BAR_FIELDS, *KEY_FIELDS, TUNING_FIELD, DANCEABILITY_FIELD, *more)
        return replace(self, reason=reason, reasons=dict.fromkeys(fields, reason.value))


@dataclass(frozen=True, slots=True)
class StoredAnalysis:
    """An analysis whose document is in the object store."""

    analysis: MusicAnalysis
    document_uri: str
