"""Replays: a service processes events of a topic again, because its offsets are set to earlier records."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from pydantic import TypeAdapter

from phonograph_cli import offsets
from phonograph_cli.kafka import KafkaClient, Offsets
from phonograph_events import Service
from phonograph_runtime.settings import ServiceSettings

if TYPE_CHECKING:
    from phonograph_cli.project import Project


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """Events that one service is going to process again."""

    service: Service
    starts: Offsets
    """First record to process again of each partition that the service has read beyond it."""
    ends: Offsets
    """Where the service is now in the same partitions; records beyond it are no part of the replay."""
    events: int
    """Records from the start up to where the service is now."""
    inbox_age: timedelta
    """Time for which the service remembers events that it has processed."""
    forgotten: int
    """Records that are older than that: the service would process them as if they were new."""


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """Outcome of a replay for one service."""

    service: str
    events: int
    """Records from the start up to where the service was; those that took effect before are skipped."""
    left: int | None
    """Records that are still to be read; None if this was not waited for."""


async def plan_replay(
    client: KafkaClient, service: Service, partitions: list[TopicPartition], start: offsets.Start
) -> ReplayPlan:
    """Compare where a service is with where it is to start again.

    Args:
        client: Connection to Kafka.
        service: Service that reads the topic.
        partitions: Partitions of the topic to replay.
        start: Where to start again.
    """
    consumer = await client.assign(partitions)
    committed = await offsets.committed_offsets(client, service)
    ends = await consumer.end_offsets(partitions)
    wanted = await offsets.start_offsets(consumer, partitions, start)
    starts = {place: offset for place, offset in wanted.items() if offset < committed.get(place, 0)}
    inbox_age = _inbox_age(service)
    border = offsets.Start(time=datetime.now(UTC) - inbox_age)
    remembered = ends | await offsets.start_offsets(consumer, partitions, border)
    return ReplayPlan(
        service=service,
        starts=starts,
        ends={place: committed[place] for place in starts},
        events=sum(committed[place] - offset for place, offset in starts.items()),
        inbox_age=inbox_age,
        forgotten=sum(
            max(min(remembered[place], committed[place]) - offset, 0) for place, offset in starts.items()
        ),
    )


async def replay(client: KafkaClient, project: "Project", plan: ReplayPlan, *, wait: bool) -> ReplayOutcome:
    """Set a service to the start of its plan.

    Args:
        client: Connection to Kafka.
        project: Checkout whose service is stopped meanwhile if it runs here, because Kafka does not set the
            offsets of a group that is reading.
        plan: What to process again.
        wait: Wait until a service that runs here has read the records.

    Raises:
        GroupIsReadingError: A copy that does not run here is still reading.
        StackError: The service cannot be stopped or started.
    """
    with stopped(project, plan.service) as runs_here:
        await offsets.set_offsets(client, plan.service, plan.starts)
    left = await offsets.wait_for_lag(client, plan.service, plan.ends) if wait and runs_here else None
    if left is not None:
        left = min(left, plan.events)  # a group that has no offsets yet seems to have read nothing
    return ReplayOutcome(plan.service.value, plan.events, left)


def _inbox_age(service: Service) -> timedelta:
    default = ServiceSettings.model_fields["keep_inbox"].default
    value = os.environ.get(f"{service.role.upper()}_KEEP_INBOX", default)
    return TypeAdapter(timedelta).validate_python(value)


@contextmanager
def stopped(project: "Project", service: Service) -> Iterator[bool]:
    """Stop a service during the block if it runs here, and yield whether it does."""
    statuses = project.status()
    runs_here = any(status.name == service.value and status.state == "running" for status in statuses)
    if not runs_here:
        yield False
        return
    project.report(f"stopping {service}")
    project.stop(service)
    try:
        yield True
    finally:
        project.report(f"starting {service}")
        project.start(service)
