"""The whole system for tests: servers and services as processes, used through the command line.

Fixtures:
    system: `System`; `system("show", path)` runs `phonograph show PATH` and returns its exit code and output.
    ingested_samples: the result of every sample, by file name.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.stack import servers
from typer.testing import CliRunner

from phonograph_cli.main import app
from phonograph_cli.project import Project
from phonograph_models import DEFAULT_MODELS, fetch_models

SAMPLES = Path(__file__).parents[1] / "samples"
COMMAND = str(Path(sys.executable).parent / "phonograph")


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


@dataclass(frozen=True)
class System:
    """A running system."""

    project: Project

    def __call__(self, *arguments: str | os.PathLike[str], timeout_s: float = 280) -> CommandResult:
        """Run `phonograph` with arguments."""
        run = subprocess.run(
            [COMMAND, *map(os.fspath, arguments)],
            env=dict(self.project.environment),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return CommandResult(run.returncode, run.stdout, run.stderr)

    def ingest(self, *paths: str | os.PathLike[str], profile: str = "auto") -> dict[str, Any]:
        """Ingest files, wait for them, and return the result of each by its path."""
        result = self("ingest", *paths, "--profile", profile, "--wait", "--json")
        assert result.code in {0, 1}, result.err
        return {file["path"]: file for file in result.json["files"]}

    def show(self, recording: str | os.PathLike[str]) -> Any:
        """Return the output of `phonograph show RECORDING --json`."""
        result = self("show", recording, "--json")
        assert result.code == 0, result.err
        return result.json

    def pid(self, name: str) -> int | None:
        """Return the process id of a server or service."""
        return next(process.pid for process in self.project.stack.status() if process.name == name)


async def run_command(project: Project, *arguments: str) -> CommandResult:
    """Run `phonograph` inside this process: to start an interpreter takes seconds on a busy machine."""
    runner = CliRunner()
    run = await asyncio.to_thread(runner.invoke, app, arguments, env=dict(project.environment))
    return CommandResult(run.exit_code, run.stdout, run.stderr)


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """All services and their servers, started once per session, with the default engines."""
    # As `make up` does; without any source the services work with their other engines.
    fetch_models(DEFAULT_MODELS, lambda _progress: None)
    with servers("test-system") as project:
        project.up()
        yield System(project)


@pytest.fixture(scope="session")
def ingested_samples(system: System) -> dict[str, Any]:
    """Results of every sample, by file name."""
    paths = [path for path in SAMPLES.iterdir() if path.suffix in {".mp3", ".ogg", ".mp4"}]
    files = system.ingest(*paths, *(SAMPLES / "rotten").iterdir())
    return {Path(path).name: file for path, file in files.items()}
