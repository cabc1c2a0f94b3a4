"""Services as child processes: started once, restarted after a kill, stopped completely."""

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from phonograph_devstack import ExternalStack, Process, StackError, services, supervisor

ENVIRONMENT = {
    "PHONOGRAPH_POSTGRES_URL": "postgresql://postgres@127.0.0.1:1/phonograph",
    "PHONOGRAPH_KAFKA": "127.0.0.1:1",
    "PHONOGRAPH_NEO4J_URI": "bolt://127.0.0.1:1",
    "PHONOGRAPH_NEO4J_USER": "neo4j",
    "PHONOGRAPH_NEO4J_PASSWORD": "phonograph",
}
SERVICE_WITH_A_CHILD = """
import subprocess, sys, http.server
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("child", child.pid, flush=True)
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""
IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("stubborn", flush=True)
time.sleep(600)
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ExternalStack]:
    host = ExternalStack(tmp_path / "home", environment=ENVIRONMENT, report=lambda _: None)
    yield host
    host.down()


def http_service(host: ExternalStack) -> Process:
    port = host.free_port("web", 18000)
    return Process(
        name="web",
        command=(sys.executable, "-c", SERVICE_WITH_A_CHILD, str(port)),
        environment={},
        health_url=f"http://127.0.0.1:{port}/",
        port=port,
    )


def script(name: str, code: str) -> Process:
    return Process(name, (sys.executable, "-c", code), {}, health_url=None, port=None)


def child_pid(host: ExternalStack) -> int:
    lines = host.log_path("web").read_text().splitlines()
    return int([line for line in lines if line.startswith("child")][-1].split()[1])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(host: ExternalStack, name: str, word: str) -> None:
    deadline = time.monotonic() + 20
    while word not in host.log_path(name).read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_service_is_started_once_and_ready_afterwards(host: ExternalStack) -> None:
    service = http_service(host)
    host.start([service])
    [first] = host.status()
    assert (first.state, first.port) == ("running", service.port)
    host.start([http_service(host)])
    assert [status.pid for status in host.status()] == [first.pid]


def test_a_killed_service_is_restarted_and_its_orphan_killed(host: ExternalStack) -> None:
    host.start([http_service(host)])
    [before] = host.status()
    orphan = child_pid(host)
    os.kill(before.pid or 0, signal.SIGKILL)
    assert is_alive(orphan)
    host.start([http_service(host)])
    [after] = host.status()
    assert after.state == "running"
    assert after.pid != before.pid
    assert after.port == before.port
    assert not is_alive(orphan)
    assert is_alive(child_pid(host))


def test_down_kills_service_and_orphans(host: ExternalStack) -> None:
    host.start([http_service(host)])
    [status] = host.status()
    orphan = child_pid(host)
    os.kill(status.pid or 0, signal.SIGKILL)
    host.down()
    assert not is_alive(orphan)
    assert [status.state for status in host.status()] == ["stopped"]


def test_down_stops_a_service_whose_files_are_lost(host: ExternalStack) -> None:
    host.start([http_service(host)])
    [status] = host.status()
    orphan = child_pid(host)
    shutil.rmtree(host.log_path("web").parents[1])
    host.down()
    assert not is_alive(status.pid or 0)
    assert not is_alive(orphan)


def test_down_kills_a_service_that_does_not_stop(
    host: ExternalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_STOP_TIMEOUT_S", 0.3)
    host.start([script("stubborn", IGNORES_SIGTERM)])
    wait_for(host, "stubborn", "stubborn")
    [status] = host.status()
    host.down()
    assert not is_alive(status.pid or 0)


def test_a_reused_pid_is_not_taken_for_the_recorded_process(host: ExternalStack) -> None:
    host.start([script("sleeper", "import time; time.sleep(600)")])
    record = host.log_path("sleeper").parents[1] / "run" / "sleeper.json"
    recorded = supervisor.Supervisor(record.parents[1], print).last_record("sleeper")
    assert recorded is not None
    reused = supervisor.ProcessRecord(os.getpid(), recorded.started_ticks, None, 0)
    assert recorded.is_alive
    assert not reused.is_alive


def test_the_error_of_a_service_that_ends_at_once_has_its_last_log_lines(host: ExternalStack) -> None:
    failing = Process(
        "failing",
        (sys.executable, "-c", "print('no such table'); raise SystemExit(1)"),
        {},
        health_url="http://127.0.0.1:1/",
        port=None,
    )
    with pytest.raises(
        StackError, match=r"failing ended during its start(?s:.*)failing.log(?s:.*)no such table"
    ):
        host.start([failing])


def test_the_error_names_a_service_that_stays_unhealthy(
    host: ExternalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "_HEALTHY_TIMEOUT_S", 0.2)
    silent = Process(
        "silent", (sys.executable, "-c", "import time; time.sleep(600)"), {}, "http://127.0.0.1:1/", None
    )
    with pytest.raises(StackError, match=r"silent .* does not answer"):
        host.start([silent])


def test_the_error_names_a_service_with_an_unknown_command(host: ExternalStack) -> None:
    with pytest.raises(StackError, match="Cannot start odd"):
        host.start([Process("odd", ("/no/such/program",), {}, None, None)])


def test_a_taken_port_is_replaced_and_the_choice_is_stored(tmp_path: Path) -> None:
    lines: list[str] = []
    host = ExternalStack(tmp_path, environment=ENVIRONMENT, report=lines.append)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        preferred = taken.getsockname()[1]
        chosen = host.free_port("web", preferred)
        assert chosen > preferred
        assert lines == [f"Port {preferred} for web is taken; using {chosen}."]
    assert host.free_port("web", preferred) == chosen
    with socket.create_server(("127.0.0.1", chosen)):
        assert host.free_port("web", preferred) == preferred


def test_two_names_never_share_a_port(tmp_path: Path) -> None:
    host = ExternalStack(tmp_path, environment=ENVIRONMENT, report=lambda _: None)
    assert host.free_port("one", 18100) != host.free_port("two", 18100)


def test_the_error_names_a_missing_address(tmp_path: Path) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PHONOGRAPH_KAFKA"}
    with pytest.raises(StackError, match="PHONOGRAPH_KAFKA"):
        ExternalStack(tmp_path, environment=environment)


def test_the_error_names_an_address_that_does_not_answer(tmp_path: Path) -> None:
    host = ExternalStack(tmp_path, environment=ENVIRONMENT, report=lambda _: None)
    with pytest.raises(StackError, match=r"PHONOGRAPH_POSTGRES_URL: nothing answers at 127.0.0.1:1"):
        host.up()


def test_an_answer_of_another_process_does_not_make_a_service_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If two checkouts choose the same port simultaneously, the second one fails."""
    monkeypatch.setattr(services, "_HEALTHY_TIMEOUT_S", 1.0)
    first = ExternalStack(tmp_path / "first", environment=ENVIRONMENT, report=lambda _: None)
    second = ExternalStack(tmp_path / "second", environment=ENVIRONMENT, report=lambda _: None)
    service = http_service(first)
    try:
        first.start([service])
        with pytest.raises(StackError, match=r"web ended during its start(?s:.*)Address already in use"):
            second.start([service])
    finally:
        first.down()
        second.down()


def test_two_commands_wait_for_each_other(tmp_path: Path) -> None:
    lines: list[str] = []
    first = supervisor.Supervisor(tmp_path, lines.append)
    second = ExternalStack(tmp_path, environment=ENVIRONMENT, report=lines.append)
    with ThreadPoolExecutor(1) as pool:
        with first.lock():
            waiting = pool.submit(second.free_port, "web", 18200)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
        assert waiting.result(timeout=10)
    assert "waiting for it" in lines[0]
