"""Errors of the diarization service."""

from phonograph_runtime.errors import PermanentError


class BadOptionsError(PermanentError):
    """The requested numbers of speakers contradict each other."""

    reason = "bad_options"
