"""RTTM, the exchange format of speaker turns (NIST RT-09, appendix A)."""

from collections.abc import Iterable

from phonograph_diarization.domain.diarization import Turn


def to_rttm(turns: Iterable[Turn], recording: str) -> str:
    """Return one `SPEAKER` line for each turn; white space in names becomes `_`, as it separates fields."""
    name = _field(recording)
    return "".join(
        f"SPEAKER {name} 1 {turn.start_s:.3f} {turn.end_s - turn.start_s:.3f} "
        f"<NA> <NA> {_field(turn.speaker)} <NA> <NA>\n"
        for turn in turns
    )


def _field(value: str) -> str:
    return "_".join(value.split()) or "_"
