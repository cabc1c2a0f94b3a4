"""Models are found without the network, listed, and fetched only on demand."""

import json
from pathlib import Path

import huggingface_hub
import pytest

from phonograph_transcription.commands import run_models
from phonograph_transcription.exceptions import DownloadError, ModelMissingError
from phonograph_transcription.inference.models import ModelFolder


def put_model(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.bin").write_bytes(b"weights")
    return folder


@pytest.fixture
def hub(monkeypatch):
    """A hub that has every repository; returns the list of requested ones."""
    requested: list[str] = []

    def snapshot_download(repository: str, *, local_dir: Path, allow_patterns: list[str]) -> None:
        requested.append(repository)
        put_model(local_dir)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return requested


def test_a_model_is_found_by_name_repository_and_folder(tmp_path):
    models = ModelFolder(tmp_path / "models")
    named = put_model(tmp_path / "models" / "tiny")
    from_hub = put_model(tmp_path / "models" / "someone--whisper")
    elsewhere = put_model(tmp_path / "mine")
    assert models.find("tiny") == named
    assert models.find("someone/whisper") == from_hub
    assert models.find(str(elsewhere)) == elsewhere
    assert models.find("base") is None
    with pytest.raises(ModelMissingError, match="phonograph models fetch base"):
        models.require("base")


def test_the_list_shows_the_models_on_this_machine(tmp_path, capsys):
    tiny = put_model(tmp_path / "tiny")
    put_model(tmp_path / "own")
    assert run_models(["list", "--json"], ModelFolder(tmp_path)) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["tiny"]["folder"] == str(tiny)
    assert rows["distil-large-v3"] == {
        "name": "distil-large-v3",
        "repository": "Systran/faster-distil-whisper-large-v3",
        "folder": None,
    }
    assert rows["own"]["folder"] == str(tmp_path / "own")
    assert run_models(["list"], ModelFolder(tmp_path)) == 0
    assert f"tiny                 {tiny}\n" in capsys.readouterr().out


def test_a_model_is_downloaded_once(tmp_path, hub, capsys):
    assert run_models(["fetch", "tiny"], ModelFolder(tmp_path)) == 0
    assert run_models(["fetch", "tiny"], ModelFolder(tmp_path)) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'tiny'}\n" * 2
    assert hub == ["Systran/faster-whisper-tiny"]
    assert ModelFolder(tmp_path).fetch("someone/whisper") == tmp_path / "someone--whisper"


def test_an_interrupted_download_leaves_no_model_and_can_be_repeated(tmp_path, hub, monkeypatch):
    def fail_halfway(_repository: str, *, local_dir: Path, allow_patterns: list[str]) -> None:
        put_model(local_dir)
        raise ConnectionError("reset by peer")

    models = ModelFolder(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(huggingface_hub, "snapshot_download", fail_halfway)
        with pytest.raises(DownloadError, match="reset by peer"):
            models.fetch("tiny")
    assert models.find("tiny") is None
    assert {model.name for model in models.list_models() if model.folder} == set()
    assert models.fetch("tiny") == tmp_path / "tiny"


def test_the_error_without_a_network_contains_advice(tmp_path, monkeypatch, capsys):
    def snapshot_download(*_args, **_options) -> None:
        raise OSError("no route to host\nwith details")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert run_models(["fetch", "tiny"], ModelFolder(tmp_path)) == 1
    error = capsys.readouterr().err
    assert "'tiny' could not be fetched from Systran/faster-whisper-tiny: no route to host" in error
    assert str(tmp_path / "tiny") in error
    assert error.count("\n") == 1


def test_unknown_names_and_other_repositories_are_rejected(tmp_path, monkeypatch):
    with pytest.raises(DownloadError, match="There is no Whisper model 'tinny'; use one of tiny"):
        ModelFolder(tmp_path).fetch("tinny")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_args, **_options: None)
    with pytest.raises(DownloadError, match=r"no CTranslate2 Whisper model: it has no model\.bin"):
        ModelFolder(tmp_path).fetch("someone/else")


def test_wrong_usage_prints_the_usage(tmp_path, capsys):
    assert run_models([], ModelFolder(tmp_path)) == 2
    assert capsys.readouterr().err.startswith("usage: ")
