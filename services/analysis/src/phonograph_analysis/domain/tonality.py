"""Detection of audio that is not music, and keys from two estimates of each stretch."""

import cmath
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from phonograph_analysis import constants
from phonograph_analysis.domain.results import Key, KeySection, Reason

CONCERT_PITCH_HZ = 440.0
TUNING_AGREEMENT_MIN = 0.15
PITCH_CLASSES = {
    name: number for number, names in enumerate(
        ("C", "C# Db", "D", "D# Eb", "E", "F", "F# Gb", "G", "G# Ab", "A", "A# Bb", "B")
    ) for name in names.split()
}  # fmt: skip


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


def to_tuning_hz(direction: complex) -> float | None:
    """Return the frequency of the A above middle C, or None if the partials do not agree on one.

    Args:
        direction: Mean direction of the partials on a circle of one semitone.
    """
    if abs(direction) < TUNING_AGREEMENT_MIN:
        return None
    semitones = cmath.phase(direction) / (2 * cmath.pi)
    return round(CONCERT_PITCH_HZ * 2 ** (semitones / 12), 2)


def to_camelot(key: str, scale: str) -> str:
    """Return the place of a key on the Camelot wheel: `8B` is C major, `8A` A minor."""
    return f"{(_fifths(key, scale) + 7) % 12 + 1}{'B' if scale == 'major' else 'A'}"


def to_open_key(key: str, scale: str) -> str:
    """Return a key in Open Key notation: `1d` is C major, `1m` A minor."""
    return f"{_fifths(key, scale) % 12 + 1}{'d' if scale == 'major' else 'm'}"


def _fifths(key: str, scale: str) -> int:
    """Return how many fifths the key, or the relative major of a minor one, is above C."""
    tonic = PITCH_CLASSES[key] + (3 if scale == "minor" else 0)
    return tonic * 7 % 12


def join_keys(windows: Sequence[tuple[float, float, Key | Reason]]) -> tuple[KeySection, ...]:
    """Return the sections of windows in order of time; one window between two of another key is a mistake.

    Args:
        windows: Start, end in seconds from the start of the file, and key of each.
    """
    names = [(key.key, key.scale) if isinstance(key, Key) else None for _, _, key in windows]
    for number in range(1, len(names) - 1):
        if names[number - 1] is not None and names[number - 1] == names[number + 1]:
            names[number] = names[number - 1]
    sections: list[KeySection] = []
    for (start_s, end_s, _), name in zip(windows, names, strict=True):
        if name is None:
            continue
        last = sections[-1] if sections else None
        if last is not None and (last.key, last.scale) == name and last.end_s == start_s:
            sections[-1] = replace(last, end_s=end_s)
        else:
            sections.append(KeySection(start_s, end_s, *name))
    return tuple(sections)


def combine_keys(parts: Iterable[tuple[float, Key | Reason]]) -> Key | Reason:
    """Return the key that most of a recording has.

    Args:
        parts: Length in seconds and key of each part; at least one.
    """
    lengths_s: dict[tuple[str, str] | Reason, float] = defaultdict(float)
    strongest: dict[tuple[str, str] | Reason, Key | Reason] = {}
    for length_s, key in parts:
        name = (key.key, key.scale) if isinstance(key, Key) else key
        lengths_s[name] += length_s * (key.strength if isinstance(key, Key) else 1.0)
        best = strongest.get(name)
        if best is None or (isinstance(key, Key) and isinstance(best, Key) and key.strength > best.strength):
            strongest[name] = key
    keys = [name for name in lengths_s if not isinstance(name, Reason)]
    return strongest[max(keys or lengths_s, key=lengths_s.__getitem__)]
