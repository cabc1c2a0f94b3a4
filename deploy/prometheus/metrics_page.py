"""Writes docs/metrics.md, the meaning of each metric: `python deploy/prometheus/metrics_page.py`."""

import importlib
import importlib.util
import math
from pathlib import Path
from types import ModuleType

from prometheus_client import Counter, Gauge, Histogram

from phonograph_events import Service

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
LONG_WORK = ("job", "workers", "model_", "engine_")
Metric = Counter | Gauge | Histogram

INTRODUCTION = """\
# Metrics

<!-- Written by `make schemas` from the code; do not edit. -->

Every service exposes `/metrics`. In Prometheus all of them have `job="phonograph"`; the label `service` names
the service, and `instance` its copy (`deploy/prometheus/prometheus.yml`; locally
`phonograph up --with monitoring`). Alerts are in `deploy/prometheus/alerts.yml`, each with a page in
[runbooks/](runbooks/), dashboards in `deploy/grafana/`.

Gauges about rows of the database (outbox, dead letters, jobs) have the same value in every copy of a service:
aggregate them with `max`. Everything else belongs to one copy: aggregate it with `sum`. In addition there are
Python's `process_*` and `python_*` metrics.
"""


def modules() -> dict[ModuleType, str]:
    """Return the modules that define metrics, each with the service that records them or `Every service`."""
    found = {importlib.import_module("phonograph_runtime.metrics"): "Every service"}
    for service in Service:
        name = f"phonograph_{service.role}.metrics"
        if importlib.util.find_spec(name):
            found[importlib.import_module(name)] = service.value
    return found


def definitions(module: ModuleType) -> dict[str, Metric]:
    """Return the metrics of a module by their names in the code, in order of definition."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Metric)}


def recorders() -> dict[str, list[Metric]]:
    """Return the metrics, grouped by the services that record them."""
    found: dict[str, list[Metric]] = {}
    for module, recorder in modules().items():
        for metric in definitions(module).values():
            long_work = recorder == "Every service" and exposed_name(metric).startswith(LONG_WORK)
            found.setdefault("Services with jobs: all but graph-sync" if long_work else recorder, []).append(
                metric
            )
    return found


def exposed_name(metric: Metric) -> str:
    """Return the name in `/metrics`; a histogram adds `_bucket`, `_sum` and `_count` to it."""
    return f"{metric._name}_total" if isinstance(metric, Counter) else metric._name  # noqa: SLF001  # no accessor


def kind(metric: Metric) -> str:
    """Return the type of a metric, for a histogram with the range of its buckets."""
    if not isinstance(metric, Histogram):
        return metric._type  # noqa: SLF001  # no accessor
    bounds = [bound for bound in metric._upper_bounds if math.isfinite(bound)]  # noqa: SLF001  # no accessor
    return f"histogram, {bounds[0]:g} to {bounds[-1]:g}"


def table(metrics: list[Metric]) -> str:
    """Return a table with one line per metric."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001  # no accessor
        lines.append(
            f"| `{exposed_name(metric)}` | {kind(metric)} | {labels} | {metric._documentation} |"  # noqa: SLF001  # no accessor
        )
    return "\n".join(lines)


def render_page() -> str:
    """Return the whole page."""
    parts = [f"## {recorder}\n\n{table(metrics)}\n" for recorder, metrics in recorders().items()]
    return "\n".join([INTRODUCTION, *parts])


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
