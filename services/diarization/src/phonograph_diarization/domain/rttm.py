"""RTTM, the exchange format of speaker turns (NIST RT-09, appendix A)."""

from collections.abc import Iterable

from phonograph_diarization.domain.diarization import Turn
from phonograph_diarization.exceptions import BadRttmError

_FIELDS_NEEDED = 8


def to_rttm(turns: Iterable[Turn], recording: str) -> str:
    """One `SPEAKER` line for each turn; white space in names becomes `_`, as fields are split at it."""
    name = _field(recording)
    return "".join(
        f"SPEAKER {name} 1 {turn.start:.3f} {turn.end - turn.start:.3f} "
        f"<NA> <NA> {_field(turn.speaker)} <NA> <NA>\n"
        for turn in turns
    )


def from_rttm(text: str) -> dict[str, list[Turn]]:
    """The turns of each recording; other kinds of lines and comments are left out.

    Raises:
        BadRttmError: a `SPEAKER` line that is too short or has no times; the message names the line.
    """
    recordings: dict[str, list[Turn]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            if len(fields) < _FIELDS_NEEDED:
                raise ValueError("too few fields")
            start, duration = float(fields[3]), float(fields[4])
        except ValueError as error:
            raise BadRttmError(
                f"Line {number} is not RTTM: {line!r}; "
                "expected `SPEAKER <recording> <channel> <start> <duration> <NA> <NA> <speaker>`."
            ) from error
        turn = Turn(start, round(start + duration, 6), fields[7])
        recordings.setdefault(fields[1], []).append(turn)
    return recordings


def _field(value: str) -> str:
    return "_".join(value.split()) or "_"
