"""Errors of the transcription service."""

from phonograph_runtime.errors import EngineUnavailableError, PermanentError


class ModelMissingError(EngineUnavailableError):
    """The model is not on this machine."""

    reason = "model_missing"


class DownloadError(PermanentError):
    """A model could not be downloaded."""

    reason = "download_failed"
