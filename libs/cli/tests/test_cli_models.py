"""`phonograph models` lists, fetches, verifies and removes the models of every service."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from tests.support.system import COMMAND
from typer.testing import CliRunner, Result

from phonograph_cli.main import app
from phonograph_models import CATALOG

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder of the models."""
    for name in ("TRANSCRIPTION_MODELS", "DIARIZATION_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PHONOGRAPH_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def run(*arguments: str | os.PathLike[str]) -> Result:
    return CliRunner().invoke(app, ["models", *map(os.fspath, arguments)])


def test_list_has_every_model_of_every_service(folder: Path, require_model) -> None:
    copied = run("fetch", "ge2e", "--from", require_model("ge2e"))
    assert (copied.exit_code, copied.stdout) == (0, f"ge2e: {folder}/ge2e\n")
    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)["models"]}
    assert set(rows) == {model.name for model in CATALOG}
    assert [name for name, row in rows.items() if row["present"]] == ["ge2e"]
    assert rows["ge2e"]["folder"] == str(folder / "ge2e")
    assert rows["ge2e"]["fetched_from"] == f"the folder {require_model('ge2e')}"
    base = rows["base"]
    assert (base["service"], base["license"], base["size_bytes"]) == ("transcription", "MIT", 147_882_941)
    assert base["sources"] == ["hub", "package index"]
    assert base["files"][0]["sha256"].startswith("d01c3014881c")
    assert rows["small"]["files"] == []
    assert rows["community-1"]["sources"] == ["hub (with your token)"]
    table = run("list").stdout.splitlines()
    assert table[0].split() == ["name", "service", "size", "license", "source", "sum", "present"]
    line = next(line for line in table if line.startswith("small "))
    assert line.split() == ["small", "transcription", "–", "MIT", "hub", "not", "known", "no"]


def test_damaged_model_is_found_and_replaced(folder: Path, require_model) -> None:
    source = require_model("segmentation-3.0")
    assert run("fetch", "segmentation-3.0", "--from", source).exit_code == 0
    assert run("verify").exit_code == run("verify", "segmentation-3.0").exit_code == 0
    with (folder / "segmentation-3.0" / "segmentation.onnx").open("r+b") as file:
        file.write(b"damage")
    verified = run("verify")
    assert verified.exit_code == 1
    assert "phonograph models remove segmentation-3.0 && phonograph models fetch" in verified.stderr
    (row,) = json.loads(run("verify", "--json").stdout)["models"]
    assert (row["ok"], row["files"][0]["state"]) == (False, "wrong")
    removed = run("remove", "segmentation-3.0")
    assert (removed.exit_code, removed.stdout) == (0, "segmentation-3.0: removed, 6 MB freed.\n")
    assert run("verify").exit_code == 0
    assert run("fetch", "segmentation-3.0", "--from", source).exit_code == 0


@pytest.mark.parametrize("command", ["fetch", "verify", "remove"])
def test_wrong_name_is_one_clear_line(folder: Path, command: str) -> None:
    answer = run(command, "bass")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert answer.stderr == "There is no model 'bass'. See: phonograph models list\n"


@pytest.mark.parametrize("command", ["verify", "remove"])
def test_model_that_is_not_here_is_one_clear_line(folder: Path, command: str) -> None:
    answer = run(command, "base")
    assert answer.exit_code == 1
    assert answer.stderr.startswith(f"The model 'base' is not on this machine (looked in {folder}).")
    assert answer.stderr.count("\n") == 1


def test_default_models_without_any_source_end_quickly_with_one_line_for_each_source(folder: Path) -> None:
    environment = os.environ | {"HF_ENDPOINT": NOWHERE, "PIP_INDEX_URL": f"{NOWHERE}/simple"}
    began = time.monotonic()
    answer = subprocess.run(
        [COMMAND, "models", "fetch"], env=environment, capture_output=True, text=True, check=False
    )
    assert time.monotonic() - began < 30
    assert (answer.returncode, answer.stdout) == (1, "")
    hub, index, summary = answer.stderr.splitlines()
    assert hub.startswith("The Hugging Face hub cannot be reached")
    assert index.startswith("The package index cannot be reached")
    assert summary.startswith(
        "Could not be fetched: base, segmentation-3.0, ge2e. On a machine without network"
    )
    assert not [path for path in folder.iterdir() if path.is_dir()]
