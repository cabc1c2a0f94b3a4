"""Dashboards, alerts, runbooks and the metrics page agree with the metrics that the services expose."""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import Histogram
from typer.main import get_command

from phonograph_cli.main import app
from phonograph_events import Service

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
UNIT_TESTS = DEPLOY / "prometheus" / "alerts.test.yml"
TARGET_LABELS = {"job", "service", "instance"}
PROMETHEUS_METRICS = {
    "up": TARGET_LABELS,
    "ALERTS": {"alertname", "alertstate", "severity", "service"},
    "process_resident_memory_bytes": TARGET_LABELS,
}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: apt-get install prometheus"
)


def load_script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


METRICS_PAGE = load_script("deploy/prometheus/metrics_page.py")
DASHBOARDS = load_script("deploy/grafana/dashboards.py")
RULES: dict[str, Any] = {
    rule["alert"]: rule
    for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}


def exposed_labels() -> dict[str, set[str]]:
    """Return the labels of every series in `/metrics` of a service."""
    found = dict(PROMETHEUS_METRICS)
    for metrics in METRICS_PAGE.metrics_by_recorder().values():
        for metric in metrics:
            labels, name = (
                {*METRICS_PAGE.label_names(metric), *TARGET_LABELS},
                METRICS_PAGE.exposed_name(metric),
            )
            if isinstance(metric, Histogram):
                found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
            else:
                found[name] = labels
    return found


EXPOSED = exposed_labels()


def panel_queries() -> Iterator[tuple[str, str, str]]:
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                source = f"{path.stem}: {panel['title']} {target['refId']}"
                yield source, target["expr"], target.get("legendFormat", "")


def selectors(expression: Any) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(expression, visit)
    return found


def unknown_names(query: str, legend: str = "") -> set[str]:
    """Return the metrics and labels of a query that no service exposes."""
    expression = promql_parser.parse(query.replace("$__rate_interval", "1m").replace("$service", ".*"))
    unknown: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            known = EXPOSED.get(node.name)
            matched = {matcher.name for matcher in node.matchers.matchers}
            unknown.update({node.name} if known is None else matched - known)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            available = [EXPOSED.get(selector.name, set()) for selector in selectors(node)]
            unknown.update(set(node.modifier.labels) - set().union(*available))

    promql_parser.walk(expression, visit)
    selected = [EXPOSED.get(selector.name, set()) for selector in selectors(expression)]
    return unknown | (set(re.findall(r"{{(\w+)}}", legend)) - set().union(*selected))


@pytest.mark.parametrize(
    ("query", "unknown"),
    [
        ("rate(events_eaten_total[1m])", {"events_eaten_total"}),
        ('sum(events_consumed_total{outcome="ok"})', {"outcome"}),
        ("sum by (partition) (outbox_pending)", {"partition"}),
        ("sum by (service, topic) (rate(events_consumed_total[1m]))", set()),
    ],
)
def test_unknown_metrics_and_labels_of_a_query_are_found(query: str, unknown: set[str]) -> None:
    assert unknown_names(query) == unknown


def test_panels_read_metrics_that_services_expose() -> None:
    queries = list(panel_queries())
    assert len(queries) > 60
    unknown = {source: names for source, query, legend in queries if (names := unknown_names(query, legend))}
    assert unknown == {}


def test_alerts_read_metrics_that_services_expose() -> None:
    unknown = {name: names for name, rule in RULES.items() if (names := unknown_names(rule["expr"]))}
    assert unknown == {}


def test_dashboards_match_the_generator() -> None:
    committed = {path.name: path.read_text() for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")}
    assert committed == DASHBOARDS.render_dashboards(), "run `make schemas`"


def test_metrics_page_matches_the_code() -> None:
    assert METRICS_PAGE.PAGE.read_text(encoding="utf-8") == METRICS_PAGE.render_page(), "run `make schemas`"


def test_every_metric_is_recorded_somewhere() -> None:
    sources = "".join(path.read_text() for path in ROOT.glob("*/*/src/**/*.py") if path.stem != "metrics")
    defined = {name for module in METRICS_PAGE.modules() for name in METRICS_PAGE.definitions(module)}
    assert len(defined) > 40
    assert {name for name in defined if not re.search(rf"metrics\.{name}\b", sources)} == set()


def test_panels_have_descriptions_and_unique_query_names() -> None:
    for name, document in DASHBOARDS.render_dashboards().items():
        panels = [panel for panel in json.loads(document)["panels"] if panel["type"] not in {"row", "text"}]
        assert all(panel["description"] for panel in panels), name
        for panel in panels:
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references) > 0, (name, panel["title"])


def test_every_alert_has_a_runbook_linked_from_a_panel() -> None:
    assert sorted(path.stem for path in RUNBOOKS.iterdir()) == sorted(RULES)
    linked = set(re.findall(r"Runbook: (\w+)", "".join(DASHBOARDS.render_dashboards().values())))
    assert linked == set(RULES)
    for name, rule in RULES.items():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
        assert "phonograph" in rule["annotations"]["summary"], "a summary names the command to run"
        page = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert re.findall(r"^#+ (\w+)", page, re.MULTILINE) == [name, "Impact", "Diagnose", "Fix"]


def test_commands_in_runbooks_and_summaries_exist() -> None:
    texts = [path.read_text(encoding="utf-8") for path in RUNBOOKS.iterdir()]
    texts += [rule["annotations"]["summary"] for rule in RULES.values()]
    commands = set(re.findall(r"(?:^|`|: |; )phonograph ((?:[a-z]+ ?){1,2})", "\n".join(texts), re.MULTILINE))
    assert len(commands) > 10
    for line in commands:
        command: Any = get_command(app)
        for word in line.split():
            if not hasattr(command, "commands"):
                break
            assert word in command.commands, f"phonograph {line}"
            command = command.commands[word]


def test_the_absence_of_every_service_raises_an_alert() -> None:
    assert set(re.findall(r'service="([\w-]+)"', RULES["ServiceDown"]["expr"])) == {*Service}


def test_every_alert_has_a_test_that_fires_and_one_that_does_not() -> None:
    cases = yaml.safe_load(UNIT_TESTS.read_text(encoding="utf-8"))["tests"]
    tested = {
        (check["alertname"], bool(check["exp_alerts"])) for case in cases for check in case["alert_rule_test"]
    }
    assert tested == {(name, fires) for name in RULES for fires in (True, False)}


@needs_promtool
def test_alert_unit_tests_pass() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", str(UNIT_TESTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_accepts_its_configuration() -> None:
    configuration = DEPLOY / "prometheus" / "prometheus.yml"
    done = subprocess.run(
        ["promtool", "check", "config", str(configuration)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
