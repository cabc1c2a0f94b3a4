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
    from phonograph_cli.skips import SkipPlan
    from phonograph_events import Service


def replay(
    topic: Annotated[str, typer.Argument(help="For example media-ready.")],
    begin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="BEGINNING|OFFSET|TIME",
            help="For example 2026-11-20T08:00; UTC unless it has an offset.",
        ),
    ] = None,
    service: Annotated[
        list[str] | None,
        typer.Option(help="Only this service; every service that reads the topic when left out."),
    ] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this partition.")] = None,
    *,
    skip: Annotated[
        int | None,
        typer.Option(
            "--skip",
            metavar="OFFSET",
            min=0,
            help="Go on behind this offset instead; needs --service, --partition and --reason.",
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why records are skipped; kept with their dead letters.")
    ] = None,
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

    With --skip a service that cannot get past a record goes on behind it. What it skips becomes dead letters
    with the reason (phonograph dlq list): records that can be read can be replayed from there.
    """
    if skip is not None:
        if begin is not None or no_wait or forgotten:
            fail(USAGE, "--skip goes forward: it takes neither --from nor --forgotten nor --no-wait.")
        _skip(topic, service, partition, skip, reason, yes=yes, as_json=as_json)
        return
    if begin is None or reason is not None:
        fail(USAGE, "Name --from to go back, or --skip and --reason to go on behind an offset.")
    start, services = _parse_start(begin), _select_readers(topic, service)
    outcomes = run(_replay(topic, partition, start, services, forgotten=forgotten, yes=yes, wait=not no_wait))
    if as_json:
        print_json({"topic": topic, "services": [asdict(outcome) for outcome in outcomes]})
    else:
        for outcome in outcomes:
            print_line(_outcome_line(outcome))
    raise typer.Exit(REJECTED if any(outcome.left for outcome in outcomes) else 0)


def _skip(
    topic: str,
    names: list[str] | None,
    partition: int | None,
    last: int,
    reason: str | None,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    if not names or len(names) != 1 or partition is None or not (reason or "").strip():
        fail(USAGE, "--skip needs one --service, its --partition and a --reason.")
    (service,) = _select_readers(topic, names, with_graph=True)
    plan, count = run(_skip_on_kafka(service, topic, partition, last, (reason or "").strip(), yes=yes))
    if as_json:
        print_json(
            {
                "topic": topic,
                "partition": partition,
                "service": service.value,
                "first_offset": plan.first,
                "last_offset": plan.last,
                "dead_letters": count,
            }
        )
    else:
        print_line(
            f"{service} goes on at {topic}/{partition}/{plan.last + 1}. What it skipped is in {count} dead "
            f"letter{'' if count == 1 else 's'}: phonograph dlq list --service {service} --topic {topic}"
        )


async def _skip_on_kafka(
    service: "Service", topic: str, partition: int, last: int, reason: str, *, yes: bool
) -> "tuple[SkipPlan, int]":
    from aiokafka import TopicPartition

    from phonograph_cli import skips

    async with connect_kafka() as client:
        partitions = await client.partitions([topic])
        require_known("partition", str(partition), [str(each.partition) for each in partitions])
        plan = await skips.plan_skip(client, service, TopicPartition(topic, partition), last)
        offsets = f"the offset {last}" if plan.count == 1 else f"{plan.count} offsets, {plan.first} to {last}"
        confirm(f"{service} will not process {offsets} of {topic}/{partition}. Continue?", yes=yes)
        return plan, await skips.skip(client, project(report=print_step), plan, reason)


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


def _select_readers(topic: str, names: list[str] | None, *, with_graph: bool = False) -> "list[Service]":
    from phonograph_events import TOPICS, Service

    require_known("topic", topic, TOPICS)
    readers = [name for name in TOPICS[topic].consumers if name in set(Service)]
    graph = Service.GRAPH_SYNC.value
    selected = names or [name for name in readers if name != graph]
    for name in selected:
        if name not in readers:
            fail(USAGE, f"{name} does not read {topic}; it is read by: {', '.join(readers)}.")
    if (graph in selected and not with_graph) or not selected:
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
