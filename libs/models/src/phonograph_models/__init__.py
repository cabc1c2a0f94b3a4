"""The weights of every engine: what they are, where they come from, and which are on this machine.

Nothing is fetched unless `ModelCache.fetch` is called; services only call `find` and `require`.
"""

from phonograph_models.cache import FileCheck, ModelCache, ModelState, models_folder
from phonograph_models.catalog import CATALOG, DEFAULT_MODELS, Model, ModelFile, Package
from phonograph_models.errors import DownloadError, ModelError, ModelMissingError, UnknownModelError
from phonograph_models.fetching import FetchOutcome, LineProgress, cache_for, fetch_models
from phonograph_models.folder import FolderSource
from phonograph_models.source_port import FetchProgress, ModelSource, ProgressListener

__all__ = [
    "CATALOG",
    "DEFAULT_MODELS",
    "DownloadError",
    "FetchOutcome",
    "FetchProgress",
    "FileCheck",
    "FolderSource",
    "LineProgress",
    "Model",
    "ModelCache",
    "ModelError",
    "ModelFile",
    "ModelMissingError",
    "ModelSource",
    "ModelState",
    "Package",
    "ProgressListener",
    "UnknownModelError",
    "cache_for",
    "fetch_models",
    "models_folder",
]
