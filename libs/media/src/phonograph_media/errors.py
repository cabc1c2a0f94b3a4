"""Why a file cannot be used: one exception with a reason word for programs and a sentence for people."""

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
    """A file that cannot be probed, decoded or cut: the same file fails again."""

    reason: Reason = "unsupported"

    def __init__(self, message: str, *, reason: Reason) -> None:
        """Create the error.

        Args:
            message: Names the file, says what is wrong with it and what to do.
            reason: Reason code.
        """
        super().__init__(message, reason=reason)


def shown(path: Path) -> str:
    """File name for a message, always valid UTF-8: bytes that are not are shown as U+FFFD."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
