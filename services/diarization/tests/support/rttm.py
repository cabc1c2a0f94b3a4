"""Reads RTTM, which the service only writes."""

from phonograph_diarization.domain.diarization import Turn

_FIELDS_NEEDED = 8


def from_rttm(text: str) -> dict[str, list[Turn]]:
    """Return the turns of each recording; other kinds of lines and comments are skipped.

    Raises:
        ValueError: If a `SPEAKER` line is too short or has no times; the message names the line.
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
            raise ValueError(
                f"Line {number} is not RTTM: {line!r}; "
                "expected `SPEAKER <recording> <channel> <start> <duration> <NA> <NA> <speaker>`."
            ) from error
        turn = Turn(start, round(start + duration, 6), fields[7])
        recordings.setdefault(fields[1], []).append(turn)
    return recordings
