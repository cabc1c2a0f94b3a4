"""The error of a file that cannot be used, with a reason code for programs and a sentence for people."""

from pathlib import Path
from typing import Literal

from phonograph_events.errors import PermanentError

Reason = Literal[
    "missing",
    "empty",
    "directory",
    "unreadable",
    "bad_name",
    "not_media",
    "no_audio",
    "not_video",
    "truncated",
    "unsupported",
]


class MediaError(PermanentError):
    """A file that cannot be probed, decoded or cut; the same file fails again."""

    reason: Reason = "unsupported"

    def __init__(self, message: str, *, reason: Reason) -> None:
        """Create the error.

        Args:
            message: The file, what is wrong with it and what to do.
            reason: Reason code.
        """
        super().__init__(message, reason=reason)


def display_name(path: Path) -> str:
    """Return the file name for a message, in valid UTF-8; other bytes are shown as U+FFFD."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
