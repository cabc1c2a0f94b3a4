"""Prometheus is found, gets its targets and rules, and stops with the services of a stack."""

import json
import shutil
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from phonograph_devstack import ExternalStack, Monitoring, Process, StackError
from phonograph_devstack.monitoring import GRAFANA, PROMETHEUS

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Prometheus is not installed: apt-get install prometheus"
)
ADDRESSES = {
    "PHONOGRAPH_POSTGRES_URL": "postgresql://postgres@127.0.0.1:1/phonograph",
    "PHONOGRAPH_KAFKA": "127.0.0.1:1",
    "PHONOGRAPH_NEO4J_URI": "bolt://127.0.0.1:1",
    "PHONOGRAPH_NEO4J_USER": "neo4j",
    "PHONOGRAPH_NEO4J_PASSWORD": "phonograph",
}
RULES = """
groups:
  - name: test
    rules:
      - alert: Bells
        expr: bells > 2
"""
SERVICE = """
import sys, prometheus_client
prometheus_client.Gauge("bells", "Rung").set(3)
prometheus_client.start_http_server(int(sys.argv[1]), "127.0.0.1")[1].join()
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ExternalStack]:
    host = ExternalStack(tmp_path / "home", environment=ADDRESSES, report=lambda _: None)
    yield host
    host.down()


def make_monitoring(host: ExternalStack, folder: Path, **environment: str) -> Monitoring:
    rules = folder / "rules.yml"
    rules.write_text(RULES)
    return Monitoring(
        host=host,
        home=folder / "home",
        environment={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment},
        rules=rules,
        provisioning=folder / "provisioning",
        interval=timedelta(milliseconds=500),
    )


def make_executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def query_api(port: int | None, path: str, **query: str) -> Any:
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)["data"]


@needs_prometheus
def test_services_are_scraped_under_their_names_and_rules_are_evaluated(
    host: ExternalStack, tmp_path: Path
) -> None:
    port = host.free_port("belfry", 18200)
    command = (sys.executable, "-c", SERVICE, str(port))
    host.start([Process("belfry", command, {}, health_url=f"http://127.0.0.1:{port}/metrics", port=port)])
    monitoring = make_monitoring(host, tmp_path)
    (prometheus,) = monitoring.processes({"belfry": port})
    host.start([prometheus])
    deadline = time.monotonic() + 30
    while not (alerts := query_api(prometheus.port, "alerts")["alerts"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert alerts[0]["labels"]["alertname"] == "Bells"
    (up,) = query_api(prometheus.port, "query", query="up")["result"]
    assert up["metric"]["job"] == "phonograph"
    assert (up["metric"]["service"], up["value"][1]) == ("belfry", "1")
    assert {process.name: process.state for process in host.status()}[PROMETHEUS] == "running"
    host.down()
    assert {process.name: process.state for process in host.status()}[PROMETHEUS] == "stopped"


def test_without_prometheus_the_error_explains_what_to_install(host: ExternalStack, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="apt-get install prometheus"):
        make_monitoring(host, tmp_path, PATH=str(tmp_path)).require_prometheus()


def test_a_path_without_a_program_is_rejected(host: ExternalStack, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="PHONOGRAPH_PROMETHEUS is '/nowhere/prometheus'"):
        make_monitoring(host, tmp_path, PHONOGRAPH_PROMETHEUS="/nowhere/prometheus").require_prometheus()


def test_grafana_is_started_only_if_it_is_installed(host: ExternalStack, tmp_path: Path) -> None:
    program = make_executable(tmp_path / "bin" / "prometheus")
    alone = make_monitoring(host, tmp_path, PATH=str(tmp_path), PHONOGRAPH_PROMETHEUS=str(program))
    assert [process.name for process in alone.processes({})] == [PROMETHEUS]
    unpacked = make_executable(tmp_path / "grafana-12" / "bin" / "grafana")
    (tmp_path / "grafana-12" / "conf").mkdir()
    (tmp_path / "grafana-12" / "conf" / "defaults.ini").touch()
    both = make_monitoring(
        host,
        tmp_path,
        PATH=str(tmp_path),
        PHONOGRAPH_PROMETHEUS=str(program),
        PHONOGRAPH_GRAFANA=str(unpacked),
    )
    prometheus, grafana = both.processes({"belfry": 18200})
    assert grafana.name == GRAFANA
    assert grafana.command == (str(unpacked), "server", "--homepath", str(tmp_path / "grafana-12"))
    assert grafana.environment["PHONOGRAPH_PROMETHEUS_URL"] == f"http://127.0.0.1:{prometheus.port}"
