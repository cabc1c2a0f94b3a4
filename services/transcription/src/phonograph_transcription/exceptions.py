"""Errors of the service."""

from phonograph_runtime.errors import PermanentError


class BadOptionsError(PermanentError):
    """The requested options name something that does not exist, or contradict each other."""

    reason = "bad_options"


class ExportRefusedError(PermanentError):
    """A file cannot be made from a transcript; the message says why."""

    reason = "export_refused"


class ScoreRefusedError(PermanentError):
    """A transcript cannot be compared with a reference text; the message says why."""

    reason = "score_refused"
