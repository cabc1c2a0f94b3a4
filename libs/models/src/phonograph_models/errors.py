"""Errors of models that are not on this machine or cannot be had."""

from phonograph_events.errors import PermanentError
from phonograph_runtime.errors import EngineUnavailableError


class ModelMissingError(EngineUnavailableError):
    """The model is not on this machine; the message contains the command that fetches it."""

    reason = "model_missing"


class ModelError(PermanentError):
    """A model that cannot be fetched, stored or removed."""

    reason = "model_error"


class UnknownModelError(ModelError):
    """The catalog has no model of this name."""

    reason = "unknown_model"


class DownloadError(ModelError):
    """A model could not be fetched from any source."""

    reason = "download_failed"


class SourceError(ModelError):
    """One source could not deliver a model; the next one may."""

    reason = "source_failed"


class SourceUnavailableError(SourceError):
    """The source cannot be reached or refuses every request, whichever model is asked for."""

    reason = "source_unavailable"


class TransferInterruptedError(SourceError):
    """A transfer broke off; what has arrived is of use to the next attempt."""

    reason = "transfer_interrupted"


class ModelStorageError(ModelError):
    """The folder of the models cannot be written; the reason is `storage_full` if no space is left."""

    reason = "storage_failed"
