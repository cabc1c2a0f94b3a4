"""Why a file cannot be used: one exception with a reason word for programs and a sentence for people."""

from pathlib import Path
from typing import Literal

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


class MediaError(Exception):
    """A file that cannot be probed, decoded or cut.

    The same file gives the same error again: retrying is of no use.
    """

    reason: Reason
    """Word that programs act on."""
    message: str
    """Sentence that names the file and says what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def shown(path: Path) -> str:
    """File name for a message, always valid UTF-8: bytes that are not are shown as U+FFFD."""
    return path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
