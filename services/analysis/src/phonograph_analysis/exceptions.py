"""Errors of the analysis service."""

from phonograph_runtime.errors import PermanentError


class EngineFailedError(PermanentError):
    """The engine failed on audio that could be decoded; it would fail on it again."""

    reason = "engine_failed"
