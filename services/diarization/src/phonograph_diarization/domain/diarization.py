"""Who speaks when, and what each voice is like."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.exceptions import BadOptionsError


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker talking, in seconds from the start of the recording."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True, slots=True, eq=False)
class Voiceprint:
    """A vector that tells voices apart; only vectors of one model can be compared."""

    model_id: str
    vector: NDArray[np.float32]
    """Shape (dim,)."""

    @property
    def dim(self) -> int:
        """Length of the vector."""
        return self.vector.size


@dataclass(frozen=True, slots=True)
class SpeakerVoice:
    """A speaker of one recording."""

    label: str
    seconds: float
    """Time that the speaker talks."""
    voiceprint: Voiceprint | None
    """None where the engine had too little speech for one."""


@dataclass(frozen=True, slots=True)
class Diarization:
    """The turns in order of time; speakers are S1, S2, … in order of appearance."""

    turns: tuple[Turn, ...]
    voices: tuple[SpeakerVoice, ...]
    engine: str
    model: str
    reason: str | None = None
    """Why there are no turns."""


@dataclass(frozen=True, slots=True)
class SpeakerBounds:
    """How many speakers there may be; `maximum` None leaves it open.

    Raises:
        BadOptionsError: no number lies within them.
    """

    minimum: int = 1
    maximum: int | None = None

    def __post_init__(self) -> None:
        if self.minimum < 1 or (self.maximum is not None and self.maximum < self.minimum):
            raise BadOptionsError(
                f"There is no number of speakers from {self.minimum} to {self.maximum}; "
                "give min_speakers ≥ 1 and max_speakers ≥ min_speakers."
            )

    @classmethod
    def of(cls, exact: int | None, minimum: int | None, maximum: int | None) -> "SpeakerBounds":
        """Bounds from a producer's options.

        Raises:
            BadOptionsError: the options contradict each other.
        """
        bounds = cls(minimum or 1, maximum)
        if exact is None:
            return bounds
        if exact < bounds.minimum or (maximum is not None and exact > maximum):
            raise BadOptionsError(
                f"speakers={exact} lies outside min_speakers={minimum}, max_speakers={maximum}; "
                "leave one of them out."
            )
        return cls(exact, exact)

    @property
    def exact(self) -> int | None:
        """The number, where only one is possible."""
        return self.minimum if self.minimum == self.maximum else None


def by_appearance(turns: Iterable[Turn]) -> tuple[tuple[Turn, ...], dict[str, str]]:
    """Order turns by time and name the speakers S1, S2, … as they appear.

    Returns:
        The turns, and the new name of each old one.
    """
    ordered = sorted(turns, key=lambda turn: (turn.start, turn.end, turn.speaker))
    names: dict[str, str] = {}
    for turn in ordered:
        names.setdefault(turn.speaker, f"S{len(names) + 1}")
    return tuple(replace(turn, speaker=names[turn.speaker]) for turn in ordered), names


def joined(turns: Iterable[Turn], *, gap_s: float) -> list[Turn]:
    """Close gaps up to `gap_s` between two turns of one speaker with nobody else between them."""
    result: list[Turn] = []
    for turn in turns:
        last = result[-1] if result else None
        if last is not None and last.speaker == turn.speaker and turn.start - last.end <= gap_s:
            result[-1] = replace(last, end=max(last.end, turn.end))
        else:
            result.append(turn)
    return result


def diarization(
    turns: Iterable[Turn],
    voiceprints: Mapping[str, Voiceprint],
    *,
    engine: str,
    model: str,
    no_turns_reason: str,
) -> Diarization:
    """A result from an engine's turns and voiceprints, both under the engine's own speaker names."""
    named, names = by_appearance(turn for turn in turns if turn.end > turn.start)
    seconds = dict.fromkeys(names.values(), 0.0)
    for turn in named:
        seconds[turn.speaker] += turn.end - turn.start
    voices = tuple(
        SpeakerVoice(label, round(seconds[label], 3), voiceprints.get(name)) for name, label in names.items()
    )
    return Diarization(named, voices, engine, model, None if named else no_turns_reason)
