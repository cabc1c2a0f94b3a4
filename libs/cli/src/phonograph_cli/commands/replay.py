"""`phonograph replay`: services process events of a topic again."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from phonograph_cli.console import (
    REJECTED,
    USAGE,
    JsonOption,
    NoWaitOption,
    YesOption,
    confirm,
    fail,
    print_json,
    print_line,
    print_step,
    require_known,
)
from phonograph_cli.session import connect_kafka, project, run

if TYPE_CHECKING:
    from phonograph_cli.offsets import Start
    from phonograph_cli.replays import ReplayOutcome, ReplayPlan
    from phonograph_events import Service


def replay(
    topic: Annotated[str, typer.Argument(help="For example media-ready.")],
    begin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="BEGINNING|OFFSET|TIME",
            help="For example 2026-11-20T08:00; UTC unless it has an offset.",
        ),
    ],
    service: Annotated[
        list[str] | None,
        typer.Option(help="Only this service; every service that reads the topic when left out."),
    ] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this partition.")] = None,
    *,
    forgotten: Annotated[
        bool, typer.Option("--forgotten", help="Include events so old that they will take effect again.")
    ] = False,
    no_wait: NoWaitOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let services process events of a topic again, for example after a database was restored from a backup.

    Events that took effect before are skipped, because the inbox knows them. A service is stopped briefly,
    because Kafka does not set the offsets of a group that is reading; where services run on other machines,
    stop every copy first.
    """
    start, services = _parse_start(begin), _select_readers(topic, service)
    outcomes = run(_replay(topic, partition, start, services, forgotten=forgotten, yes=yes, wait=not no_wait))
    if as_json:
        print_json({"topic": topic, "services": [asdict(outcome) for outcome in outcomes]})
    else:
        for outcome in outcomes:
            print_line(_outcome_line(outcome))
    raise typer.Exit(REJECTED if any(outcome.left for outcome in outcomes) else 0)


def _parse_start(begin: str) -> "Start":
    from phonograph_cli.offsets import Start

    if begin.lower() == "beginning":
        return Start()
    if begin.isdecimal():
        return Start(offset=int(begin))
    try:
        moment = datetime.fromisoformat(begin)
    except ValueError:
        fail(USAGE, f"--from takes BEGINNING, an offset or a time like 2026-11-20T08:00, not {begin!r}.")
    return Start(time=moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _select_readers(topic: str, names: list[str] | None) -> "list[Service]":
    from phonograph_events import TOPICS, Service

    require_known("topic", topic, TOPICS)
    readers = [name for name in TOPICS[topic].consumers if name in set(Service)]
    graph = Service.GRAPH_SYNC.value
    selected = names or [name for name in readers if name != graph]
    for name in selected:
        if name not in readers:
            fail(USAGE, f"{name} does not read {topic}; it is read by: {', '.join(readers)}.")
    if graph in selected or not selected:
        fail(USAGE, "The graph stores its own offsets. Rebuild it with: phonograph graph rebuild")
    return [Service(name) for name in selected]


async def _replay(
    topic: str,
    partition: int | None,
    start: "Start",
    services: "list[Service]",
    *,
    forgotten: bool,
    yes: bool,
    wait: bool,
) -> "list[ReplayOutcome]":
    from phonograph_cli import replays

    async with connect_kafka() as client:
        partitions = await client.partitions([topic])
        if partition is not None:
            require_known("partition", str(partition), [str(each.partition) for each in partitions])
            partitions = [each for each in partitions if each.partition == partition]
        plans = [await replays.plan_replay(client, service, partitions, start) for service in services]
        if not forgotten:
            _refuse_forgotten(plans)
        plans = [plan for plan in plans if plan.events]
        if not plans:
            print_line(f"No event of {topic} is between that start and what the services have read.")
            raise typer.Exit
        summary = ", ".join(f"{plan.service.value} {plan.events}" for plan in plans)
        confirm(f"Events of {topic} to process again: {summary}. Continue?", yes=yes)
        here = project(report=print_step)
        return [await replays.replay(client, here, plan, wait=wait) for plan in plans]


def _refuse_forgotten(plans: "list[ReplayPlan]") -> None:
    for plan in plans:
        if plan.forgotten:
            fail(
                USAGE,
                f"{plan.forgotten} of these events are older than {plan.inbox_age.days} days. {plan.service} "
                "has forgotten them, so they would take effect again. Use a later start, or --forgotten.",
            )


def _outcome_line(outcome: "ReplayOutcome") -> str:
    service, events = outcome.service, outcome.events
    if outcome.left is None:
        return f"{service} is set back by {events} events; it processes them when it runs."
    if outcome.left:
        return f"{service} has not yet read {outcome.left} of {events} events. See: phonograph status"
    return f"{service} has read {events} events again; those that took effect before were skipped."
