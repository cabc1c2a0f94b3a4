"""`phonograph replay`: lets services take the events of a topic once more."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from phonograph_cli.console import (
    REJECTED,
    USAGE,
    JsonOption,
    NoWaitOption,
    YesOption,
    addresses,
    clear_errors,
    confirm,
    fail,
    print_json,
    progress,
    project,
    require_known,
    run,
    say,
)

if TYPE_CHECKING:
    from phonograph_cli.positions import Positions, Start
    from phonograph_events import Service


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a service was given again."""

    service: str
    events: int
    """Records from the start up to where the service was; what took effect before takes none again."""
    left: int | None
    """Not taken yet; null when nobody waited."""


def replay(
    topic: Annotated[str, typer.Argument(help="For example media-ready.")],
    begin: Annotated[
        str,
        typer.Option("--from", metavar="BEGINNING|OFFSET|TIME", help="2026-11-20T08:00, UTC unless it says."),
    ],
    service: Annotated[
        list[str] | None,
        typer.Option(help="Only this service; every one that reads the topic when left out."),
    ] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this partition.")] = None,
    *,
    forgotten: Annotated[
        bool, typer.Option("--forgotten", help="Also events so old that they will take effect again.")
    ] = False,
    no_wait: NoWaitOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let services take events of a topic once more, for example after a database came back from a backup.

    Events that took effect before take none now: the inbox knows them. A service is stopped for a moment,
    because Kafka does not set back a group that reads; on servers of your own, stop every copy of it first.
    """
    from phonograph_cli import positions

    start = _start(begin)
    services = _services(topic, service)
    servers = addresses().kafka_bootstrap_servers
    if partition is not None:
        there = run(lambda: positions.ends(servers, [topic]))
        require_known("partition", str(partition), [str(place.partition) for place in sorted(there)])
    wanted = run(lambda: positions.starts(servers, topic, start, partition))
    plan: dict[Service, Positions] = {}
    counts: dict[Service, int] = {}
    for each in services:
        now = run(lambda group=each.value: positions.committed(servers, group))  # type: ignore[misc]
        plan[each] = {place: offset for place, offset in wanted.items() if offset < now.get(place, 0)}
        counts[each] = sum(now[place] - offset for place, offset in plan[each].items())
        if not forgotten:
            _refuse_forgotten(servers, topic, each, plan[each])
    if not any(counts.values()):
        say(f"No event of {topic} lies between there and what the services have taken.")
        raise typer.Exit
    asked = ", ".join(f"{each.value} {counts[each]}" for each in services if counts[each])
    confirm(f"Events of {topic} to take once more: {asked}. Go on?", yes=yes)
    outcomes = [
        _replay(servers, each, plan[each], counts[each], wait=not no_wait)
        for each in services
        if counts[each]
    ]
    if as_json:
        print_json({"topic": topic, "services": [asdict(outcome) for outcome in outcomes]})
    else:
        for outcome in outcomes:
            say(_sentence(outcome))
    raise typer.Exit(REJECTED if any(outcome.left for outcome in outcomes) else 0)


def _sentence(outcome: Outcome) -> str:
    if outcome.left is None:
        return f"{outcome.service} is set back by {outcome.events} events; it takes them when it runs."
    if outcome.left:
        return (
            f"{outcome.service} has not taken {outcome.left} of {outcome.events} yet. See: phonograph status"
        )
    return f"{outcome.service} has taken {outcome.events} once more; those that took effect before took none."


def _start(begin: str) -> "Start":
    from phonograph_cli.positions import Start

    if begin.lower() == "beginning":
        return Start()
    if begin.isdecimal():
        return Start(offset=int(begin))
    try:
        moment = datetime.fromisoformat(begin)
    except ValueError:
        fail(USAGE, f"--from takes BEGINNING, an offset or a time like 2026-11-20T08:00, not {begin!r}.")
    return Start(time=moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _services(topic: str, names: list[str] | None) -> "list[Service]":
    from phonograph_events import TOPICS, Service

    require_known("topic", topic, TOPICS)
    readers = [name for name in TOPICS[topic].consumers if name in set(Service)]
    graph = Service.GRAPH_SYNC.value
    wanted = names or [name for name in readers if name != graph]
    for name in wanted:
        if name not in readers:
            fail(USAGE, f"{name} does not read {topic}; it is read by: {', '.join(readers)}.")
    if graph in wanted or not wanted:
        fail(USAGE, "The graph keeps its own positions. Build it again with: phonograph graph rebuild")
    return [Service(name) for name in wanted]


def _refuse_forgotten(servers: str, topic: str, service: "Service", plan: "Positions") -> None:
    """An event older than the service's inbox remembers would take effect twice."""
    from phonograph_cli import positions

    remembered = _remembered(service)
    border = positions.Start(time=datetime.now(UTC) - remembered)
    young = run(lambda: positions.starts(servers, topic, border))
    ends = run(lambda: positions.ends(servers, [topic]))
    old = sum(max(young.get(place, ends[place]) - offset, 0) for place, offset in plan.items())
    if old:
        fail(
            USAGE,
            f"{old} of these events are older than {remembered.days} days: {service} has forgotten that it "
            "took them and would take them again. Begin later, or say --forgotten.",
        )


def _remembered(service: "Service") -> timedelta:
    from pydantic import TypeAdapter

    from phonograph_runtime.settings import ServiceSettings

    default = ServiceSettings.model_fields["keep_inbox"].default
    value = os.environ.get(f"{service.role.upper()}_KEEP_INBOX", default)
    return TypeAdapter(timedelta).validate_python(value)


def _replay(servers: str, service: "Service", plan: "Positions", count: int, *, wait: bool) -> Outcome:
    from phonograph_cli import positions

    ends = run(lambda: positions.ends(servers, {place.topic for place in plan}))
    try:
        with _stopped(service) as ours:
            run(lambda: positions.set_back(servers, service.value, plan))
    except positions.GroupIsReadingError as error:
        fail(REJECTED, f"{error} Stop every copy of {service}, then try again.")
    left = None
    if wait and ours:
        wanted = {place: end for place, end in ends.items() if place in plan}
        left = run(lambda: positions.behind(servers, service.value, wanted))
    return Outcome(service.value, count, left)


@contextmanager
def _stopped(service: "Service") -> Iterator[bool]:
    """Stop the service while it is set back, if it runs here; whether it does."""
    here = project(report=progress)
    ours = any(process.name == service.value and process.state == "running" for process in here.status())
    if not ours:
        yield False
        return
    with clear_errors():
        here.report(f"stopping {service}")
        here.stop(service)
        try:
            yield True
        finally:
            here.report(f"starting {service}")
            here.start(service)
