"""Whether sound has a key, and which of two opinions on it counts."""

from dataclasses import dataclass

from phonograph_analysis import constants
from phonograph_analysis.domain.result import Key, Reason


@dataclass(frozen=True, slots=True)
class KeyOpinion:
    """The key that fits best by one profile."""

    profile: str
    key: str
    scale: str
    strength: float


@dataclass(frozen=True, slots=True)
class Texture:
    """What tells music, speech and noise apart without knowing notes or words."""

    flatness: float
    """Spectral flatness within third octaves in the median frame: 0 for tones, about 0.6 for noise."""
    chroma_spread: float
    """Standard deviation of the mean pitch-class profile, whose mean is 1."""
    pauses: float
    """Share of frames well below the mean level."""

    @property
    def noisy(self) -> bool:
        """Whether no pitch stands out: noise, but drums as well."""
        return self.flatness >= constants.FLATNESS_MAX

    @property
    def spoken(self) -> bool:
        """Whether it sounds like a voice that speaks. True of little that has a pulse."""
        return (
            not self.noisy
            and self.pauses >= constants.PAUSES_MIN
            and self.chroma_spread < constants.CHROMA_SPREAD_SUNG
        )

    @property
    def tonal(self) -> bool:
        """Whether some pitch classes, three at least, are used more than others."""
        return not self.noisy and (
            constants.CHROMA_SPREAD_MIN <= self.chroma_spread <= constants.CHROMA_SPREAD_MAX
        )


def not_music(texture: Texture, *, has_tempo: bool) -> Reason | None:
    """Why a sound is no music: a pulse always makes it music."""
    if has_tempo:
        return None
    if texture.noisy:
        return Reason.NOISE
    return Reason.SPEECH if texture.spoken else None


def choose_key(first: KeyOpinion, second: KeyOpinion, texture: Texture) -> Key | Reason:
    """The key that two profiles give, or why there is none.

    Where both agree the first one's strength counts. Where they differ the stronger wins, but it must be
    stronger than an undisputed one.
    """
    if not texture.tonal:
        return Reason.NOT_TONAL
    agreed = (first.key, first.scale) == (second.key, second.scale)
    winner = first if agreed or first.strength >= second.strength else second
    if winner.strength < (constants.KEY_STRENGTH_MIN if agreed else constants.KEY_STRENGTH_DISPUTED):
        return Reason.AMBIGUOUS_KEY
    return Key(
        key=winner.key,
        scale=winner.scale,
        strength=round(min(winner.strength, 1.0), 3),
        profile=winner.profile,
        agreed=agreed,
    )
