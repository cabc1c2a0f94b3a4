"""What can go wrong in the catalogue, split by what the caller should do."""

from phonograph_runtime.errors import PermanentError


class BadCueError(PermanentError):
    """A cue sheet that cannot be read; `line` counts from 1, null where the whole sheet is meant."""

    reason = "bad_cue"

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message if line is None else f"Line {line}: {message}")
        self.line = line


class BadMetadataError(PermanentError):
    """A metadata value that does not fit its type."""

    reason = "bad_metadata"
