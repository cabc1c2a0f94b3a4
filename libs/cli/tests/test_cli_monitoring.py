"""`phonograph up --with monitoring`: monitoring counts as part of the system only where it was requested."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from phonograph_cli.main import app

ADDRESSES = {
    "PHONOGRAPH_STACK": "external",
    "PHONOGRAPH_POSTGRES_URL": "postgresql://postgres@127.0.0.1:1/phonograph",
    "PHONOGRAPH_KAFKA": "127.0.0.1:1",
    "PHONOGRAPH_NEO4J_URI": "bolt://127.0.0.1:1",
    "PHONOGRAPH_NEO4J_USER": "neo4j",
    "PHONOGRAPH_NEO4J_PASSWORD": "phonograph",
}


@pytest.fixture
def runner(tmp_path: Path) -> CliRunner:
    return CliRunner(env=ADDRESSES | {"PHONOGRAPH_HOME": str(tmp_path)})


def record_process(home: Path, name: str, process: dict[str, int | None] | None) -> None:
    (home / "run").mkdir(exist_ok=True)
    (home / "run" / f"{name}.json").write_text(json.dumps(process))


def states(runner: CliRunner) -> dict[str, str]:
    answer = runner.invoke(app, ["status", "--json"])
    return {process["name"]: process["state"] for process in json.loads(answer.stdout)["processes"]}


def test_missing_prometheus_is_reported_in_one_line_before_anything_starts(
    runner: CliRunner, tmp_path: Path
) -> None:
    answer = runner.invoke(app, ["up", "--with", "monitoring"], env={"PATH": str(tmp_path)})
    assert answer.exit_code == 3
    assert answer.stderr.strip() == (
        "Prometheus is not installed: run `apt-get install prometheus`, "
        "or set PHONOGRAPH_PROMETHEUS=/path/to/prometheus."
    )


def test_status_omits_a_stopped_prometheus(runner: CliRunner, tmp_path: Path) -> None:
    record_process(tmp_path, "ingest", None)
    record_process(tmp_path, "prometheus", None)
    assert states(runner) == {"ingest": "stopped"}


def test_status_reports_a_prometheus_that_died(runner: CliRunner, tmp_path: Path) -> None:
    gone = {"pid": 2**22 + os.getpid(), "started_ticks": 1, "port": 9090, "log_offset": 0}
    record_process(tmp_path, "prometheus", gone)
    assert states(runner) == {"prometheus": "dead"}
