"""Detection of audio that is not music, and the choice between two estimates of a key."""

from dataclasses import dataclass

from phonograph_analysis import constants
from phonograph_analysis.domain.results import Key, Reason


@dataclass(frozen=True, slots=True)
class KeyEstimate:
    """The key that fits one profile best."""

    profile: str
    """Name of the key profile."""
    key: str
    """Tonic, as in `Key`."""
    scale: str
    """`major` or `minor`."""
    strength: float
    """Correlation with the profile, up to 1."""


@dataclass(frozen=True, slots=True)
class Texture:
    """Measures of audio that separate music, speech and noise without knowledge of notes or words."""

    flatness: float
    """Spectral flatness within third octaves in the median frame: 0 for tones, about 0.6 for noise."""
    chroma_spread: float
    """Standard deviation of the mean pitch-class profile, whose mean is 1."""
    pauses: float
    """Share of frames well below the mean level."""

    @property
    def is_noisy(self) -> bool:
        """Whether no pitch stands out, as in noise, but in drums as well."""
        return self.flatness >= constants.FLATNESS_MAX

    @property
    def is_speech_like(self) -> bool:
        """Whether it resembles a speaking voice; audio with a pulse rarely does."""
        return (
            not self.is_noisy
            and self.pauses >= constants.PAUSES_MIN
            and self.chroma_spread < constants.CHROMA_SPREAD_SUNG
        )

    @property
    def is_tonal(self) -> bool:
        """Whether at least three pitch classes are used more than others."""
        return not self.is_noisy and (
            constants.CHROMA_SPREAD_MIN <= self.chroma_spread <= constants.CHROMA_SPREAD_MAX
        )


def detect_non_music(texture: Texture, *, has_tempo: bool) -> Reason | None:
    """Return why audio is not music, or None if it is; audio with a tempo always is."""
    if has_tempo:
        return None
    if texture.is_noisy:
        return Reason.NOISE
    return Reason.SPEECH if texture.is_speech_like else None


def choose_key(first: KeyEstimate, second: KeyEstimate, texture: Texture) -> Key | Reason:
    """Return the key by two profiles, or the reason why there is none.

    If the profiles agree, the strength is that of the first. If they differ, the stronger one wins, and its
    strength must reach a higher limit.

    Args:
        first: Estimate by the preferred profile.
        second: Estimate by the other profile.
        texture: Texture of the audio.
    """
    if not texture.is_tonal:
        return Reason.NOT_TONAL
    agree = (first.key, first.scale) == (second.key, second.scale)
    winner = first if agree or first.strength >= second.strength else second
    if winner.strength < (constants.KEY_STRENGTH_MIN if agree else constants.KEY_STRENGTH_DISPUTED):
        return Reason.AMBIGUOUS_KEY
    return Key(
        key=winner.key,
        scale=winner.scale,
        strength=round(min(winner.strength, 1.0), 3),
        profile=winner.profile,
        profiles_agree=agree,
    )
