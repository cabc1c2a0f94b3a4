"""Offsets of consumer groups: how far each has read, and how to set it to earlier records."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition

from phonograph_cli.errors import GroupIsReadingError
from phonograph_cli.kafka import KafkaClient, Offsets, milliseconds

INACTIVE_STATES = {"Empty", "Dead"}
POLL_S = 0.25
STALLED_S = 15.0
"""A group whose offsets do not move for this long is not waited for any longer."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start of a replay: an offset, a time, or the beginning of the topic if both are None."""

    offset: int | None = None
    time: datetime | None = None


async def end_offsets(client: KafkaClient, topics: Iterable[str]) -> Offsets:
    """Return the offset of the next record of each partition."""
    partitions = await client.partitions(topics)
    consumer = await client.assign(partitions)
    found: Offsets = await consumer.end_offsets(partitions)
    return found


async def start_offsets(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], start: Start
) -> Offsets:
    """Return the first record to read of each partition that has one.

    Args:
        consumer: Consumer to which the partitions are assigned.
        partitions: Partitions to look at.
        start: Where to start; a record that Kafka has deleted is replaced by the oldest one.
    """
    if start.time is not None:
        moments = dict.fromkeys(partitions, milliseconds(start.time))
        found = await consumer.offsets_for_times(moments)
        return {partition: first.offset for partition, first in found.items() if first is not None}
    oldest = await consumer.beginning_offsets(partitions)
    return {partition: max(start.offset or 0, offset) for partition, offset in oldest.items()}


async def committed_offsets(client: KafkaClient, group: str) -> Offsets:
    """Return the next record that a group reads of each partition from which it has read."""
    admin = await client.admin()
    found = await admin.list_consumer_group_offsets(group)
    return {partition: next_.offset for partition, next_ in found.items() if next_.offset >= 0}


async def set_offsets(client: KafkaClient, group: str, offsets: Offsets) -> None:
    """Let a group continue at other offsets as soon as it is started.

    Args:
        client: Connection to Kafka.
        group: Consumer group, all of whose members must have been stopped.
        offsets: Next record to read of each partition; other partitions keep theirs.

    Raises:
        GroupIsReadingError: A member is still reading; a killed one counts until Kafka notices.
    """
    await wait_until_inactive(client, group)
    # Only a consumer of the group itself can commit; the shared one of the client has no group.
    consumer = AIOKafkaConsumer(**client.options, group_id=group, enable_auto_commit=False)
    async with consumer:
        consumer.assign(list(offsets))
        await consumer.commit(dict(offsets))


async def wait_until_inactive(client: KafkaClient, group: str) -> None:
    """Wait until a group has no members.

    Raises:
        GroupIsReadingError: A member is still reading; a killed one counts until Kafka notices.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STALLED_S
    while members := await _members(client, group):
        if loop.time() > deadline:
            raise GroupIsReadingError(
                f"{group} is still reading with {len(members)} members: {', '.join(members)}. "
                f"Stop every copy of {group}, then try again."
            )
        await asyncio.sleep(POLL_S)


async def wait_for_lag(client: KafkaClient, group: str, ends: Offsets) -> int:
    """Wait until a group has read up to these offsets, and return how many records are left if it stalls.

    Args:
        client: Connection to Kafka.
        group: Consumer group.
        ends: Offset after the last record to wait for, of each partition.
    """
    loop = asyncio.get_running_loop()
    left, moved_at = -1, loop.time()
    while True:
        committed = await committed_offsets(client, group)
        lag = sum(max(end - committed.get(partition, 0), 0) for partition, end in ends.items())
        if lag != left:
            left, moved_at = lag, loop.time()
        if lag == 0 or loop.time() - moved_at > STALLED_S:
            return lag
        await asyncio.sleep(POLL_S)


async def _members(client: KafkaClient, group: str) -> list[str]:
    """Return client ID and host of each member that is reading."""
    admin = await client.admin()
    (response,) = await admin.describe_consumer_groups([group])
    return [
        f"{client_id}{host}"
        for _, _, state, _, _, members in (tuple(each)[:6] for each in response.groups)
        if state not in INACTIVE_STATES
        for _, client_id, host in (tuple(member)[:3] for member in members)
    ]
