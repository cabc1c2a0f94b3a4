"""The root of every error that Phonograph raises, and its two main branches.

`phonograph_runtime.errors` draws the whole tree.
"""

from typing import Any


class PhonographError(Exception):
    """A failure with a reason code for programs and a sentence for people."""

    reason: str = "error"
    """Reason code: the default of the class, which an instance may replace."""

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        """Create the error.

        Args:
            message: What was wrong, with which input, and what to do.
            reason: Reason code; the default of the class if None.
        """
        super().__init__(message)
        self.message = message
        self.reason = reason or self.reason

    def to_logging_context(self) -> dict[str, Any]:
        """Return the error as fields of a log line."""
        return {"reason": self.reason, "error": self.message}


class PermanentError(PhonographError):
    """Trying again with the same input fails again: park the event, fail the job."""

    reason = "permanent"


class TransientError(PhonographError):
    """Trying again later may succeed."""

    reason = "transient"
