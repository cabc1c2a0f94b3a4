"""Dashboards, alerts, runbooks and the page of metrics agree with what the services expose."""

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
OF_THE_TARGET = {"job", "service", "instance"}
OF_PROMETHEUS = {
    "up": OF_THE_TARGET,
    "ALERTS": {"alertname", "alertstate", "severity", "service"},
    "process_resident_memory_bytes": OF_THE_TARGET,
}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: apt-get install prometheus"
)


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


METRICS_PAGE = script("deploy/prometheus/metrics_page.py")
DASHBOARDS = script("deploy/grafana/dashboards.py")
RULES: dict[str, Any] = {
    rule["alert"]: rule
    for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}


def exposed() -> dict[str, set[str]]:
    """Labels of every series that `/metrics` of a service has."""
    found = dict(OF_PROMETHEUS)
    for metrics in METRICS_PAGE.recorders().values():
        for metric in metrics:
            labels, name = {*metric._labelnames, *OF_THE_TARGET}, METRICS_PAGE.exposed_name(metric)
            if isinstance(metric, Histogram):
                found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
            else:
                found[name] = labels
    return found


EXPOSED = exposed()


def panel_queries() -> Iterator[tuple[str, str, str]]:
    for path in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                where = f"{path.stem}: {panel['title']} {target['refId']}"
                yield where, target["expr"], target.get("legendFormat", "")


def selectors(expression: Any) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(expression, visit)
    return found


def unknown_words(query: str, legend: str = "") -> set[str]:
    """Metrics and labels of a query that no service exposes."""
    expression = promql_parser.parse(query.replace("$__rate_interval", "1m").replace("$service", ".*"))
    unknown: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            known = EXPOSED.get(node.name)
            asked = {matcher.name for matcher in node.matchers.matchers}
            unknown.update({node.name} if known is None else asked - known)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            below = [EXPOSED.get(selector.name, set()) for selector in selectors(node)]
            unknown.update(set(node.modifier.labels) - set().union(*below))

    promql_parser.walk(expression, visit)
    named = [EXPOSED.get(selector.name, set()) for selector in selectors(expression)]
    return unknown | (set(re.findall(r"{{(\w+)}}", legend)) - set().union(*named))


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("rate(events_eaten_total[1m])", {"events_eaten_total"}),
        ('sum(events_consumed_total{outcome="ok"})', {"outcome"}),
        ("sum by (partition) (outbox_pending)", {"partition"}),
        ("sum by (service, topic) (rate(events_consumed_total[1m]))", set()),
    ],
)
def test_a_query_of_what_is_not_there_is_found(query: str, wrong: set[str]) -> None:
    assert unknown_words(query) == wrong


def test_panels_read_metrics_that_services_expose() -> None:
    queries = list(panel_queries())
    assert len(queries) > 60
    unknown = {where: words for where, query, legend in queries if (words := unknown_words(query, legend))}
    assert unknown == {}


def test_alerts_read_metrics_that_services_expose() -> None:
    unknown = {name: words for name, rule in RULES.items() if (words := unknown_words(rule["expr"]))}
    assert unknown == {}


def test_dashboards_are_what_their_code_writes() -> None:
    committed = {path.name: path.read_text() for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")}
    assert committed == DASHBOARDS.documents(), "run `make schemas`"


def test_page_of_metrics_is_what_the_code_defines() -> None:
    assert METRICS_PAGE.PAGE.read_text(encoding="utf-8") == METRICS_PAGE.render_page(), "run `make schemas`"


def test_every_metric_is_recorded_somewhere() -> None:
    sources = "".join(path.read_text() for path in ROOT.glob("*/*/src/**/*.py") if path.stem != "metrics")
    defined = {name for module in METRICS_PAGE.modules() for name in METRICS_PAGE.definitions(module)}
    assert len(defined) > 40
    assert {name for name in defined if not re.search(rf"metrics\.{name}\b", sources)} == set()


def test_panels_explain_themselves_and_have_names_of_their_own() -> None:
    for name, document in DASHBOARDS.documents().items():
        panels = [panel for panel in json.loads(document)["panels"] if panel["type"] not in {"row", "text"}]
        assert all(panel["description"] for panel in panels), name
        for panel in panels:
            references = [target["refId"] for target in panel["targets"]]
            assert len(set(references)) == len(references) > 0, (name, panel["title"])


def test_every_alert_has_a_page_that_a_panel_leads_to() -> None:
    assert sorted(path.stem for path in RUNBOOKS.iterdir()) == sorted(RULES)
    linked = set(re.findall(r"Runbook: (\w+)", "".join(DASHBOARDS.documents().values())))
    assert linked == set(RULES)
    for name, rule in RULES.items():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
        assert "phonograph" in rule["annotations"]["summary"], "a summary names the command to run"
        page = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert re.findall(r"^#+ (\w+)", page, re.MULTILINE) == [name, "Impact", "Diagnose", "Fix"]


def test_runbooks_and_summaries_name_commands_that_exist() -> None:
    texts = [path.read_text(encoding="utf-8") for path in RUNBOOKS.iterdir()]
    texts += [rule["annotations"]["summary"] for rule in RULES.values()]
    typed = set(re.findall(r"(?:^|`|: |; )phonograph ((?:[a-z]+ ?){1,2})", "\n".join(texts), re.MULTILINE))
    assert len(typed) > 10
    for words in typed:
        command: Any = get_command(app)
        for word in words.split():
            if not hasattr(command, "commands"):
                break
            assert word in command.commands, f"phonograph {words}"
            command = command.commands[word]


def test_an_absent_service_is_missed_whichever_it_is() -> None:
    assert set(re.findall(r'service="([\w-]+)"', RULES["ServiceDown"]["expr"])) == {*Service}


def test_every_alert_is_tested_where_it_fires_and_where_it_is_silent() -> None:
    cases = yaml.safe_load(UNIT_TESTS.read_text(encoding="utf-8"))["tests"]
    tested = {
        (check["alertname"], bool(check["exp_alerts"])) for case in cases for check in case["alert_rule_test"]
    }
    assert tested == {(name, fires) for name in RULES for fires in (True, False)}


@needs_promtool
def test_alerts_fire_and_stay_silent_as_their_unit_tests_say() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", str(UNIT_TESTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_takes_its_configuration() -> None:
    configuration = DEPLOY / "prometheus" / "prometheus.yml"
    done = subprocess.run(
        ["promtool", "check", "config", str(configuration)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
