"""Write a manifest of jars anew: `python -m phonograph_devstack.pin FILE group:artifact:version…`."""

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import MavenContext

from phonograph_devstack.jars import Jar, fetch_from_repository

_FOREIGN = ("osx", "aarch", "windows")


def resolve(coordinates: list[str]) -> list[Jar]:
    """All jars that the coordinates need at run time on Linux x86-64, without sums."""
    context = MavenContext(timeout=60)
    wanted = [context.create_dependency(coordinate) for coordinate in coordinates]
    inputs, others = context.resolver.resolve(wanted)
    jars = {
        Jar(found.groupId, found.artifactId, found.version, found.classifier or "", "")
        for found in (*inputs, *others)
        if not any(word in (found.classifier or "") for word in _FOREIGN)
    }
    return sorted(jars, key=lambda jar: jar.path)


def main() -> None:
    """Resolve, fetch and sum up."""
    manifest, *coordinates = sys.argv[1:]
    jars = resolve(coordinates)
    with ThreadPoolExecutor(16) as pool:
        contents = list(pool.map(fetch_from_repository(), jars))
    lines = []
    for jar, content in zip(jars, contents, strict=True):
        words = [jar.group, jar.artifact, jar.version, *([jar.classifier] if jar.classifier else [])]
        lines.append(f"{':'.join(words)} {hashlib.sha256(content).hexdigest()}\n")
    Path(manifest).write_text("".join(lines))


if __name__ == "__main__":
    main()
