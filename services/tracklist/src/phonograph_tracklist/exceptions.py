"""Errors of the tracklist service."""

from phonograph_runtime.errors import PermanentError


class BadCueError(PermanentError):
    """A cue sheet cannot be parsed."""

    reason = "bad_cue"

    def __init__(self, message: str, *, line: int | None = None) -> None:
        """Create the error.

        Args:
            message: What is wrong with the sheet.
            line: Number of the line, from 1; None if the whole sheet is meant.
        """
        super().__init__(message if line is None else f"Line {line}: {message}")
        self.line = line


class BadMetadataError(PermanentError):
    """A metadata value cannot be stored as text."""

    reason = "bad_metadata"
