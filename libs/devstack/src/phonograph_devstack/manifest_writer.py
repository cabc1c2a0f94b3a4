"""Writer of jar manifests: `python -m phonograph_devstack.manifest_writer FILE group:artifact:version…`."""

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import MavenContext

from phonograph_devstack.jars import Jar, make_repository_fetch

_OTHER_PLATFORMS = ("osx", "aarch", "windows")


def resolve_jars(coordinates: list[str]) -> list[Jar]:
    """Return all jars that the coordinates need at run time on Linux x86-64, without checksums.

    Each coordinate is resolved separately, and the first one that needs an artifact determines its version:
    resolved together, the managed versions of a logging library would downgrade jars of the server.
    """
    context = MavenContext(timeout=60)
    jars: dict[tuple[str, str, str], Jar] = {}
    for coordinate in coordinates:
        inputs, others = context.resolver.resolve([context.create_dependency(coordinate)])
        for found in (*inputs, *others):
            classifier = found.classifier or ""
            if not any(platform in classifier for platform in _OTHER_PLATFORMS):
                jar = Jar(found.groupId, found.artifactId, found.version, classifier, "")
                jars.setdefault((jar.group, jar.artifact, classifier), jar)
    return list(jars.values())


def main() -> None:
    """Resolve and fetch the jars, and write the manifest with their checksums."""
    manifest, *coordinates = sys.argv[1:]
    jars = resolve_jars(coordinates)
    with ThreadPoolExecutor(16) as pool:
        contents = list(pool.map(make_repository_fetch(), jars))
    lines = []
    for jar, content in zip(jars, contents, strict=True):
        parts = [jar.group, jar.artifact, jar.version, *([jar.classifier] if jar.classifier else [])]
        lines.append(f"{':'.join(parts)} {hashlib.sha256(content).hexdigest()}\n")
    Path(manifest).write_text("".join(sorted(lines)))


if __name__ == "__main__":
    main()
