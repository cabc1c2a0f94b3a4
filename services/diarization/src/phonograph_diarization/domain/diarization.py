"""The turns of the speakers in a recording, and the voiceprint of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.constants import NO_SPEECH
from phonograph_diarization.exceptions import BadOptionsError


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker talking; times in seconds from the start of the recording."""

    start_s: float
    end_s: float
    speaker: str


@dataclass(frozen=True, slots=True, eq=False)
class Voiceprint:
    """A vector that characterizes a voice; only vectors of one model can be compared."""

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
    speech_s: float
    """Total length of the speaker's turns in seconds."""
    voiceprint: Voiceprint | None
    """None if the engine had too little speech for one."""


class WarningCode(StrEnum):
    """Codes of warnings for the readers of a result."""

    ENGINE_FALLBACK = "engine_fallback"


@dataclass(frozen=True, slots=True)
class DiarizationWarning:
    """A problem that readers of the result should know of."""

    code: WarningCode
    message: str


@dataclass(frozen=True, slots=True)
class Diarization:
    """The turns in order of time; speakers are S1, S2, … in order of appearance."""

    turns: tuple[Turn, ...]
    """Turns of different speakers overlap where they talk at once, if the engine hears that."""
    exclusive: tuple[Turn, ...]
    """The same with one speaker at each moment; equal to `turns` if nothing overlaps."""
    voices: tuple[SpeakerVoice, ...]
    engine: str
    model: str
    reason: str | None = None
    """Reason code if there are no turns."""
    warnings: tuple[DiarizationWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class SpeakerBounds:
    """Limits of the number of speakers; `maximum` None means no upper limit.

    Raises:
        BadOptionsError: If no number is within them.
    """

    minimum: int = 1
    maximum: int | None = None

    def __post_init__(self) -> None:
        if self.minimum < 1 or (self.maximum is not None and self.maximum < self.minimum):
            raise BadOptionsError(
                f"No number of speakers is within {self.minimum} and {self.maximum}; "
                "set min_speakers ≥ 1 and max_speakers ≥ min_speakers."
            )

    @classmethod
    def from_options(cls, exact: int | None, minimum: int | None, maximum: int | None) -> "SpeakerBounds":
        """Return the bounds that a producer's options ask for.

        Args:
            exact: Option `speakers`.
            minimum: Option `min_speakers`.
            maximum: Option `max_speakers`.

        Raises:
            BadOptionsError: If the options contradict each other.
        """
        bounds = cls(minimum or 1, maximum)
        if exact is None:
            return bounds
        if exact < bounds.minimum or (maximum is not None and exact > maximum):
            raise BadOptionsError(
                f"speakers={exact} is outside min_speakers={minimum}, max_speakers={maximum}; "
                "omit one of them."
            )
        return cls(exact, exact)

    @property
    def exact(self) -> int | None:
        """The number of speakers if only one is possible, else None."""
        return self.minimum if self.minimum == self.maximum else None


def label_by_appearance(turns: Iterable[Turn]) -> tuple[tuple[Turn, ...], dict[str, str]]:
    """Order turns by time and label the speakers S1, S2, … as they appear.

    Returns:
        The turns, and the label of each of the original names.
    """
    ordered = sorted(turns, key=lambda turn: (turn.start_s, turn.end_s, turn.speaker))
    labels: dict[str, str] = {}
    for turn in ordered:
        labels.setdefault(turn.speaker, f"S{len(labels) + 1}")
    return tuple(replace(turn, speaker=labels[turn.speaker]) for turn in ordered), labels


def close_gaps(turns: Iterable[Turn], *, max_gap_s: float) -> list[Turn]:
    """Join consecutive turns of one speaker that are at most `max_gap_s` apart; `turns` are in order."""
    closed: list[Turn] = []
    for turn in turns:
        last = closed[-1] if closed else None
        if last is not None and last.speaker == turn.speaker and turn.start_s - last.end_s <= max_gap_s:
            closed[-1] = replace(last, end_s=max(last.end_s, turn.end_s))
        else:
            closed.append(turn)
    return closed


def build_diarization(
    turns: Iterable[Turn],
    voiceprints: Mapping[str, Voiceprint],
    *,
    engine: str,
    model: str,
    exclusive: Iterable[Turn] | None = None,
) -> Diarization:
    """Return the result for an engine's turns and voiceprints; empty turns are dropped.

    Args:
        turns: Turns in any order, with the engine's own names of the speakers.
        voiceprints: Voiceprints by the same names; speakers may lack one.
        engine: Name of the engine.
        model: Name of its model.
        exclusive: Turns with one speaker at each moment; None if those of `turns` do not overlap.
    """
    labeled, labels = label_by_appearance(turn for turn in turns if turn.end_s > turn.start_s)
    speech_s = dict.fromkeys(labels.values(), 0.0)
    for turn in labeled:
        speech_s[turn.speaker] += turn.end_s - turn.start_s
    voices = tuple(
        SpeakerVoice(label, round(speech_s[label], 3), voiceprints.get(name))
        for name, label in labels.items()
    )
    if exclusive is None:
        alone = labeled
    else:
        known = (turn for turn in exclusive if turn.speaker in labels)
        ordered = sorted(known, key=lambda turn: (turn.start_s, turn.end_s))
        alone = tuple(replace(turn, speaker=labels[turn.speaker]) for turn in ordered)
    return Diarization(labeled, alone, voices, engine, model, None if labeled else NO_SPEECH)
