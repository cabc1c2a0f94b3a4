"""The cache knows what is on this machine without a network, verifies it and removes it."""

from pathlib import Path

import pytest
from faster_whisper import utils

from phonograph_events import Service
from phonograph_models import (
    CATALOG,
    DEFAULT_MODELS,
    FolderSource,
    ModelCache,
    ModelMissingError,
    UnknownModelError,
    cache_for,
    models_folder,
)

from .support.model_server import CONFIG, PINNED, WEIGHTS


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with the files of `PINNED`."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "model.bin").write_bytes(WEIGHTS)
    (folder / "config.json").write_bytes(CONFIG)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path / "models", catalog=[PINNED], sources=[])


def test_catalog_has_every_model_of_faster_whisper_and_all_sums_of_the_default_ones():
    names = [model.name for model in CATALOG]
    assert len(names) == len(set(names))
    by_name = {model.name: model for model in CATALOG}
    repositories = {name: by_name[name].repository for name in utils._MODELS}
    assert repositories == utils._MODELS
    for name in DEFAULT_MODELS:
        model = by_name[name]
        assert model.packages, name
        for pinned in (*model.files, *model.packages):
            assert len(pinned.sha256) == 64
            assert pinned.size_bytes > 0
        delivered = {target for package in model.packages for _, target in package.members}
        assert delivered == {file.name for file in model.files}


@pytest.mark.parametrize("name", DEFAULT_MODELS)
def test_default_model_on_this_machine_has_the_sums_of_the_catalog(require_model, name):
    require_model(name)
    checks = cache_for(name).verify(name)
    assert checks
    assert not [check for check in checks if check.is_wrong or check.expected_sha256 is None]


def test_missing_model_is_an_error_with_the_command_that_fetches_it(cache):
    assert cache.find("pinned") is None
    with pytest.raises(ModelMissingError, match="Run `phonograph models fetch pinned`") as caught:
        cache.require("pinned")
    assert caught.value.reason == "model_missing"


@pytest.mark.parametrize("name", ["tinny", "../pinned", "/etc", "a/b/c", ""])
def test_unknown_name_is_an_error(cache, name):
    for ask in (cache.fetch, cache.verify, cache.remove):
        with pytest.raises(UnknownModelError, match="phonograph models list"):
            ask(name)


def test_file_of_another_size_is_no_model_and_is_replaced(cache, files):
    folder = cache.fetch("pinned", source=FolderSource(files))
    (folder / "model.bin").write_bytes(WEIGHTS[:-1])
    assert cache.find("pinned") is None
    assert [check.name for check in cache.verify("pinned") if check.is_wrong] == ["model.bin"]
    assert cache.fetch("pinned", source=FolderSource(files)) == folder
    assert (folder / "model.bin").read_bytes() == WEIGHTS


def test_changed_and_missing_files_are_found_by_verification(cache, files):
    folder = cache.fetch("pinned", source=FolderSource(files))
    assert not any(check.is_wrong for check in cache.verify("pinned"))
    (folder / "model.bin").write_bytes(b"\1" + WEIGHTS[1:])
    assert cache.find("pinned") == folder, "the size alone is compared at each start"
    (folder / "config.json").unlink()
    checks = {check.name: check for check in cache.verify("pinned")}
    assert checks["model.bin"].is_wrong
    assert (checks["config.json"].actual_sha256, checks["config.json"].is_wrong) == (None, True)


def test_removal_frees_the_model_and_what_an_interrupted_download_left(cache, files):
    cache.fetch("pinned", source=FolderSource(files))
    incomplete = cache.folder / "pinned.part"
    incomplete.mkdir()
    (incomplete / "model.bin.partial").write_bytes(b"12345")
    record_bytes = (cache.folder / "pinned" / "phonograph.json").stat().st_size
    assert cache.remove("pinned") == len(WEIGHTS) + len(CONFIG) + record_bytes + 5
    assert cache.find("pinned") is None
    assert not incomplete.exists()
    with pytest.raises(ModelMissingError, match="not on this machine"):
        cache.remove("pinned")


def test_whisper_model_of_the_user_is_found_by_folder_and_path(cache, tmp_path):
    for folder in (cache.folder / "own", cache.folder / "someone--whisper", tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
        (folder / "model.bin").write_bytes(b"weights")
    assert cache.find("own") == cache.folder / "own"
    assert cache.find("someone/whisper") == cache.folder / "someone--whisper"
    assert cache.find(str(tmp_path / "elsewhere")) == tmp_path / "elsewhere"
    listed = {state.model.name: state for state in cache.list_models()}
    assert listed["own"].folder == cache.folder / "own"
    assert [check.expected_sha256 for check in cache.verify("own")] == [None]
    assert cache.remove("own") == len(b"weights")
    assert cache.find("own") is None


def test_list_omits_incomplete_downloads_and_knows_sizes(cache, files):
    (cache.folder / "small.part").mkdir(parents=True)
    (cache.folder / "small.part" / "model.bin").write_bytes(b"weights")
    (state,) = cache.list_models()
    assert (state.folder, state.size_bytes, state.source) == (None, len(WEIGHTS) + len(CONFIG), None)
    cache.fetch("pinned", source=FolderSource(files))
    (state,) = cache.list_models()
    assert (state.folder, state.source) == (cache.folder / "pinned", f"the folder {files}")


def test_folder_is_that_of_the_service_of_all_or_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    service = Service.TRANSCRIPTION
    assert models_folder(service, {}) == tmp_path / ".cache" / "phonograph" / "models"
    assert models_folder(service, {"XDG_CACHE_HOME": "/cache"}) == Path("/cache/phonograph/models")
    both = {"PHONOGRAPH_MODELS": "~/all", "TRANSCRIPTION_MODELS": "/own"}
    assert models_folder(service, both) == Path("/own")
    assert models_folder(Service.DIARIZATION, both) == models_folder(None, both) == tmp_path / "all"
    assert cache_for("base", both).folder == cache_for("someone/whisper", both).folder == Path("/own")
    assert cache_for("ge2e", both).folder == tmp_path / "all"
