"""Models of all services as tables and JSON, and the progress of their downloads."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from phonograph_events import Service
from phonograph_models import (
    FetchProgress,
    FileCheck,
    LineProgress,
    Model,
    ModelCache,
    ModelState,
    ProgressListener,
    cache_for,
    models_folder,
)

COLUMNS = ["name", "service", "size", "license", "source", "sum", "present"]
SERVICES = (Service.TRANSCRIPTION, Service.DIARIZATION)
"""Services with models that are not part of a package."""


def list_models() -> list[ModelState]:
    """Return the models of every service, each as its service finds it."""
    return [
        state
        for service in SERVICES
        for state in ModelCache(models_folder(service)).list_models()
        if state.model.service is service
    ]


def verify_models(names: Sequence[str] | None) -> dict[str, tuple[FileCheck, ...]]:
    """Return the checks of the files of models: those named, or all on this machine.

    Raises:
        UnknownModelError: If there is no such model.
        ModelMissingError: If a named model is not on this machine.
    """
    present = [state.model.name for state in list_models() if state.folder is not None]
    return {name: cache_for(name).verify(name) for name in (names or present)}


def to_row(state: ModelState) -> list[str]:
    """Return a model as a row under `COLUMNS`."""
    model = state.model
    return [
        model.name,
        model.service.value,
        "–" if state.size_bytes is None else format_size(state.size_bytes),
        model.license,
        state.source or ", ".join(_sources(model)),
        _sum(model),
        "no" if state.folder is None else "yes",
    ]


def to_json(state: ModelState) -> dict[str, Any]:
    """Return everything known about a model."""
    model = state.model
    return {
        "name": model.name,
        "service": model.service.value,
        "size_bytes": state.size_bytes,
        "license": model.license,
        "sources": _sources(model),
        "fetched_from": state.source,
        "repository": model.repository,
        "packages": [f"{package.project}=={package.version}" for package in model.packages],
        "files": [
            {"name": file.name, "sha256": file.sha256, "size_bytes": file.size_bytes} for file in model.files
        ],
        "present": state.folder is not None,
        "folder": None if state.folder is None else str(state.folder),
    }


def check_row(name: str, check: FileCheck) -> list[str]:
    """Return the check of a file as a row: model, file, state."""
    return [name, check.name, _state(check)]


def checks_to_json(checks: Mapping[str, Sequence[FileCheck]]) -> list[dict[str, Any]]:
    """Return the checks of all files."""
    return [
        {
            "name": name,
            "ok": not any(check.is_wrong for check in found),
            "files": [
                {
                    "name": check.name,
                    "state": _state(check),
                    "expected_sha256": check.expected_sha256,
                    "sha256": check.actual_sha256,
                }
                for check in found
            ],
        }
        for name, found in checks.items()
    ]


def format_size(size_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{size_bytes / 1e6:.0f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.0f} kB"


def _sources(model: Model) -> list[str]:
    hub = ["hub (with your token)" if model.is_gated else "hub"] if model.repository else []
    return [*hub, *(["package index"] if model.packages else [])]


def _sum(model: Model) -> str:
    """Return the sum of the largest file, shortened; `verify` compares all."""
    if not model.files:
        return "not known"
    return max(model.files, key=lambda file: file.size_bytes).sha256[:12]


def _state(check: FileCheck) -> str:
    if check.actual_sha256 is None:
        return "missing"
    if check.expected_sha256 is None:
        return "no sum known"
    return "wrong" if check.is_wrong else "ok"


@contextmanager
def display_fetches(console: Console) -> Iterator[ProgressListener]:
    """Yield a listener that draws a bar for each model on a terminal and prints lines elsewhere."""
    if not console.is_terminal:
        yield LineProgress(console.file)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as bars:
        yield _BarProgress(bars)


class _BarProgress:
    """Draws one bar for each model and source, and prints each problem once above them."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._problems: set[str] = set()

    def __call__(self, progress: FetchProgress) -> None:
        if progress.problem:
            if progress.problem not in self._problems:
                self._problems.add(progress.problem)
                self._bars.console.print(progress.problem, highlight=False, markup=False)
            return
        label = f"{progress.model} from {progress.source}"
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label)
        self._bars.update(self._tasks[label], completed=progress.done_bytes, total=progress.total_bytes)
