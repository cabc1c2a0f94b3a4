"""The whole system watched by Prometheus: a fault raises its alert and no other; every panel has a result.

The rules are those of `deploy/prometheus/alerts.yml`, five times as impatient: every duration (`for`, ranges)
and every age that they compare is divided by `IMPATIENCE`. Five, because the services read their gauges every
10 s: with more, the time between two readings would look like a fault.
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

IMPATIENCE = 5
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
CALM_AFTER_S = 300
"""The longest window of an impatient alert, and the time to go back."""

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="Prometheus is not installed: apt-get install prometheus"
    ),
]
Alert = tuple[str, str]
"""Its name and its service."""


def impatient(rules: str) -> str:
    """The same rules with every duration and every compared age divided."""

    def sooner(duration: re.Match[str]) -> str:
        return f"{int(duration[1]) * SECONDS[duration[2]] * 1000 // IMPATIENCE}ms"

    def shorter(span: re.Match[str]) -> str:
        return re.sub(r"(\d+)([smhd])", sooner, span[0])

    document = yaml.safe_load(rules)
    for group in document["groups"]:
        for rule in group["rules"]:
            rule["expr"] = re.sub(r"\[[^]]+\]", shorter, rule["expr"])
            rule["expr"] = re.sub(
                r"((?:age|timestamp|lag|transaction)_seconds\) > )(\d+)",
                lambda age: f"{age[1]}{int(age[2]) / IMPATIENCE:g}",
                rule["expr"],
            )
            if "for" in rule:
                rule["for"] = shorter(re.fullmatch(r".*", rule["for"]))  # type: ignore[arg-type]
    return yaml.safe_dump(document, sort_keys=False)


@dataclass(frozen=True)
class Watched:
    """A running system and the Prometheus that watches it."""

    system: System
    port: int

    @property
    def project(self) -> Project:
        return self.system.project

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)["data"]

    def firing(self) -> set[Alert]:
        return {
            (alert["labels"]["alertname"], alert["labels"].get("service", ""))
            for alert in self.ask("alerts")["alerts"]
            if alert["state"] == "firing"
        }

    def seen_since(self, moment: float) -> set[Alert]:
        """Every alert that fired at any time since then."""
        span = f"{max(1, round(time.time() - moment))}s"
        found = self.ask("query", query=f'max_over_time(ALERTS{{alertstate="firing"}}[{span}])')["result"]
        return {(each["metric"]["alertname"], each["metric"].get("service", "")) for each in found}

    def wait_for(self, expected: set[Alert], *, within_s: float) -> float:
        """Wait until these fire; how long that took."""
        started = time.monotonic()
        while not expected <= (firing := self.firing()):
            assert time.monotonic() - started < within_s, f"{expected} do not fire, but {firing or 'nothing'}"
            time.sleep(0.5)
        return time.monotonic() - started

    def wait_until_calm(self) -> None:
        deadline = time.monotonic() + CALM_AFTER_S
        while firing := self.firing():
            assert time.monotonic() < deadline, f"still firing: {firing}"
            time.sleep(0.5)

    def kill(self, name: str) -> None:
        pid = self.system.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with servers("chaos-alerts") as project:
        project.up()
        rules = tmp_path_factory.mktemp("rules") / "alerts.yml"
        rules.write_text(impatient((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()))
        monitoring = replace(project.monitoring, rules=rules, interval=timedelta(seconds=1))
        ports = {process.name: process.port for process in project.stack.status() if process.port}
        services = {service.value: ports[service.value] for service in Service}
        (prometheus, *_) = monitoring.processes(services)
        project.stack.start([prometheus])
        assert prometheus.port is not None
        yield Watched(System(project), prometheus.port)


@pytest.fixture
def calm(watched: Watched) -> float:
    """All runs, whatever the test before broke, and nothing fires; since when."""
    watched.project.up()
    watched.wait_until_calm()
    return time.time()


def queries() -> Iterator[tuple[str, str]]:
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$__rate_interval", "1m").replace("$service", ".*")
                yield f"{path.stem}: {panel['title']} {target['refId']}", expression


def test_rules_become_impatient_and_nothing_else() -> None:
    rules = yaml.safe_load(
        impatient("""
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


def test_work_on_every_sample_raises_nothing_and_every_panel_has_a_result(
    watched: Watched, calm: float
) -> None:
    samples = [SAMPLES / name for name in ("groove.mp3", "lecture.mp4", "talk.ogg")]
    worked = watched.system("ingest", *samples, "--wait", timeout_s=900)
    assert worked.code == 0, worked.out + worked.err
    time.sleep(15)  # gauges are read every 10 s
    assert watched.seen_since(calm) == set()
    asked = dict(queries())
    empty = [where for where, query in asked.items() if not watched.ask("query", query=query)["result"]]
    print(f"alerts: {len(asked)} queries of panels, {len(empty)} without a result")
    assert empty == []


def test_a_killed_service_is_down(watched: Watched, calm: float) -> None:
    watched.kill("analysis")
    took_s = watched.wait_for({("ServiceDown", "analysis")}, within_s=60)
    assert watched.seen_since(calm) == {("ServiceDown", "analysis")}
    print(f"alerts: service killed, ServiceDown after {took_s:.1f} s")


def test_without_kafka_the_outbox_waits(watched: Watched, calm: float, tmp_path: Path) -> None:
    log = watched.project.stack.log_path("transcription")
    before = log.read_text().count("job started")
    assert watched.system("ingest", fresh_recording(tmp_path)).code == 0
    deadline = time.monotonic() + 300
    while log.read_text().count("job started") == before:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    watched.kill("kafka")
    took_s = watched.wait_for({("OutboxWaits", "transcription")}, within_s=120)
    others = {alert for alert in watched.seen_since(calm) if alert[0] != "OutboxWaits"}
    assert others == set()
    print(f"alerts: Kafka killed, OutboxWaits after {took_s:.1f} s")


async def test_poison_is_a_ticket_for_each_service_that_had_to_take_it(watched: Watched, calm: float) -> None:
    headers = [("ce_id", b"1"), ("ce_type", b"phonograph.ingest.requested.v1")]
    await Stack(watched.project).send(Record("ingest-requested", b"poison", b"{no json", headers))
    took_s = await asyncio.to_thread(watched.wait_for, {("EventsParked", "ingest")}, within_s=60)
    assert watched.seen_since(calm) == {("EventsParked", "ingest")}
    print(f"alerts: bad event, EventsParked after {took_s:.1f} s")


def test_an_engine_that_dies_every_time_fails_its_job(watched: Watched, calm: float, tmp_path: Path) -> None:
    assert watched.system("ingest", fresh_recording(tmp_path)).code == 0
    service, deadline = watched.system.pid("transcription"), time.monotonic() + 600
    killed: set[int] = set()
    while ("JobsFail", "transcription") not in watched.firing():
        assert time.monotonic() < deadline, (
            f"{len(killed)} engines were killed, and only {watched.firing()} fire"
        )
        for _ in range(20):
            with suppress(ProcessLookupError, FileNotFoundError):  # gone between the look and the deed
                for pid in engines(service):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            time.sleep(0.05)
    assert watched.seen_since(calm) == {("JobsFail", "transcription")}
    print(f"alerts: {len(killed)} engines killed, JobsFail")


def fresh_recording(folder: Path) -> Path:
    """Five minutes of noise that the system has never heard."""
    path = folder / "noise.wav"
    with wave.open(str(path), "wb") as recording:
        recording.setparams((1, 2, 16_000, 0, "NONE", ""))
        recording.writeframes(os.urandom(2 * 16_000 * 300))
    return path


def engines(service_pid: int | None) -> list[int]:
    """Engine processes that a service has started."""
    threads = Path(f"/proc/{service_pid}/task").glob("*/children")
    return [int(pid) for children in threads for pid in children.read_text().split()]
