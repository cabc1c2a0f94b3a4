"""Skips: a service goes on behind records that stop it; each becomes a dead letter with the reason."""

import asyncio
import getpass
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from aiokafka import TopicPartition

from phonograph_cli import offsets
from phonograph_cli.errors import SkipError
from phonograph_cli.kafka import KafkaClient
from phonograph_cli.replays import stopped
from phonograph_events import Service
from phonograph_runtime.database import Database
from phonograph_runtime.dead_letters import DeadLetters, FailedRecord
from phonograph_runtime.record_batches import KafkaRecord, UnreadableBatch
from phonograph_runtime.records import UNREADABLE_BATCH, read_record
from phonograph_runtime.settings import ServiceSettings

if TYPE_CHECKING:
    from phonograph_cli.project import Project

SKIPPED: Final = "skipped"
"""Reason code of a record that an operator let a service pass."""
MAX_SKIPPED: Final = 1000
SILENCE_S: Final = 15.0
"""Time without a record after which the rest counts as unreadable; the consumer tries for some seconds."""


@dataclass(frozen=True, slots=True)
class SkipPlan:
    """Records of one partition that a service is going to pass without processing them."""

    service: Service
    partition: TopicPartition
    first: int
    """Where the service is now."""
    last: int

    @property
    def count(self) -> int:
        """Number of offsets; some may have no record."""
        return self.last - self.first + 1


async def plan_skip(client: KafkaClient, service: Service, partition: TopicPartition, last: int) -> SkipPlan:
    """Compare where a service is with the offset that it is to pass.

    Args:
        client: Connection to Kafka.
        service: Service that reads the topic.
        partition: Partition on which it is stuck.
        last: Last offset to pass.

    Raises:
        SkipError: The service has passed the offset, Kafka does not have it yet, or too many would be passed.
    """
    consumer = await client.assign([partition])
    begins = await consumer.beginning_offsets([partition])
    ends = await consumer.end_offsets([partition])
    committed = await offsets.committed_offsets(client, service)
    first = max(committed.get(partition, 0), begins[partition])
    place = f"{partition.topic}/{partition.partition}"
    if last >= ends[partition]:
        raise SkipError(f"{place} has no offset {last} yet; the next one is {ends[partition]}.")
    if last < first:
        raise SkipError(f"{service} has passed the offset {last}; it is at {place}/{first}.")
    if last - first >= MAX_SKIPPED:
        raise SkipError(
            f"{service} is at {place}/{first}: it would pass {last - first + 1} offsets, and at most "
            f"{MAX_SKIPPED} are allowed at once. Use --skip {first + MAX_SKIPPED - 1}."
        )
    return SkipPlan(service, partition, first, last)


async def skip(client: KafkaClient, project: "Project", plan: SkipPlan, reason: str) -> int:
    """Park the records of a plan as dead letters of the service, then let it go on behind them.

    Args:
        client: Connection to Kafka.
        project: Checkout whose service is stopped meanwhile if it runs here.
        plan: What to pass.
        reason: Why, for those who read the dead letters.

    Returns:
        Number of dead letters.

    Raises:
        GroupIsReadingError: A copy that does not run here is still reading.
        UnavailableError: PostgreSQL cannot be reached; nothing is passed then.
    """
    records = await _read(client, plan)
    settings = ServiceSettings(
        database_url=project.database_url(plan.service), kafka_bootstrap_servers=client.servers
    )
    database = Database(settings, source=plan.service.value)
    error = f"Skipped by {getpass.getuser()}: {reason}"
    with stopped(project, plan.service):
        await offsets.wait_until_inactive(client, plan.service)
        try:
            # Parked before the offsets are set: a repeated command parks nothing twice.
            for record in records:
                await DeadLetters(database).park(_failure(record, error))
        finally:
            await database.aclose()
        await offsets.set_offsets(client, plan.service, {plan.partition: plan.last + 1})
    return len(records)


def _failure(record: KafkaRecord, error: str) -> FailedRecord:
    if isinstance(record, UnreadableBatch):
        return FailedRecord(
            read_record(record), UNREADABLE_BATCH, f"{error} ({record.error})", record.attempts
        )
    return FailedRecord(read_record(record), SKIPPED, error)


async def _read(client: KafkaClient, plan: SkipPlan) -> list[KafkaRecord]:
    """Return the records to pass; one that Kafka does not deliver is replaced by an empty batch."""
    consumer = await client.assign([plan.partition])
    consumer.seek(plan.partition, plan.first)
    consumer.resume(plan.partition)
    records: list[KafkaRecord] = []
    loop = asyncio.get_running_loop()
    silent_since, position = loop.time(), plan.first
    while position <= plan.last and loop.time() - silent_since < SILENCE_S:
        found = (await consumer.getmany(plan.partition, timeout_ms=500, max_records=MAX_SKIPPED)).get(
            plan.partition, []
        )
        records += [record for record in found if record.offset <= plan.last]
        moved: int = await consumer.position(plan.partition)
        if moved != position:
            silent_since, position = loop.time(), moved
    if position <= plan.last:
        rest = range(position, plan.last + 1)
        records.append(
            UnreadableBatch.at(
                plan.partition, rest, None, error="Kafka does not deliver it", attempts=int(SILENCE_S)
            )
        )
    return records
