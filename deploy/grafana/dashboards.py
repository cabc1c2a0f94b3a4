"""Writes the dashboards in `dashboards/`: `python deploy/grafana/dashboards.py`.

On a healthy, idle system every query returns zero, not an empty result. Every copy of a service exposes the
same gauges of the database: they are aggregated with `max`, everything else with `sum`.
"""

from pathlib import Path

from grafana_foundation_sdk.builders import common as look
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus, stat, table, text, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, VariableRefresh
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

ROOT = Path(__file__).parents[2]
DASHBOARDS = Path(__file__).parent / "dashboards"
RUNBOOKS = ROOT / "docs" / "runbooks"
SERVICES = 7
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
UP = 'up{job="phonograph"}'
SCOPE = 'job="phonograph", service=~"$service"'
MEMORY = f"sum by (service) (process_resident_memory_bytes{{{SCOPE}}} + engine_memory_bytes{{{SCOPE}}})"

Thresholds = tuple[float, float]
"""The lowest value shown in orange, and the lowest shown in red."""


def or_zero(expression: str) -> str:
    """Return the expression, extended by 0 for every service without a value."""
    return f"{expression} or on (service) 0 * sum by (service) (up{{{SCOPE}}})"


def rate(metric: str, by: str = "service", where: str = "") -> str:
    """Return an expression for the increase of a counter per second.

    Args:
        metric: Name of the counter.
        by: Labels to group by.
        where: Additional label matchers, with a leading comma.
    """
    return f"sum by ({by}) (rate({metric}{{{SCOPE}{where}}}[$__rate_interval]))"


def increase(metric: str, by: str = "service", where: str = "") -> str:
    """Return an expression for the increase of a counter between two points of the graph.

    Args:
        metric: Name of the counter.
        by: Labels to group by.
        where: Additional label matchers, with a leading comma.
    """
    return f"sum by ({by}) (increase({metric}{{{SCOPE}{where}}}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str = "service") -> str:
    """Return an expression for a quantile of a histogram.

    Args:
        share: Quantile from 0 to 1.
        metric: Name of the histogram, without a suffix.
        by: Labels to group by.
    """
    buckets = f"sum by ({by}, le) (rate({metric}_bucket{{{SCOPE}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {buckets})"


def largest(gauge: str, by: str = "service", where: str = "") -> str:
    """Return an expression for a gauge that has the same value in all copies of a service.

    Args:
        gauge: Name of the gauge.
        by: Labels to group by.
        where: Additional label matchers, with a leading comma.
    """
    return f"max by ({by}) ({gauge}{{{SCOPE}{where}}})"


def total(gauge: str, by: str = "service", where: str = "") -> str:
    """Return an expression for the sum of a gauge over all copies of a service.

    Args:
        gauge: Name of the gauge.
        by: Labels to group by.
        where: Additional label matchers, with a leading comma.
    """
    return f"sum by ({by}) ({gauge}{{{SCOPE}{where}}})"


def query(expression: str, legend: str = "") -> prometheus.Dataquery:
    """Return a query over the range of a graph."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).datasource(SOURCE).range()


def instant_query(expression: str, reference: str = "A") -> prometheus.Dataquery:
    """Return a query for the current moment."""
    instant = prometheus.Dataquery().expr(expression).datasource(SOURCE).ref_id(reference)
    return instant.instant().format(PromQueryFormat.TABLE)


def thresholds(limits: Thresholds | None, *, normal: str = "green") -> build.ThresholdsConfig:
    """Return the colors of a value."""
    colors = [dashboard.Threshold(value=None, color=normal)]
    if limits:
        colors += [dashboard.Threshold(limits[0], "orange"), dashboard.Threshold(limits[1], "red")]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(colors)


def runbook_links(alerts: tuple[str, ...]) -> list[Builder[dashboard.DashboardLink]]:
    """Return links from a panel to the pages of its alerts."""
    return [
        build.DashboardLink(f"Runbook: {alert}")
        .type(dashboard.DashboardLinkType.LINK)
        .url(runbook_url(alert))
        for alert in alerts
    ]


def runbook_url(alert: str) -> str:
    """Return the address at which Grafana shows the page of an alert."""
    return f"/d/phonograph-runbooks?viewPanel={runbook_names().index(alert) + 1}"


def runbook_names() -> list[str]:
    """Return the alerts that have a page."""
    return sorted(path.stem for path in RUNBOOKS.glob("*.md"))


def graph(
    title: str,
    description: str,
    *queries: prometheus.Dataquery,
    unit: str = "short",
    limits: Thresholds | None = None,
    alerts: tuple[str, ...] = (),
    stacked: bool = False,
    span: int = 8,
) -> timeseries.Panel:
    """Return a graph of lines over time, with a dashed line at each limit.

    Args:
        title: Title of the panel.
        description: Explanation of the panel.
        queries: At most eight queries.
        unit: Grafana's name of the unit.
        limits: Lowest orange and lowest red value.
        alerts: Alerts whose pages the panel links to.
        stacked: Stack the lines.
        span: Width in columns, of 24.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .height(8)
        .span(span)
        .line_width(1)
        .fill_opacity(25 if stacked else 8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            look.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            look.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        .thresholds(thresholds(limits))
        .links(runbook_links(alerts))
        .targets([each.ref_id(reference) for reference, each in zip("ABCDEFGH", queries, strict=False)])
    )
    if limits:
        panel = panel.thresholds_style(
            look.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    return panel.stacking(look.StackingConfig().mode(common.StackingMode.NORMAL)) if stacked else panel


def number(
    title: str,
    description: str,
    expression: str,
    *,
    unit: str = "short",
    limits: Thresholds | None = None,
    alerts: tuple[str, ...] = (),
    span: int = 4,
    place: dashboard.GridPos | None = None,
) -> stat.Panel:
    """Return a panel with one current number; the dashboard places it if `place` is None.

    Args:
        title: Title of the panel.
        description: Explanation of the panel.
        expression: PromQL expression with one value.
        unit: Grafana's name of the unit.
        limits: Lowest orange and lowest red value.
        alerts: Alerts whose pages the panel links to.
        span: Width in columns, of 24.
        place: Position on the dashboard; by default after the previous panel.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .height(4)
        .span(span)
        .color_mode(common.BigValueColorMode.BACKGROUND_SOLID if limits else common.BigValueColorMode.NONE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .thresholds(thresholds(limits))
        .links(runbook_links(alerts))
        .with_target(instant_query(expression).format(PromQueryFormat.TIME_SERIES))
        .reduce_options(look.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return panel.grid_pos(place) if place else panel


def service_variable(values: str) -> build.QueryVariable:
    """Return the variable that selects services; a row can be repeated for each of them."""
    return (
        build.QueryVariable("service")
        .label("Service")
        .datasource(SOURCE)
        .query(f"label_values({values}, service)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard.VariableOption(selected=True, text="All", value="$__all"))
    )


def board(name: str, title: str, description: str, *, services: str = "") -> build.Dashboard:
    """Return an empty dashboard with the properties that all dashboards share.

    Args:
        name: Last part of the dashboard's id.
        title: Title of the dashboard.
        description: Explanation of the dashboard.
        services: Metric whose label `service` lists the services to select; empty for no selection.
    """
    empty = (
        build.Dashboard(title)
        .uid(f"phonograph-{name}")
        .description(description)
        .tags(["phonograph"])
        .timezone("browser")
        .readonly()
        .time("now-1h", "now")
        .refresh("10s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            build.DashboardLink("Phonograph")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags(["phonograph"])
            .keep_time(True)
        )
    )
    if not services:
        return empty
    source = build.DatasourceVariable("datasource").label("Source").type("prometheus")
    return empty.with_variable(source).with_variable(service_variable(services))


def alerts_table() -> table.Panel:
    """Return the table of firing alerts; it has one neutral line if there are none."""
    firing = 'max by (alertname, service, severity) (ALERTS{alertstate="firing"})'
    placeholder = 'label_replace(vector(0), "alertname", "No alert fires", "", "")'
    link = dashboard.DynamicConfigValue(
        "links",
        [
            build.DashboardLink("Runbook")
            .type(dashboard.DashboardLinkType.LINK)
            .url("/d/phonograph-runbooks")
            .build()
        ],
    )
    return (
        table.Panel()
        .title("Firing alerts")
        .description("Act on a page at once, on a ticket within the working day.")
        .datasource(SOURCE)
        .height(8)
        .span(12)
        .with_target(instant_query(f"{firing} or on () {placeholder}"))
        .with_transformation(
            dashboard.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": {"Time": True, "Value": True},
                    "indexByName": {"severity": 0, "alertname": 1, "service": 2},
                    "renameByName": {"alertname": "alert"},
                },
            )
        )
        .override_by_name("alert", [link])
    )


def services_table() -> table.Panel:
    """Return the table of services: what waits, what is parked, what failed."""
    columns = {
        "copies": (f"sum by (service) (up{{{SCOPE}}})", "short", None),
        "events behind": (total("consumer_lag"), "short", (1000, 10000)),
        "parked": (
            or_zero(f"sum by (service) ({largest('dlq_messages', 'service, topic, reason')})"),
            "short",
            (1, 100),
        ),
        "outbox": (largest("outbox_oldest_age_seconds"), "s", (30, 60)),
        "jobs waiting": (or_zero(largest("jobs", where=', status=~"pending|retrying"')), "short", None),
        "oldest job": (largest("job_oldest_queued_age_seconds"), "s", (900, 3600)),
        "failed in 1 h": (
            or_zero(f'sum by (service) (increase(jobs_finished_total{{{SCOPE}, outcome="failed"}}[1h]))'),
            "short",
            (1, 10),
        ),
        "memory": (
            MEMORY,
            "bytes",
            None,
        ),
    }
    panel = (
        table.Panel()
        .title("Services")
        .description("Orange deserves attention, red has an alert. Copies: processes that respond.")
        .datasource(SOURCE)
        .grid_pos(dashboard.GridPos(h=9, w=24, x=0, y=8))
    )
    names = {}
    for reference, (name, (expression, unit, limits)) in zip("ABCDEFGH", columns.items(), strict=True):
        panel = panel.with_target(instant_query(expression, reference))
        names[f"Value #{reference}"] = name
        properties = [
            dashboard.DynamicConfigValue("unit", unit),
            dashboard.DynamicConfigValue("decimals", 0),
        ]
        if limits:
            properties += [
                dashboard.DynamicConfigValue("thresholds", thresholds(limits, normal="transparent").build()),
                dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-background"}),
            ]
        panel = panel.override_by_name(name, properties)
    return panel.with_transformation(
        dashboard.DataTransformerConfig(id_val="merge", options={})
    ).with_transformation(
        dashboard.DataTransformerConfig(
            id_val="organize", options={"excludeByName": {"Time": True}, "renameByName": names}
        )
    )


def overview() -> build.Dashboard:
    """Return the dashboard for the operator on duty."""
    responding = "count(sum by (service) (up{job='phonograph'}) > 0) or vector(0)"
    return (
        board("overview", "Phonograph: overview", "Firing alerts, and the work in progress.", services=UP)
        .with_panel(alerts_table())
        .with_panel(
            number(
                "Pages",
                "Alerts that need action now.",
                'count(ALERTS{alertstate="firing", severity="page"}) or vector(0)',
                limits=(1, 1),
            )
        )
        .with_panel(
            number(
                "Tickets",
                "Alerts that need action today.",
                'count(ALERTS{alertstate="firing", severity="ticket"}) or vector(0)',
                limits=(1, 10),
            )
        )
        .with_panel(
            number(
                "Services missing",
                "Of seven, those without a copy that responds.",
                f"{SERVICES} - ({responding})",
                limits=(1, 1),
                alerts=("ServiceDown",),
            )
        )
        .with_panel(
            number(
                "Files ingested, 24 h",
                "Requests that ingest completed, including rejected ones.",
                'sum(increase(jobs_finished_total{service="ingest", outcome="completed"}[24h])) or vector(0)',
                place=dashboard.GridPos(h=4, w=4, x=12, y=4),
            )
        )
        .with_panel(
            number(
                "Recorded time processed, 24 h",
                "Seconds of recordings, counted once per service that processed them.",
                "sum(increase(model_recording_seconds_total[24h])) or vector(0)",
                unit="s",
                place=dashboard.GridPos(h=4, w=4, x=16, y=4),
            )
        )
        .with_panel(
            number(
                "Jobs waiting",
                "Total of all services.",
                'sum(max by (service) (jobs{status=~"pending|retrying"})) or vector(0)',
                place=dashboard.GridPos(h=4, w=4, x=20, y=4),
            )
        )
        .with_panel(services_table())
        .with_row(build.Row("Latency"))
        .with_panel(
            graph(
                "Late events",
                "From an event's own time to its effect, 99th percentile.",
                query(quantile(0.99, "event_e2e_latency_seconds"), "{{service}}"),
                unit="s",
                limits=(10, 30),
                alerts=("EventsLate",),
            )
        )
        .with_panel(
            graph(
                "Events behind",
                "Records on the topics that the service has not consumed yet.",
                query(total("consumer_lag"), "{{service}}"),
                alerts=("LagGrows", "ConsumerStalled"),
            )
        )
        .with_panel(
            graph(
                "Oldest job ready to run",
                "How long a file waits for a free worker.",
                query(largest("job_oldest_queued_age_seconds"), "{{service}}"),
                unit="s",
                limits=(900, 3600),
                alerts=("JobsWait", "JobsUnclaimed"),
            )
        )
        .with_row(build.Row("Work"))
        .with_panel(
            graph(
                "Events processed",
                "New events per second.",
                query(or_zero(rate("events_consumed_total", where=', result="ok"')), "{{service}}"),
                unit="cps",
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Jobs finished",
                "Completed jobs per minute.",
                query(
                    or_zero("60 * " + rate("jobs_finished_total", where=', outcome="completed"')),
                    "{{service}}",
                ),
                unit="cpm",
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Memory",
                "Of the services and their engines.",
                query(MEMORY, "{{service}}"),
                unit="bytes",
                stacked=True,
            )
        )
    )


def event_plane() -> build.Dashboard:
    """Return the dashboard of consumers, dead letters, outbox and database."""
    return (
        board("events", "Phonograph: event plane", "Events in, events out, dead letters.", services=UP)
        .with_row(build.Row("Events in"))
        .with_panel(
            graph(
                "Consumed events, by result",
                "`ok` took effect, `duplicate` did so before, `retry` runs again, `parked` is a dead letter.",
                query(or_zero(rate("events_consumed_total", "service, result")), "{{service}} {{result}}"),
                unit="cps",
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "From an event's time to its effect",
                "50th, 95th and 99th percentile.",
                query(quantile(0.5, "event_e2e_latency_seconds"), "{{service}} p50"),
                query(quantile(0.95, "event_e2e_latency_seconds"), "{{service}} p95"),
                query(quantile(0.99, "event_e2e_latency_seconds"), "{{service}} p99"),
                unit="s",
                limits=(10, 30),
                alerts=("EventsLate",),
            )
        )
        .with_panel(
            graph(
                "One batch, one transaction",
                "99th percentile.",
                query(quantile(0.99, "event_processing_seconds"), "{{service}}"),
                unit="s",
            )
        )
        .with_panel(
            graph(
                "Events behind, by topic",
                "Records that wait on the topics.",
                query(total("consumer_lag", "service, topic"), "{{service}} {{topic}}"),
                alerts=("LagGrows",),
            )
        )
        .with_panel(
            graph(
                "Time since the last progress of the consumer",
                "Having no events to consume counts as progress. While events wait, the value must stay low.",
                query(
                    or_zero(
                        f"time() - max by (service) (consumer_last_progress_timestamp_seconds{{{SCOPE}}} > 0)"
                    ),
                    "{{service}}",
                ),
                unit="s",
                limits=(60, 120),
                alerts=("ConsumerStalled",),
            )
        )
        .with_panel(
            graph(
                "Assigned partitions",
                "Total of all copies of a service; it must be constant.",
                query(total("consumer_assigned_partitions"), "{{service}}"),
            )
        )
        .with_panel(
            graph(
                "Stuck partitions",
                "Records wait and none arrives, although other partitions may be read.",
                query(
                    or_zero(largest("consumer_stuck_partitions", "service, topic")), "{{service}} {{topic}}"
                ),
                limits=(1, 1),
                alerts=("PartitionStuck",),
                span=12,
            )
        )
        .with_panel(
            graph(
                "Unreadable batches",
                "Batches of which no record could be read. Each is one dead letter.",
                query(
                    or_zero(increase("batches_unreadable_total", "service, topic")), "{{service}} {{topic}}"
                ),
                limits=(1, 1),
                alerts=("BatchesUnreadable",),
                span=12,
            )
        )
        .with_panel(
            graph(
                "Kafka problems",
                "Failed commits, errors, rebalances, restarted consumers.",
                query(or_zero(increase("consumer_commit_failures_total")), "{{service}} commit failures"),
                query(or_zero(increase("consumer_kafka_errors_total")), "{{service}} errors"),
                query(or_zero(increase("consumer_rebalances_total")), "{{service}} rebalances"),
                query(or_zero(increase("consumer_restarts_total")), "{{service}} restarts"),
                alerts=("CommitsFail", "ConsumerRestarts"),
                span=12,
            )
        )
        .with_panel(
            graph(
                "Delivered again",
                "Duplicates found by the inbox. They took effect once.",
                query(or_zero(rate("inbox_duplicates_total")), "{{service}}"),
                unit="cps",
                span=12,
            )
        )
        .with_row(build.Row("Dead letters"))
        .with_panel(
            number(
                "Unresolved",
                "Neither replayed nor dropped. See `phonograph dlq list`.",
                f"sum({largest('dlq_messages', 'service, topic, reason')}) or vector(0)",
                limits=(1, 100),
                alerts=("EventsParked", "DeadLettersWait"),
                span=6,
            )
        )
        .with_panel(
            number(
                "Oldest",
                "Age of the oldest unresolved dead letter.",
                f"max({largest('dlq_oldest_age_seconds')}) or vector(0)",
                unit="s",
                limits=(3600, 86400),
                alerts=("DeadLettersWait",),
                span=6,
            )
        )
        .with_panel(
            number(
                "Services with consumption stopped",
                "Their circuit breaker opened, because they parked too many events.",
                f"sum({largest('consumer_fused')}) or vector(0)",
                limits=(1, 1),
                alerts=("ConsumptionStopped",),
                span=6,
            )
        )
        .with_panel(
            number(
                "Share parked, 10 min",
                "Of the consumed events.",
                f'sum(increase(events_consumed_total{{{SCOPE}, result="parked"}}[10m]))'
                f" / (sum(increase(events_consumed_total{{{SCOPE}}}[10m])) > 0) or vector(0)",
                unit="percentunit",
                limits=(0.001, 0.01),
                alerts=("ManyEventsParked",),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Unresolved, by reason",
                "Current number.",
                query(
                    or_zero(largest("dlq_messages", "service, topic, reason")),
                    "{{service}} {{topic}} {{reason}}",
                ),
                alerts=("EventsParked",),
            )
        )
        .with_panel(
            graph(
                "New",
                "Since the previous point.",
                query(
                    or_zero(increase("dlq_parked_total", "service, topic, reason")), "{{service}} {{reason}}"
                ),
                alerts=("EventsParked", "ManyEventsParked"),
            )
        )
        .with_panel(
            graph(
                "Resolved",
                "Replayed or dropped, since the previous point.",
                query(
                    or_zero(increase("dlq_resolved_total", "service, resolution")),
                    "{{service}} {{resolution}}",
                ),
            )
        )
        .with_row(build.Row("Events out"))
        .with_panel(
            graph(
                "Oldest waiting event",
                "The relay publishes within milliseconds; more means that Kafka does not respond.",
                query(largest("outbox_oldest_age_seconds"), "{{service}}"),
                unit="s",
                limits=(30, 60),
                alerts=("OutboxWaits",),
            )
        )
        .with_panel(graph("Waiting", "Rows of the outbox.", query(largest("outbox_pending"), "{{service}}")))
        .with_panel(
            graph(
                "From the row to Kafka's acknowledgment",
                "50th and 99th percentile.",
                query(quantile(0.5, "outbox_delivery_seconds"), "{{service}} p50"),
                query(quantile(0.99, "outbox_delivery_seconds"), "{{service}} p99"),
                unit="s",
            )
        )
        .with_panel(
            graph(
                "Published",
                "Events per second.",
                query(or_zero(rate("outbox_published_total")), "{{service}}"),
                unit="cps",
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Rejected by Kafka",
                "Batches; they are sent again.",
                query(or_zero(increase("outbox_publish_failures_total")), "{{service}}"),
                alerts=("OutboxWaits",),
            )
        )
        .with_panel(
            graph(
                "Relays",
                "Exactly one copy of a service publishes: the value must be 1.",
                query(total("outbox_relay_leader"), "{{service}}"),
            )
        )
        .with_row(build.Row("Database"))
        .with_panel(
            graph(
                "Connections",
                "Total of all copies of a service.",
                query(or_zero(total("database_connections", "service, state")), "{{service}} {{state}}"),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Oldest open transaction",
                "An old one prevents vacuum from removing rows.",
                query(largest("database_oldest_transaction_seconds"), "{{service}}"),
                unit="s",
                limits=(300, 900),
                alerts=("TransactionOpen",),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Dead rows",
                "Rows that vacuum has not removed yet.",
                query(or_zero(largest("database_dead_tuples", "service, table")), "{{service}} {{table}}"),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Expired rows deleted",
                "Since the previous point.",
                query(
                    or_zero(increase("retention_deleted_total", "service, table")), "{{service}} {{table}}"
                ),
                span=6,
            )
        )
    )


def jobs() -> build.Dashboard:
    """Return the dashboard of jobs and models, with one row per service that has jobs."""
    row, by = build.Row("$service").repeat("service"), "service, kind"
    return (
        board("jobs", "Phonograph: jobs and models", "One row per service.", services="jobs")
        .with_row(row)
        .with_panel(
            graph(
                "Jobs",
                "For `failed` jobs see `phonograph jobs list --status failed`.",
                query(largest("jobs", "service, status", ', status!="completed"'), "{{status}}"),
                stacked=True,
                alerts=("JobsFail",),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Oldest job ready to run",
                "How long a file waits for a free worker.",
                query(largest("job_oldest_queued_age_seconds"), "age"),
                unit="s",
                limits=(900, 3600),
                alerts=("JobsWait", "JobsUnclaimed"),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Workers",
                "Total of all copies of the service.",
                query(or_zero(total("workers", "service, state")), "{{state}}"),
                stacked=True,
                alerts=("JobsUnclaimed",),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Attempts, by outcome",
                "Since the previous point. A job fails after three attempts.",
                query(
                    or_zero(increase("jobs_finished_total", "service, kind, outcome")), "{{kind}} {{outcome}}"
                ),
                stacked=True,
                alerts=("MostJobsFail", "JobsFail"),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Waiting time",
                "From request to start, 50th and 95th percentile.",
                query(or_zero(quantile(0.5, "job_wait_seconds", by)), "{{kind}} p50"),
                query(or_zero(quantile(0.95, "job_wait_seconds", by)), "{{kind}} p95"),
                unit="s",
                alerts=("JobsWait",),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Time in the engine",
                "50th and 95th percentile.",
                query(or_zero(quantile(0.5, "job_run_seconds", by)), "{{kind}} p50"),
                query(or_zero(quantile(0.95, "job_run_seconds", by)), "{{kind}} p95"),
                unit="s",
                span=6,
            )
        )
        .with_panel(
            graph(
                "Seconds per second of recording",
                "50th and 95th percentile; above 1 the engine is slower than the recording plays.",
                query(or_zero(quantile(0.5, "model_realtime_factor", by)), "{{kind}} p50"),
                query(or_zero(quantile(0.95, "model_realtime_factor", by)), "{{kind}} p95"),
                limits=(0.5, 1),
                alerts=("EngineSlow",),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Recorded time processed",
                "Seconds of recordings per second.",
                query(or_zero(rate("model_recording_seconds_total", by)), "{{kind}}"),
                stacked=True,
                span=6,
            )
        )
        .with_panel(
            graph(
                "Attempts per finished job",
                "Mean.",
                query(
                    or_zero(f"{rate('job_attempts_sum', by)} / {rate('job_attempts_count', by)}"),
                    "{{kind}}",
                ),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Job problems",
                "Workers that died or stopped responding, results that came too late, failed jobs.",
                query(or_zero(increase("job_lease_expired_total")), "leases expired"),
                query(or_zero(increase("job_fenced_completions_total")), "results dropped"),
                query(or_zero(increase("job_dead_total", "service, reason")), "failed {{reason}}"),
                alerts=("LeasesExpire", "JobsFail"),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Engine start",
                "From its start to its first task, 50th and 95th percentile.",
                query(quantile(0.5, "model_load_seconds"), "p50"),
                query(quantile(0.95, "model_load_seconds"), "p95"),
                unit="s",
                span=6,
            )
        )
        .with_panel(
            graph(
                "Memory",
                "Of the processes of the service and of its engines.",
                query(total("process_resident_memory_bytes"), "service"),
                query(total("engine_memory_bytes"), "engines"),
                unit="bytes",
                stacked=True,
                span=6,
            )
        )
    )


def graph_sync() -> build.Dashboard:
    """Return the dashboard of graph-sync."""
    return (
        board(
            "graph",
            "Phonograph: graph sync",
            "Mirroring of results into Neo4j.",
            services="graph_tx_seconds_count",
        )
        .with_panel(
            number(
                "Behind",
                "From the newest event seen to the newest event in the graph.",
                f"max({largest('graph_sync_lag_seconds')}) or vector(0)",
                unit="s",
                limits=(30, 120),
                alerts=("GraphLags",),
                span=6,
            )
        )
        .with_panel(
            number(
                "Events behind",
                "Records on the topics that are not in the graph yet.",
                f"sum({total('consumer_lag')}) or vector(0)",
                limits=(1000, 10000),
                alerts=("LagGrows", "ConsumerStalled"),
                span=6,
            )
        )
        .with_panel(
            number(
                "Dead letters",
                "Unresolved dead letters of graph-sync. See `phonograph dlq list`.",
                f"sum({largest('dlq_messages', 'service, topic, reason')}) or vector(0)",
                limits=(1, 100),
                alerts=("EventsParked",),
                span=6,
            )
        )
        .with_panel(
            number(
                "Stubs",
                "Nodes to which another node points and whose own event has not arrived yet.",
                f"max({largest('graph_stub_nodes')}) or vector(0)",
                span=6,
            )
        )
        .with_panel(
            graph(
                "Behind",
                "From the newest event seen to the newest event in the graph.",
                query(largest("graph_sync_lag_seconds"), "behind"),
                unit="s",
                limits=(30, 120),
                alerts=("GraphLags",),
            )
        )
        .with_panel(
            graph(
                "Events in the graph",
                "Per second, by topic.",
                query(or_zero(rate("events_consumed_total", "service, topic", ', result="ok"')), "{{topic}}"),
                unit="cps",
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "From an event's time to the graph",
                "50th and 99th percentile.",
                query(quantile(0.5, "event_e2e_latency_seconds"), "p50"),
                query(quantile(0.99, "event_e2e_latency_seconds"), "p99"),
                unit="s",
                limits=(10, 30),
                alerts=("EventsLate",),
            )
        )
        .with_panel(
            graph(
                "Rows sent",
                "Per second: nodes, their parts, edges.",
                query(or_zero(rate("graph_sync_rows_total", "service, kind")), "{{kind}}"),
                unit="cps",
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "One batch, one transaction",
                "Including retries, 50th and 99th percentile.",
                query(quantile(0.5, "graph_tx_seconds"), "p50"),
                query(quantile(0.99, "graph_tx_seconds"), "p99"),
                unit="s",
            )
        )
        .with_panel(
            graph(
                "Retried transactions",
                "By Neo4j's code, since the previous point. An occasional deadlock is normal.",
                query(or_zero(increase("graph_tx_retries_total", "service, code")), "{{code}}"),
                alerts=("GraphLags",),
            )
        )
    )


def runbook_board() -> build.Dashboard:
    """Return the dashboard of the pages in docs/runbooks, to which the panels link."""
    runbooks = board("runbooks", "Phonograph: runbooks", "One page per alert, as in docs/runbooks.")
    for alert in runbook_names():
        page = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
        runbooks = runbooks.with_panel(text.Panel().title(alert).content(page).height(14).span(12))
    return runbooks


def render_dashboards() -> dict[str, str]:
    """Return the JSON of every dashboard by its file name."""
    boards = {
        "overview": overview().build(),
        "events": event_plane().build(),
        "jobs": jobs().build(),
        "graph": graph_sync().build(),
        "runbooks": runbook_board().build(),
    }
    for each in boards.values():
        for number_, panel in enumerate(each.panels or [], start=1):
            panel.id_val = number_
    return {
        f"{name}.json": JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(each) + "\n"
        for name, each in boards.items()
    }


def main() -> None:
    """Write the dashboards, and delete files of dashboards that no longer exist."""
    written = render_dashboards()
    for path in DASHBOARDS.glob("*.json"):
        if path.name not in written:
            path.unlink()
    for name, document in written.items():
        (DASHBOARDS / name).write_text(document, encoding="utf-8")


if __name__ == "__main__":
    main()
