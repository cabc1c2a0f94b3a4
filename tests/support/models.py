"""The real models for tests: from the user's cache, otherwise fetched, otherwise the test is skipped."""

from collections.abc import Callable
from pathlib import Path

import pytest

from phonograph_models import FetchProgress, ModelCache, ModelError

RequireModel = Callable[[str], Path]


@pytest.fixture(scope="session")
def require_model() -> RequireModel:
    """Return a function that returns the folder of a model by its name, or skips the test with the reason."""
    cache = ModelCache()
    failures: dict[str, str] = {}

    def require(name: str) -> Path:
        if name not in failures:
            problems: list[str] = []

            def listen(progress: FetchProgress) -> None:
                if progress.problem:
                    problems.append(progress.problem)

            try:
                return cache.fetch(name, listen)
            except ModelError as error:
                failures[name] = " ".join((error.message, *problems))
        pytest.skip(failures[name])

    return require
