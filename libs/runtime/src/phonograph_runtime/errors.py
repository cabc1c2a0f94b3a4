"""The two kinds of failure, split by what the caller should do."""

from typing import Any


class _ServiceError(Exception):
    """A failure with a reason word for machines and a sentence for people."""

    reason: str

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.reason

    def to_logging_context(self) -> dict[str, Any]:
        """Fields for the log."""
        return {"reason": self.reason, "error": self.message}


class PermanentError(_ServiceError):
    """Trying again will not help: park the event, fail the job."""

    reason = "permanent"


class TransientError(_ServiceError):
    """It may work the next time."""

    reason = "transient"


class StorageFullError(TransientError):
    """No room is left where something had to be written."""

    reason = "storage_full"


class StorageError(TransientError):
    """The object store does not do what it should."""

    reason = "storage_unavailable"


class LeaseLostError(Exception):
    """Another worker has the job now; whatever this one did is dropped."""


class StaleSchemaError(PermanentError):
    """The database is not at the revision that this code needs."""

    reason = "stale_schema"
