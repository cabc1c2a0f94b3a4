"""The jars of Kafka and Neo4j: pinned coordinates, fetched once, verified at every use."""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from phonograph_devstack.errors import StackError

_THREADS = 16
_ATTEMPTS = 3
_TIMEOUT_S = 60

Fetch = Callable[["Jar"], bytes]
"""Returns the content of a jar; raises OSError if it cannot be fetched."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of a manifest: `group:artifact:version[:classifier] sha256`."""

    group: str
    artifact: str
    version: str
    classifier: str
    sha256: str

    @property
    def path(self) -> Path:
        """Return the path of the jar in a Maven repository and in the cache."""
        suffix = f"-{self.classifier}" if self.classifier else ""
        folder = Path(*self.group.split("."), self.artifact, self.version)
        return folder / f"{self.artifact}-{self.version}{suffix}.jar"


def read_manifest(path: Path) -> tuple[Jar, ...]:
    """Return the jars of a manifest, in its order.

    Raises:
        StackError: If the manifest cannot be read or has an invalid line.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise StackError(f"The manifest {path} cannot be read: {error.strerror}. Check the file.") from error
    jars = []
    for number, line in enumerate(lines, 1):
        coordinate, _, sha256 = line.partition(" ")
        parts = coordinate.split(":")
        if len(parts) not in (3, 4) or len(sha256) != 64:
            raise StackError(
                f"{path}:{number} is not `group:artifact:version[:classifier] sha256`: {line!r}. Correct it."
            )
        jars.append(Jar(parts[0], parts[1], parts[2], parts[3] if len(parts) == 4 else "", sha256))
    return tuple(jars)


def make_repository_fetch() -> Fetch:
    """Return a fetch from the repositories in the user's jgo settings and from jgo's default repository."""
    # Imported here because the import takes longer than most commands, which fetch nothing.
    import requests
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    settings = GlobalSettings.load()
    addresses = [*settings.repositories.values(), *MavenContext().remote_repos.values()]
    sessions = threading.local()

    def fetch(jar: Jar) -> bytes:
        if not hasattr(sessions, "session"):
            sessions.session = requests.Session()
        for attempt in range(_ATTEMPTS):
            for address in addresses:
                try:
                    answer = sessions.session.get(f"{address}/{jar.path.as_posix()}", timeout=_TIMEOUT_S)
                    answer.raise_for_status()
                    return bytes(answer.content)
                except requests.RequestException as error:
                    failure = error
            time.sleep(attempt)
        raise failure

    return fetch


def ensure_jars(
    manifest: Path, cache: Path, *, fetch: Fetch | None = None, report: Callable[[str], None]
) -> list[Path]:
    """Fetch the missing jars of a manifest and return the paths of all its jars in the cache.

    Args:
        manifest: File with one jar per line.
        cache: Folder of the jars.
        fetch: Source of missing jars; by default a Maven repository.
        report: Called with each line of progress.

    Raises:
        StackError: If a jar cannot be fetched, or its checksum differs from the manifest.
    """
    jars = read_manifest(manifest)
    missing = [jar for jar in jars if not (cache / jar.path).exists()]
    with ThreadPoolExecutor(_THREADS) as pool:
        if missing:
            report(f"Fetching {len(missing)} jars of {manifest.stem} into {cache} (once).")
            fetch_jar = fetch or make_repository_fetch()
            list(pool.map(lambda jar: _store(jar, cache, fetch_jar), missing))
        return list(pool.map(lambda jar: _verify(jar, cache), jars))


def _store(jar: Jar, cache: Path, fetch: Fetch) -> None:
    try:
        content = fetch(jar)
    except OSError as error:
        raise StackError(
            f"{jar.path.name} is missing from {cache} and cannot be fetched ({type(error).__name__}). "
            "Connect this machine once and run the command again, or copy that folder from a machine "
            "that has it."
        ) from error
    path = cache / jar.path
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written under a temporary name and renamed, so that an interrupted command leaves no partial jar.
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    part.write_bytes(content)
    part.replace(path)


def _verify(jar: Jar, cache: Path) -> Path:
    path = cache / jar.path
    found = _sha256(path)
    if found != jar.sha256:
        path.unlink()
        raise StackError(
            f"{path} is not the expected file and was deleted: SHA-256 should be {jar.sha256}, was {found}. "
            "Run the command again to fetch it. If the error recurs, something alters your downloads."
        )
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
