"""Writes the dashboards in `dashboards/`: `python deploy/grafana/dashboards.py`.

Every query gives a result on a healthy, idle system: zero rather than nothing. Gauges that every copy of a
service reads from the same database are taken by `max`, everything else by `sum`.
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
OURS = 'job="phonograph", service=~"$service"'
MEMORY = f"sum by (service) (process_resident_memory_bytes{{{OURS}}} + engine_memory_bytes{{{OURS}}})"

Thresholds = tuple[float, float]
"""From where a value is orange, and from where it is red."""


def zero(expression: str) -> str:
    """The expression, and 0 for every service for which it has nothing yet."""
    return f"{expression} or on (service) 0 * sum by (service) (up{{{OURS}}})"


def rate(metric: str, by: str = "service", where: str = "") -> str:
    """What a counter gains in a second."""
    return f"sum by ({by}) (rate({metric}{{{OURS}{where}}}[$__rate_interval]))"


def gained(metric: str, by: str = "service", where: str = "") -> str:
    """What a counter gains between two points of the graph."""
    return f"sum by ({by}) (increase({metric}{{{OURS}{where}}}[$__rate_interval]))"


def quantile(share: float, metric: str, by: str = "service") -> str:
    """A quantile of a histogram."""
    buckets = f"sum by ({by}, le) (rate({metric}_bucket{{{OURS}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {buckets})"


def largest(gauge: str, by: str = "service", where: str = "") -> str:
    """A gauge that all copies of a service see alike."""
    return f"max by ({by}) ({gauge}{{{OURS}{where}}})"


def total(gauge: str, by: str = "service", where: str = "") -> str:
    """A gauge of which every copy of a service has its own part."""
    return f"sum by ({by}) ({gauge}{{{OURS}{where}}})"


def query(expression: str, legend: str = "") -> prometheus.Dataquery:
    """A query over the range of a graph."""
    return prometheus.Dataquery().expr(expression).legend_format(legend).datasource(SOURCE).range()


def now(expression: str, reference: str = "A") -> prometheus.Dataquery:
    """A query for this moment."""
    asked = prometheus.Dataquery().expr(expression).datasource(SOURCE).ref_id(reference)
    return asked.instant().format(PromQueryFormat.TABLE)


def steps(limits: Thresholds | None, *, calm: str = "green") -> build.ThresholdsConfig:
    """Colours of a value."""
    colours = [dashboard.Threshold(value=None, color=calm)]
    if limits:
        colours += [dashboard.Threshold(limits[0], "orange"), dashboard.Threshold(limits[1], "red")]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(colours)


def runbook_links(alerts: tuple[str, ...]) -> list[Builder[dashboard.DashboardLink]]:
    """Links from a panel to the pages of its alerts."""
    return [
        build.DashboardLink(f"Runbook: {alert}")
        .type(dashboard.DashboardLinkType.LINK)
        .url(runbook_url(alert))
        for alert in alerts
    ]


def runbook_url(alert: str) -> str:
    """Where Grafana shows the page of an alert."""
    return f"/d/phonograph-runbooks?viewPanel={runbooks().index(alert) + 1}"


def runbooks() -> list[str]:
    """Alerts that have a page."""
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
    """Lines over time; a dashed line where orange and red begin."""
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
        .thresholds(steps(limits))
        .links(runbook_links(alerts))
        .targets([each.ref_id(letter) for letter, each in zip("ABCDEFGH", queries, strict=False)])
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
    """One number for now; the dashboard places it unless told where."""
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
        .thresholds(steps(limits))
        .links(runbook_links(alerts))
        .with_target(now(expression).format(PromQueryFormat.TIME_SERIES))
        .reduce_options(look.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return panel.grid_pos(place) if place else panel


def service_variable(values: str) -> build.QueryVariable:
    """Which services to show; one row of panels is repeated for each where a row asks for it."""
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
    """An empty dashboard with what all have in common."""
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
    """What fires now; one calm line when nothing does."""
    firing = 'max by (alertname, service, severity) (ALERTS{alertstate="firing"})'
    calm = 'label_replace(vector(0), "alertname", "Nothing fires", "", "")'
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
        .title("What is broken")
        .description("Alerts that fire now. Pages want somebody at once, tickets within the working day.")
        .datasource(SOURCE)
        .height(8)
        .span(12)
        .with_target(now(f"{firing} or on () {calm}"))
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
    """One line for each service: what waits, what was put aside, what failed."""
    columns = {
        "copies": (f"sum by (service) (up{{{OURS}}})", "short", None),
        "events behind": (total("consumer_lag"), "short", (1000, 10000)),
        "put aside": (
            zero(f"sum by (service) ({largest('dlq_messages', 'service, topic, reason')})"),
            "short",
            (1, 100),
        ),
        "outbox": (largest("outbox_oldest_age_seconds"), "s", (30, 60)),
        "jobs waiting": (zero(largest("jobs", where=', status=~"pending|retrying"')), "short", None),
        "oldest job": (largest("job_oldest_queued_age_seconds"), "s", (900, 3600)),
        "failed in 1 h": (
            zero(f'sum by (service) (increase(jobs_finished_total{{{OURS}, outcome="failed"}}[1h]))'),
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
        .description("Orange is worth a look, red has an alert. Copies: processes that answer.")
        .datasource(SOURCE)
        .grid_pos(dashboard.GridPos(h=9, w=24, x=0, y=8))
    )
    names = {}
    for letter, (name, (expression, unit, limits)) in zip("ABCDEFGH", columns.items(), strict=True):
        panel = panel.with_target(now(expression, letter))
        names[f"Value #{letter}"] = name
        properties = [
            dashboard.DynamicConfigValue("unit", unit),
            dashboard.DynamicConfigValue("decimals", 0),
        ]
        if limits:
            properties += [
                dashboard.DynamicConfigValue("thresholds", steps(limits, calm="transparent").build()),
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
    """For whoever is on duty."""
    answering = "count(sum by (service) (up{job='phonograph'}) > 0) or vector(0)"
    return (
        board("overview", "Phonograph: overview", "What is broken now, and how much is done.", services=UP)
        .with_panel(alerts_table())
        .with_panel(
            number(
                "Pages",
                "Alerts that want somebody now.",
                'count(ALERTS{alertstate="firing", severity="page"}) or vector(0)',
                limits=(1, 1),
            )
        )
        .with_panel(
            number(
                "Tickets",
                "Alerts that want somebody today.",
                'count(ALERTS{alertstate="firing", severity="ticket"}) or vector(0)',
                limits=(1, 10),
            )
        )
        .with_panel(
            number(
                "Services missing",
                "Of seven, those of which no copy answers.",
                f"{SERVICES} - ({answering})",
                limits=(1, 1),
                alerts=("ServiceDown",),
            )
        )
        .with_panel(
            number(
                "Files taken in, 24 h",
                "Requests that ingest worked off, rejected ones among them.",
                'sum(increase(jobs_finished_total{service="ingest", outcome="completed"}[24h])) or vector(0)',
                place=dashboard.GridPos(h=4, w=4, x=12, y=4),
            )
        )
        .with_panel(
            number(
                "Recorded time worked off, 24 h",
                "Seconds of recordings, counted once for each service that worked on them.",
                "sum(increase(model_recording_seconds_total[24h])) or vector(0)",
                unit="s",
                place=dashboard.GridPos(h=4, w=4, x=16, y=4),
            )
        )
        .with_panel(
            number(
                "Jobs waiting",
                "In all services together.",
                'sum(max by (service) (jobs{status=~"pending|retrying"})) or vector(0)',
                place=dashboard.GridPos(h=4, w=4, x=20, y=4),
            )
        )
        .with_panel(services_table())
        .with_row(build.Row("In time"))
        .with_panel(
            graph(
                "Late events",
                "From an event's own time to its effect: 99 of 100 are faster.",
                query(quantile(0.99, "event_e2e_latency_seconds"), "{{service}}"),
                unit="s",
                limits=(10, 30),
                alerts=("EventsLate",),
            )
        )
        .with_panel(
            graph(
                "Events behind",
                "Records on the topics that the service has not taken yet.",
                query(total("consumer_lag"), "{{service}}"),
                alerts=("LagGrows", "ConsumerStalled"),
            )
        )
        .with_panel(
            graph(
                "Oldest job that could run",
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
                "Events taken",
                "New events a second.",
                query(zero(rate("events_consumed_total", where=', result="ok"')), "{{service}}"),
                unit="cps",
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Jobs finished",
                "Completed jobs a minute.",
                query(
                    zero("60 * " + rate("jobs_finished_total", where=', outcome="completed"')),
                    "{{service}}",
                ),
                unit="cpm",
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Memory",
                "Of the services and of the engines they started.",
                query(MEMORY, "{{service}}"),
                unit="bytes",
                stacked=True,
            )
        )
    )


def event_plane() -> build.Dashboard:
    """Consumers, dead letters, outbox, database."""
    return (
        board("events", "Phonograph: event plane", "Events in, events out, events put aside.", services=UP)
        .with_row(build.Row("Events in"))
        .with_panel(
            graph(
                "Taken, by result",
                "`ok` took effect, `duplicate` had done so before, `retry` comes again, `parked` lies aside.",
                query(zero(rate("events_consumed_total", "service, result")), "{{service}} {{result}}"),
                unit="cps",
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "From an event's time to its effect",
                "Half, 95 and 99 of 100 events are faster.",
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
                "99 of 100 are faster.",
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
                "Since the consumer moved",
                "Or had nothing to take. With events waiting it must stay low.",
                query(
                    zero(
                        f"time() - max by (service) (consumer_last_progress_timestamp_seconds{{{OURS}}} > 0)"
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
                "Partitions held",
                "By all copies of a service together: a constant.",
                query(total("consumer_assigned_partitions"), "{{service}}"),
            )
        )
        .with_panel(
            graph(
                "Trouble with Kafka",
                "Commits that failed, errors, partitions given out anew, consumers begun anew.",
                query(zero(gained("consumer_commit_failures_total")), "{{service}} commit failures"),
                query(zero(gained("consumer_kafka_errors_total")), "{{service}} errors"),
                query(zero(gained("consumer_rebalances_total")), "{{service}} rebalances"),
                query(zero(gained("consumer_restarts_total")), "{{service}} restarts"),
                alerts=("CommitsFail", "ConsumerRestarts"),
                span=12,
            )
        )
        .with_panel(
            graph(
                "Delivered again",
                "Duplicates found in the inbox. They took effect once.",
                query(zero(rate("inbox_duplicates_total")), "{{service}}"),
                unit="cps",
                span=12,
            )
        )
        .with_row(build.Row("Dead letters"))
        .with_panel(
            number(
                "Lie there now",
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
                "How long the oldest has waited for somebody.",
                f"max({largest('dlq_oldest_age_seconds')}) or vector(0)",
                unit="s",
                limits=(3600, 86400),
                alerts=("DeadLettersWait",),
                span=6,
            )
        )
        .with_panel(
            number(
                "Services that stopped taking events",
                "Because they could take hardly any.",
                f"sum({largest('consumer_fused')}) or vector(0)",
                limits=(1, 1),
                alerts=("ConsumptionStopped",),
                span=6,
            )
        )
        .with_panel(
            number(
                "Share put aside, 10 min",
                "Of the events that were taken.",
                f'sum(increase(events_consumed_total{{{OURS}, result="parked"}}[10m]))'
                f" / (sum(increase(events_consumed_total{{{OURS}}}[10m])) > 0) or vector(0)",
                unit="percentunit",
                limits=(0.001, 0.01),
                alerts=("ManyEventsParked",),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Put aside, by reason",
                "What lies there now.",
                query(
                    zero(largest("dlq_messages", "service, topic, reason")),
                    "{{service}} {{topic}} {{reason}}",
                ),
                alerts=("EventsParked",),
            )
        )
        .with_panel(
            graph(
                "New",
                "Since the point before.",
                query(zero(gained("dlq_parked_total", "service, topic, reason")), "{{service}} {{reason}}"),
                alerts=("EventsParked", "ManyEventsParked"),
            )
        )
        .with_panel(
            graph(
                "Resolved",
                "Replayed or dropped, since the point before.",
                query(
                    zero(gained("dlq_resolved_total", "service, resolution")), "{{service}} {{resolution}}"
                ),
            )
        )
        .with_row(build.Row("Events out"))
        .with_panel(
            graph(
                "Oldest waiting event",
                "The relay publishes in milliseconds; more means that Kafka does not answer.",
                query(largest("outbox_oldest_age_seconds"), "{{service}}"),
                unit="s",
                limits=(30, 60),
                alerts=("OutboxWaits",),
            )
        )
        .with_panel(graph("Waiting", "Rows of the outbox.", query(largest("outbox_pending"), "{{service}}")))
        .with_panel(
            graph(
                "From the row to Kafka's answer",
                "Half and 99 of 100 are faster.",
                query(quantile(0.5, "outbox_delivery_seconds"), "{{service}} p50"),
                query(quantile(0.99, "outbox_delivery_seconds"), "{{service}} p99"),
                unit="s",
            )
        )
        .with_panel(
            graph(
                "Published",
                "Events a second.",
                query(zero(rate("outbox_published_total")), "{{service}}"),
                unit="cps",
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "Refused by Kafka",
                "Batches; they are sent again.",
                query(zero(gained("outbox_publish_failures_total")), "{{service}}"),
                alerts=("OutboxWaits",),
            )
        )
        .with_panel(
            graph(
                "Relays",
                "One of the copies of a service publishes: 1 is right.",
                query(total("outbox_relay_leader"), "{{service}}"),
            )
        )
        .with_row(build.Row("Database"))
        .with_panel(
            graph(
                "Connections",
                "Of all copies of a service.",
                query(zero(total("database_connections", "service, state")), "{{service}} {{state}}"),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Oldest open transaction",
                "An old one keeps vacuum from removing rows.",
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
                "Rows that vacuum has still to remove.",
                query(zero(largest("database_dead_tuples", "service, table")), "{{service}} {{table}}"),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Removed because of age",
                "Rows, since the point before.",
                query(zero(gained("retention_deleted_total", "service, table")), "{{service}} {{table}}"),
                span=6,
            )
        )
    )


def jobs() -> build.Dashboard:
    """One row for each service that does long work."""
    row, by = build.Row("$service").repeat("service"), "service, kind"
    return (
        board("jobs", "Phonograph: jobs and models", "Long work, one row a service.", services="jobs")
        .with_row(row)
        .with_panel(
            graph(
                "Jobs",
                "`failed` ones were given up: see `phonograph jobs list --status failed`.",
                query(largest("jobs", "service, status", ', status!="completed"'), "{{status}}"),
                stacked=True,
                alerts=("JobsFail",),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Oldest job that could run",
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
                "Of all copies of the service.",
                query(zero(total("workers", "service, state")), "{{state}}"),
                stacked=True,
                alerts=("JobsUnclaimed",),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Attempts, by outcome",
                "Since the point before. Three attempts make a failure.",
                query(zero(gained("jobs_finished_total", "service, kind, outcome")), "{{kind}} {{outcome}}"),
                stacked=True,
                alerts=("MostJobsFail", "JobsFail"),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Waited",
                "From request to start: half and 95 of 100 waited less.",
                query(zero(quantile(0.5, "job_wait_seconds", by)), "{{kind}} p50"),
                query(zero(quantile(0.95, "job_wait_seconds", by)), "{{kind}} p95"),
                unit="s",
                alerts=("JobsWait",),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Time in the engine",
                "Half and 95 of 100 were faster.",
                query(zero(quantile(0.5, "job_run_seconds", by)), "{{kind}} p50"),
                query(zero(quantile(0.95, "job_run_seconds", by)), "{{kind}} p95"),
                unit="s",
                span=6,
            )
        )
        .with_panel(
            graph(
                "Seconds for a second of recording",
                "Half and 95 of 100 were faster; above 1 the engine is slower than the recording.",
                query(zero(quantile(0.5, "model_realtime_factor", by)), "{{kind}} p50"),
                query(zero(quantile(0.95, "model_realtime_factor", by)), "{{kind}} p95"),
                limits=(0.5, 1),
                alerts=("EngineSlow",),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Recorded time worked off",
                "Seconds of recordings in a second.",
                query(zero(rate("model_recording_seconds_total", by)), "{{kind}}"),
                stacked=True,
                span=6,
            )
        )
        .with_panel(
            graph(
                "Attempts a finished job took",
                "Mean.",
                query(
                    zero(f"{rate('job_attempts_sum', by)} / {rate('job_attempts_count', by)}"),
                    "{{kind}}",
                ),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Trouble",
                "Workers that died or fell silent, results that came too late, jobs given up.",
                query(zero(gained("job_lease_expired_total")), "leases run out"),
                query(zero(gained("job_fenced_completions_total")), "results dropped"),
                query(zero(gained("job_dead_total", "service, reason")), "given up {{reason}}"),
                alerts=("LeasesExpire", "JobsFail"),
                span=6,
            )
        )
        .with_panel(
            graph(
                "Engine start",
                "From its start to its first task: half and 95 of 100 were faster.",
                query(quantile(0.5, "model_load_seconds"), "p50"),
                query(quantile(0.95, "model_load_seconds"), "p95"),
                unit="s",
                span=6,
            )
        )
        .with_panel(
            graph(
                "Memory",
                "Of the service's processes and of the engines' processes.",
                query(total("process_resident_memory_bytes"), "service"),
                query(total("engine_memory_bytes"), "engines"),
                unit="bytes",
                stacked=True,
                span=6,
            )
        )
    )


def graph_sync() -> build.Dashboard:
    """The way of the results into Neo4j."""
    return (
        board(
            "graph",
            "Phonograph: graph sync",
            "The way of results into Neo4j.",
            services="graph_tx_seconds_count",
        )
        .with_panel(
            number(
                "Behind",
                "From the newest event seen to the newest in the graph.",
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
                "Put aside",
                "Dead letters of graph-sync. See `phonograph dlq list`.",
                f"sum({largest('dlq_messages', 'service, topic, reason')}) or vector(0)",
                limits=(1, 100),
                alerts=("EventsParked",),
                span=6,
            )
        )
        .with_panel(
            number(
                "Placeholders",
                "Nodes that another one points to and whose own event has not come yet.",
                f"max({largest('graph_stub_nodes')}) or vector(0)",
                span=6,
            )
        )
        .with_panel(
            graph(
                "Behind",
                "From the newest event seen to the newest in the graph.",
                query(largest("graph_sync_lag_seconds"), "behind"),
                unit="s",
                limits=(30, 120),
                alerts=("GraphLags",),
            )
        )
        .with_panel(
            graph(
                "Events in the graph",
                "A second, by topic.",
                query(zero(rate("events_consumed_total", "service, topic", ', result="ok"')), "{{topic}}"),
                unit="cps",
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "From an event's time to the graph",
                "Half and 99 of 100 are faster.",
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
                "A second: nodes, their parts, edges.",
                query(zero(rate("graph_sync_rows_total", "service, kind")), "{{kind}}"),
                unit="cps",
                stacked=True,
            )
        )
        .with_panel(
            graph(
                "One batch, one transaction",
                "Retries included: half and 99 of 100 are faster.",
                query(quantile(0.5, "graph_tx_seconds"), "p50"),
                query(quantile(0.99, "graph_tx_seconds"), "p99"),
                unit="s",
            )
        )
        .with_panel(
            graph(
                "Transactions tried again",
                "By Neo4j's code, since the point before. A deadlock now and then is normal.",
                query(zero(gained("graph_tx_retries_total", "service, code")), "{{code}}"),
                alerts=("GraphLags",),
            )
        )
    )


def runbook_board() -> build.Dashboard:
    """The pages of docs/runbooks, so that an alert's page is one click away."""
    shown = board("runbooks", "Phonograph: runbooks", "One page for each alert; the same as docs/runbooks.")
    for alert in runbooks():
        page = (RUNBOOKS / f"{alert}.md").read_text(encoding="utf-8")
        shown = shown.with_panel(text.Panel().title(alert).content(page).height(14).span(12))
    return shown


def documents() -> dict[str, str]:
    """Every dashboard's file name and JSON."""
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
    """Write them, and remove what is none of them."""
    written = documents()
    for path in DASHBOARDS.glob("*.json"):
        if path.name not in written:
            path.unlink()
    for name, document in written.items():
        (DASHBOARDS / name).write_text(document, encoding="utf-8")


if __name__ == "__main__":
    main()
