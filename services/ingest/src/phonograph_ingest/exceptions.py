"""Errors of the ingest service."""

from phonograph_events import PermanentError


class RejectedError(PermanentError):
    """A file that the service does not accept."""

    reason = "rejected"
