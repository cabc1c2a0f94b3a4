"""How far consumer groups have come, and how to set them back."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from phonograph_cli import kafka

Positions = Mapping[TopicPartition, int]

EMPTY_GROUP = {"Empty", "Dead"}
POLL_S = 0.25
STILL_S = 15.0
"""A group that does not move for so long is waited for no longer."""


class GroupIsReadingError(Exception):
    """Kafka lets nobody set a group back while a copy of it reads."""

    def __init__(self, group: str, members: list[str]) -> None:
        super().__init__(f"{group} is still reading, {len(members)} of it: {', '.join(members)}.")


@dataclass(frozen=True, slots=True)
class Start:
    """From where on to take a topic again: one of the three, or its beginning."""

    offset: int | None = None
    time: datetime | None = None


async def ends(servers: str, topics: Iterable[str]) -> Positions:
    """Where the next record of each partition will lie."""
    async with kafka.reading(servers, topics) as (consumer, places):
        found: Positions = await consumer.end_offsets(places)
        return found


async def starts(servers: str, topic: str, start: Start, partition: int | None = None) -> Positions:
    """The first record to take again, for each partition that has one."""
    async with kafka.reading(servers, [topic]) as (consumer, places):
        wanted = [place for place in places if partition in {None, place.partition}]
        first = await consumer.beginning_offsets(wanted)
        if start.offset is not None:
            return {place: max(start.offset, first[place]) for place in wanted}
        if start.time is not None:
            moment = int(start.time.timestamp() * 1000)
            found = await consumer.offsets_for_times(dict.fromkeys(wanted, moment))
            return {place: there.offset for place, there in found.items() if there is not None}
        positions: Positions = first
        return positions


async def committed(servers: str, group: str) -> Positions:
    """What a group reads next, for each partition that it has begun."""
    async with _admin(servers) as admin:
        found = await admin.list_consumer_group_offsets(group)
        return {place: there.offset for place, there in found.items() if there.offset >= 0}


async def members(servers: str, group: str) -> list[str]:
    """Who reads in a group now, by client and address."""
    async with _admin(servers) as admin:
        (answer,) = await admin.describe_consumer_groups([group])
        return [
            f"{client}{host}"
            for _, _, state, _, _, people in (tuple(each)[:6] for each in answer.groups)
            if state not in EMPTY_GROUP
            for client, host in (each[1:3] for each in people)
        ]


async def set_back(servers: str, group: str, positions: Positions) -> None:
    """Let a group read from these positions on, as soon as it is started.

    Raises:
        GroupIsReadingError: a copy still reads; a killed one counts until Kafka has noticed.
    """
    deadline = asyncio.get_running_loop().time() + STILL_S
    while reading := await members(servers, group):
        if asyncio.get_running_loop().time() > deadline:
            raise GroupIsReadingError(group, reading)
        await asyncio.sleep(POLL_S)
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id=group, enable_auto_commit=False)
    async with consumer:
        consumer.assign(list(positions))
        await consumer.commit(dict(positions))


async def behind(servers: str, group: str, wanted: Positions) -> int:
    """Wait until a group has read up to these positions; how many records are left when it stands still."""
    loop = asyncio.get_running_loop()
    left, moved = -1, loop.time()
    while True:
        now = await committed(servers, group)
        lag = sum(max(end - now.get(place, 0), 0) for place, end in wanted.items())
        if lag != left:
            left, moved = lag, loop.time()
        if lag == 0 or loop.time() - moved > STILL_S:
            return lag
        await asyncio.sleep(POLL_S)


@asynccontextmanager
async def _admin(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()
