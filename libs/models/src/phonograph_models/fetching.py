"""Fetching several models, each into the folder where its service looks for it."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from phonograph_events import Service
from phonograph_models.cache import ModelCache, models_folder
from phonograph_models.catalog import CATALOG
from phonograph_models.errors import DownloadError, ModelError
from phonograph_models.source_port import FetchProgress, ModelSource, ProgressListener
from phonograph_models.sources import default_sources

_STEP_PERCENT = 25


@dataclass(frozen=True, slots=True)
class FetchOutcome:
    """The result of a request for models."""

    folders: dict[str, Path]
    """Folder of each model that is on this machine now."""
    errors: dict[str, ModelError]
    """Error of each other model."""

    def describe_errors(self) -> list[str]:
        """Return a sentence for each error, and one for all models that no source delivers."""
        missing = [name for name, error in self.errors.items() if isinstance(error, DownloadError)]
        others = [error.message for name, error in self.errors.items() if name not in missing]
        if not missing:
            return others
        sentence = (
            f"Could not be fetched: {', '.join(missing)}. On a machine without network access, copy the "
            f"files from another one and run: phonograph models fetch {' '.join(missing)} --from FOLDER"
        )
        return [*others, sentence]


def cache_for(
    name: str,
    environment: Mapping[str, str] = os.environ,
    sources: Sequence[ModelSource] | None = None,
) -> ModelCache:
    """Return the cache in which the service that uses a model looks for it.

    Args:
        name: Name of the model; one that is not in the catalog is a Whisper model.
        environment: The environment variables.
        sources: Sources of the cache; the default ones if None.
    """
    service = next((model.service for model in CATALOG if model.name == name), Service.TRANSCRIPTION)
    return ModelCache(models_folder(service, environment), sources=sources)


def fetch_models(
    names: Sequence[str], progress: ProgressListener, source: ModelSource | None = None
) -> FetchOutcome:
    """Fetch models that are not on this machine; one that fails does not stop the others.

    Args:
        names: Names of the models.
        progress: Called with the progress and with each problem.
        source: The only source to use; the default ones if None.
    """
    # All models share the sources, so that one that does not answer is waited for only once.
    sources = default_sources() if source is None else (source,)
    outcome = FetchOutcome({}, {})
    for name in names:
        try:
            outcome.folders[name] = cache_for(name, sources=sources).fetch(name, progress)
        except ModelError as error:
            outcome.errors[name] = error
    return outcome


class LineProgress:
    """Prints plain lines: the beginning and each quarter of a transfer, and each problem once."""

    def __init__(self, stream: IO[str] = sys.stderr) -> None:
        self._stream = stream
        self._printed: set[str] = set()

    def __call__(self, progress: FetchProgress) -> None:
        """Print the progress unless its line has been printed."""
        if progress.problem:
            line = progress.problem
        else:
            percent = (
                100 * progress.done_bytes // max(progress.total_bytes, 1) // _STEP_PERCENT * _STEP_PERCENT
            )
            line = (
                f"{progress.model}: {percent} % of {progress.total_bytes / 1e6:.0f} MB from {progress.source}"
            )
        if line not in self._printed:
            self._printed.add(line)
            self._stream.write(f"{line}\n")
            self._stream.flush()
