"""Why speech cannot be turned into text."""

from phonograph_runtime.errors import EngineUnavailableError, PermanentError


class ModelMissingError(EngineUnavailableError):
    """The model does not lie on this machine."""

    reason = "model_missing"


class DownloadError(PermanentError):
    """A model could not be fetched."""

    reason = "download_failed"


class RenditionError(PermanentError):
    """The 16 kHz rendition cannot be read; carries the word of the media library."""
