"""Why a file cannot be analysed; trying again would not help."""

from phonograph_runtime.errors import PermanentError


class UnreadableMediaError(PermanentError):
    """The file cannot be found or decoded."""

    reason = "unreadable"


class EngineFailedError(PermanentError):
    """The engine failed on sound that could be decoded; it would fail on it again."""

    reason = "engine_failed"
