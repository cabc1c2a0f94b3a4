"""Jars are verified and fetched once; a jar that cannot be fetched raises a clear error."""

import hashlib
from pathlib import Path

import pytest

from phonograph_devstack import StackError
from phonograph_devstack.jars import Jar, ensure_jars, read_manifest
from phonograph_devstack.java import StartupCache

ROOT = Path(__file__).parents[3]
CONTENT = b"a jar"


def write_manifest(folder: Path, *lines: str) -> Path:
    path = folder / "server.jars"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path, f"org.example:thing:1.0 {hashlib.sha256(CONTENT).hexdigest()}")


def test_a_jar_is_fetched_once(tmp_path: Path, manifest: Path) -> None:
    fetched: list[Jar] = []
    lines: list[str] = []

    def fetch(jar: Jar) -> bytes:
        fetched.append(jar)
        return CONTENT

    for _ in range(2):
        [path] = ensure_jars(manifest, tmp_path / "cache", fetch=fetch, report=lines.append)
    assert path == tmp_path / "cache" / "org" / "example" / "thing" / "1.0" / "thing-1.0.jar"
    assert path.read_bytes() == CONTENT
    assert len(fetched) == len(lines) == 1


def test_a_jar_with_a_wrong_checksum_is_reported_and_deleted(tmp_path: Path, manifest: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(
        StackError, match=r"thing-1\.0\.jar .* deleted: SHA-256 .* Run the command again"
    ) as error:
        ensure_jars(manifest, cache, fetch=lambda _: b"not the jar", report=lambda _: None)
    assert hashlib.sha256(CONTENT).hexdigest() in str(error.value)
    assert hashlib.sha256(b"not the jar").hexdigest() in str(error.value)
    assert list(cache.rglob("*.jar")) == []
    assert ensure_jars(manifest, cache, fetch=lambda _: CONTENT, report=lambda _: None)


def test_a_damaged_jar_in_the_cache_is_detected(tmp_path: Path, manifest: Path) -> None:
    [path] = ensure_jars(manifest, tmp_path, fetch=lambda _: CONTENT, report=lambda _: None)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(StackError, match="not the expected file"):
        ensure_jars(manifest, tmp_path, fetch=lambda _: CONTENT, report=lambda _: None)


def test_a_missing_jar_without_network_explains_what_to_do(tmp_path: Path, manifest: Path) -> None:
    def refuse(jar: Jar) -> bytes:
        raise ConnectionError(jar.artifact)

    with pytest.raises(StackError, match=r"thing-1\.0\.jar is missing .* Connect this machine once"):
        ensure_jars(manifest, tmp_path / "cache", fetch=refuse, report=lambda _: None)


def test_a_classifier_is_part_of_the_file_name(tmp_path: Path) -> None:
    [jar] = read_manifest(write_manifest(tmp_path, f"io.netty:epoll:4.1:linux-x86_64 {'0' * 64}"))
    assert jar.path == Path("io/netty/epoll/4.1/epoll-4.1-linux-x86_64.jar")


def test_the_error_names_an_invalid_line(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, f"org.example:thing:1.0 {'0' * 64}", "org.example:thing")
    with pytest.raises(StackError, match=r"server\.jars:2"):
        read_manifest(manifest)


@pytest.mark.parametrize(
    ("name", "main"),
    [("kafka", "org.apache.kafka:kafka_2.13"), ("neo4j", "org.neo4j:neo4j")],
)
def test_the_committed_manifests_list_each_artifact_once(name: str, main: str) -> None:
    jars = read_manifest(ROOT / "deploy" / "devstack" / f"{name}.jars")
    artifacts = [(jar.group, jar.artifact, jar.classifier) for jar in jars]
    assert len(artifacts) == len(set(artifacts))
    assert main in {f"{jar.group}:{jar.artifact}" for jar in jars}


def test_the_start_up_cache_is_created_once_per_manifest(tmp_path: Path, manifest: Path) -> None:
    cache = StartupCache(folder=tmp_path / "java", manifest=manifest, draft=tmp_path / "server.aot")
    assert cache.will_be_written()
    assert cache.java_option() == f"-XX:AOTCacheOutput={tmp_path / 'server.aot'}"
    cache.store_draft()
    assert cache.will_be_written()
    cache.draft.write_bytes(b"written by the runtime when it stopped")
    cache.store_draft()
    assert cache.java_option() == f"-XX:AOTCache={cache.path}"
    assert not cache.draft.exists()
    manifest.write_text(f"org.example:thing:2.0 {'0' * 64}\n")
    assert cache.will_be_written()
