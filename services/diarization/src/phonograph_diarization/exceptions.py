"""Errors of the diarization service."""

from phonograph_runtime.errors import PermanentError


class BadOptionsError(PermanentError):
    """The requested numbers of speakers contradict each other, or the requested engine does not exist."""

    reason = "bad_options"


class RequestRefusedError(PermanentError):
    """A request about a speaker or a person cannot be fulfilled; the user gets the message as the answer."""

    reason = "refused"
