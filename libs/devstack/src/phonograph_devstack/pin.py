"""Write a manifest of jars anew: `python -m phonograph_devstack.pin FILE group:artifact:version…`."""

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import MavenContext

from phonograph_devstack.jars import Jar, fetch_from_repository

_FOREIGN = ("osx", "aarch", "windows")


def resolve(coordinates: list[str]) -> list[Jar]:
    """All jars that the coordinates need at run time on Linux x86-64, without sums.

    Each coordinate is resolved alone, and the first to need an artifact says in which version: resolved
    together, the version management of a logging library would downgrade the server's own parts.
    """
    context = MavenContext(timeout=60)
    jars: dict[tuple[str, str, str], Jar] = {}
    for coordinate in coordinates:
        inputs, others = context.resolver.resolve([context.create_dependency(coordinate)])
        for found in (*inputs, *others):
            classifier = found.classifier or ""
            if not any(word in classifier for word in _FOREIGN):
                jar = Jar(found.groupId, found.artifactId, found.version, classifier, "")
                jars.setdefault((jar.group, jar.artifact, classifier), jar)
    return list(jars.values())


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
    Path(manifest).write_text("".join(sorted(lines)))


if __name__ == "__main__":
    main()
