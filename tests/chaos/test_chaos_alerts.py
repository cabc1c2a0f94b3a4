"""The whole system monitored by Prometheus: a fault fires its alert and no other; every panel has a result.

The rules are those of `deploy/prometheus/alerts.yml`, shortened: every duration (`for`, ranges) and every age
that they compare is divided by `SPEEDUP`. It is five because services sample their gauges every 10 s: with a
larger one, the time between two samples would look like a fault.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import time
import urllib.parse
import urllib.request
import wave
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.stack import ROOT, Stack, servers
from tests.support.system import SAMPLES, System

from phonograph_cli.project import Project
from phonograph_events import Record, Service

SPEEDUP = 5
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
CALM_AFTER_S = 300
"""The longest window of a shortened alert, plus the time until it resolves."""

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="Prometheus is not installed: apt-get install prometheus"
    ),
]
Alert = tuple[str, str]
"""Name and service of an alert."""


def shorten(rules: str) -> str:
    """Return the rules with every duration and every compared age divided by `SPEEDUP`."""

    def shorten_duration(duration: re.Match[str]) -> str:
        return f"{int(duration[1]) * SECONDS[duration[2]] * 1000 // SPEEDUP}ms"

    def shorten_durations(text: str) -> str:
        return re.sub(r"(\d+)([smhd])", shorten_duration, text)

    document = yaml.safe_load(rules)
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[[^]]+\]", lambda window: shorten_durations(window[0]), rule["expr"])
            rule["expr"] = re.sub(
                r"((?:age|timestamp|lag|transaction)_seconds\) > )(\d+)",
                lambda age: f"{age[1]}{int(age[2]) / SPEEDUP:g}",
                rule["expr"],
            )
            if "for" in rule:
                rule["for"] = shorten_durations(rule["for"])
    return yaml.safe_dump(document, sort_keys=False)


@dataclass(frozen=True)
class MonitoredSystem:
    """A running system and the Prometheus that monitors it."""

    system: System
    port: int

    @property
    def project(self) -> Project:
        return self.system.project

    def fetch(self, path: str, **query: str) -> Any:
        """Return the data of a request to the HTTP API of Prometheus."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)["data"]

    def firing(self) -> set[Alert]:
        """Return the alerts that fire now."""
        return {
            (alert["labels"]["alertname"], alert["labels"].get("service", ""))
            for alert in self.fetch("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def fired_since(self, start: float) -> set[Alert]:
        """Return every alert that fired at any time since `start`, in seconds since the epoch."""
        window = f"{max(1, round(time.time() - start))}s"
        query = f'max_over_time(ALERTS{{alertstate="firing"}}[{window}])'
        result = self.fetch("query", query=query)["result"]
        return {(each["metric"]["alertname"], each["metric"].get("service", "")) for each in result}

    def wait_for(self, expected: set[Alert], *, within_s: float) -> float:
        """Wait until alerts fire and return the seconds that this took."""
        started = time.monotonic()
        while not expected <= (firing := self.firing()):
            assert time.monotonic() - started < within_s, f"{expected} do not fire, but {firing or 'nothing'}"
            time.sleep(0.5)
        return time.monotonic() - started

    def wait_until_calm(self) -> None:
        """Wait until no alert fires."""
        deadline = time.monotonic() + CALM_AFTER_S
        while firing := self.firing():
            assert time.monotonic() < deadline, f"still firing: {firing}"
            time.sleep(0.5)

    def kill(self, name: str) -> None:
        """Kill a server or service."""
        pid = self.system.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitoredSystem]:
    with servers("chaos-alerts") as project:
        project.up()
        rules = tmp_path_factory.mktemp("rules") / "alerts.yml"
        rules.write_text(shorten((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()))
        monitoring = replace(project.monitoring, rules=rules, interval=timedelta(seconds=1))
        ports = {process.name: process.port for process in project.stack.status() if process.port}
        services = {service.value: ports[service.value] for service in Service}
        (prometheus, *_) = monitoring.processes(services)
        project.stack.start([prometheus])
        assert prometheus.port is not None
        yield MonitoredSystem(System(project), prometheus.port)


@pytest.fixture
def calm(monitored: MonitoredSystem) -> float:
    """The time since which every process runs and no alert fires, in seconds since the epoch."""
    monitored.project.up()
    monitored.wait_until_calm()
    return time.time()


def panel_queries() -> Iterator[tuple[str, str]]:
    """Yield the name and the query of every panel of every dashboard."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$__rate_interval", "1m").replace("$service", ".*")
                yield f"{path.stem}: {panel['title']} {target['refId']}", expression


def test_only_durations_and_ages_of_rules_are_shortened() -> None:
    rules = yaml.safe_load(
        shorten("""
groups:
  - name: test
    rules:
      - alert: A
        expr: deriv(sum by (service) (consumer_lag)[15m:1m]) > 50 and max (outbox_oldest_age_seconds) > 60
        for: 1m
""")
    )["groups"][0]["rules"][0]
    assert rules["expr"].startswith("deriv(sum by (service) (consumer_lag)[180000ms:12000ms]) > 50 and")
    assert rules["expr"].endswith("(outbox_oldest_age_seconds) > 12")
    assert rules["for"] == "12000ms"


def test_normal_work_fires_no_alert_and_every_panel_has_a_result(
    monitored: MonitoredSystem, calm: float
) -> None:
    samples = [SAMPLES / name for name in ("groove.mp3", "lecture.mp4", "talk.ogg")]
    ingested = monitored.system("ingest", *samples, "--wait", timeout_s=900)
    assert ingested.code == 0, ingested.out + ingested.err
    time.sleep(15)  # gauges are sampled every 10 s
    assert monitored.fired_since(calm) == set()
    queries = dict(panel_queries())
    empty = [panel for panel, query in queries.items() if not monitored.fetch("query", query=query)["result"]]
    print(f"alerts: {len(queries)} queries of panels, {len(empty)} without a result")
    assert empty == []


def test_killed_service_fires_service_down(monitored: MonitoredSystem, calm: float) -> None:
    monitored.kill("analysis")
    took_s = monitored.wait_for({("ServiceDown", "analysis")}, within_s=60)
    assert monitored.fired_since(calm) == {("ServiceDown", "analysis")}
    print(f"alerts: service killed, ServiceDown after {took_s:.1f} s")


def test_killed_kafka_fires_outbox_waits(monitored: MonitoredSystem, calm: float, tmp_path: Path) -> None:
    log = monitored.project.stack.log_path("transcription")
    before = log.read_text().count("job started")
    assert monitored.system("ingest", fresh_recording(tmp_path)).code == 0
    deadline = time.monotonic() + 300
    while log.read_text().count("job started") == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    monitored.kill("kafka")
    took_s = monitored.wait_for({("OutboxWaits", "transcription")}, within_s=120)
    others = {alert for alert in monitored.fired_since(calm) if alert[0] != "OutboxWaits"}
    assert others == set()
    print(f"alerts: Kafka killed, OutboxWaits after {took_s:.1f} s")


async def test_poison_fires_events_parked_for_its_consumer(monitored: MonitoredSystem, calm: float) -> None:
    headers = [("ce_id", b"1"), ("ce_type", b"phonograph.ingest.requested.v1")]
    await Stack(monitored.project).send(Record("ingest-requested", b"poison", b"{no json", headers))
    took_s = await asyncio.to_thread(monitored.wait_for, {("EventsParked", "ingest")}, within_s=60)
    assert monitored.fired_since(calm) == {("EventsParked", "ingest")}
    print(f"alerts: bad event, EventsParked after {took_s:.1f} s")


def test_engine_that_always_dies_fires_jobs_fail(
    monitored: MonitoredSystem, calm: float, tmp_path: Path
) -> None:
    assert monitored.system("ingest", fresh_recording(tmp_path)).code == 0
    service, deadline = monitored.system.pid("transcription"), time.monotonic() + 600
    killed: set[int] = set()
    while ("JobsFail", "transcription") not in monitored.firing():
        assert time.monotonic() < deadline, (
            f"{len(killed)} engines were killed, and only {monitored.firing()} fire"
        )
        for _ in range(20):
            with suppress(ProcessLookupError, FileNotFoundError):  # it exited before it could be killed
                for pid in engine_pids(service):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            time.sleep(0.05)
    assert monitored.fired_since(calm) == {("JobsFail", "transcription")}
    print(f"alerts: {len(killed)} engines killed, JobsFail")


def fresh_recording(folder: Path) -> Path:
    """Write five minutes of noise, which is no duplicate of any other recording."""
    path = folder / "noise.wav"
    with wave.open(str(path), "wb") as recording:
        recording.setparams((1, 2, 16_000, 0, "NONE", ""))
        recording.writeframes(os.urandom(2 * 16_000 * 300))
    return path


def engine_pids(service_pid: int | None) -> list[int]:
    """Return the process ids of the engines that a service has started."""
    threads = Path(f"/proc/{service_pid}/task").glob("*/children")
    return [int(pid) for children in threads for pid in children.read_text().split()]
