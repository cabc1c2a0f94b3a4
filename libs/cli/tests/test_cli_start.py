"""The command starts fast: slow modules are imported only where they are needed."""

import os
import subprocess
import sys
from pathlib import Path

from phonograph_cli.choices import FillersName, ProfileName
from phonograph_events import Fillers, Profile

HEAVY = ("aiokafka", "neo4j", "numpy", "pandas", "phonograph_events", "phonograph_runtime", "sqlalchemy")


def test_main_imports_nothing_heavy() -> None:
    code = f"import sys, phonograph_cli.main; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_status_imports_no_client_of_a_server(tmp_path: Path) -> None:
    code = """
import sys
from typer.testing import CliRunner
from phonograph_cli.main import app

run = CliRunner().invoke(app, ["status"])
clients = ("aiokafka", "asyncpg", "neo4j", "obstore", "sqlalchemy")
print(run.exit_code, [name for name in clients if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PHONOGRAPH_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "3 []\n"


def test_graph_is_read_without_data_frames() -> None:
    code = """
import asyncio, sys
from phonograph_cli import graph, ingestion, recordings
from phonograph_devstack import Addresses

async def connect():
    async with graph.connect(Addresses("", "", "bolt://127.0.0.1:1", "", "")):
        print([name for name in ("numpy", "pandas") if name in sys.modules])

asyncio.run(connect())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_choices_are_those_of_the_contract() -> None:
    assert [name.value for name in ProfileName] == [profile.value for profile in Profile]
    assert [name.value for name in FillersName] == [degree.value for degree in Fillers]
