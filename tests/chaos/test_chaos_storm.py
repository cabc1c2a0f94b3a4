"""A consumer group under load whose processes are killed, restarted, added and removed."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest
from tests.support.processes import ConsumerGroup, DeliveryReport, Process, consumer_group
from tests.support.stack import Stack

SEED = int(os.environ.get("PHONOGRAPH_STORM_SEED", "4"))
MAX_REPEATED_RATIO = 0.03
MAX_STALL_S = 12


async def storm(
    group: ConsumerGroup, *, events: int, consumers: int, restarts: int, seconds: float, is_named: bool
) -> DeliveryReport:
    """Publish events and meanwhile restart random processes, half of them by SIGKILL.

    Args:
        group: the group, without processes.
        events: number of events.
        consumers: number of processes.
        restarts: number of restarts, at random times.
        seconds: time over which the events are published.
        is_named: give each process an instance name, which its successor keeps.
    """
    chance = random.Random(SEED)
    names = await start_members(group, consumers, is_named=is_named)
    delays_s = sorted(chance.uniform(0, seconds) for _ in range(restarts))
    signals = [signal.SIGKILL, signal.SIGTERM] * ((restarts + 1) // 2)
    chance.shuffle(signals)

    async def restart(delay_s: float, number: signal.Signals) -> None:
        await asyncio.sleep(delay_s)
        victim = chance.choice([member for member in group.members if member not in leaving])
        leaving.append(victim)
        await group.stop(victim, number)
        name = names.pop(victim)
        names[group.start(instance=name)] = name

    leaving: list[object] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(group.publish(events - 1, seconds=seconds))
        for delay_s, number in zip(delays_s, signals, strict=False):
            tasks.create_task(restart(delay_s, number))
    await group.wait_until_processed(events, timeout_s=300)
    return await group.report()


async def start_members(
    group: ConsumerGroup, consumers: int, *, is_named: bool = False
) -> dict[Process, str | None]:
    """Start processes, wait until they have processed a first event, and return the name of each."""
    names = [f"member-{number}" if is_named else None for number in range(consumers)]
    started = {group.start(instance=name): name for name in names}
    await group.publish(1)
    await group.wait_until_processed(1, timeout_s=120)
    return started


def check(report: DeliveryReport, events: int, *, max_repeated_ratio: float = MAX_REPEATED_RATIO) -> None:
    """Assert that no event was lost or duplicated, that few were repeated, and that no stall was long."""
    assert len(report.published) == events
    assert (report.lost, report.duplicated) == (0, 0)
    assert report.repeated_ratio < max_repeated_ratio
    assert report.longest_stall_s < MAX_STALL_S


async def test_small_storm_of_restarts(stack: Stack, tmp_path: Path) -> None:
    async with consumer_group(stack, tmp_path, partitions=8) as group:
        report = await storm(group, events=4_000, consumers=3, restarts=4, seconds=10, is_named=True)
    print(f"small storm, seed {SEED}: {report}")
    check(report, 4_000, max_repeated_ratio=1.0)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("names", ["named", "unnamed"])
async def test_storm_of_restarts(stack: Stack, tmp_path: Path, names: str) -> None:
    """A killed copy without a name delays its group by one session timeout of 6 s, two in a row by two."""
    async with consumer_group(stack, tmp_path, partitions=32) as group:
        report = await storm(
            group, events=100_000, consumers=8, restarts=16, seconds=180, is_named=names == "named"
        )
    print(f"storm, {names}, seed {SEED}: {report}")
    check(report, 100_000)


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_13_group_that_grows_and_shrinks(stack: Stack, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    sizes = []
    async with consumer_group(stack, tmp_path, partitions=32) as group:
        await start_members(group, 4)
        publishing = asyncio.create_task(group.publish(14_999, seconds=60))
        while not publishing.done():
            await asyncio.sleep(chance.uniform(2, 5))
            if len(group.members) == 2 or (len(group.members) < 8 and chance.random() < 0.5):
                group.start()
            else:
                await group.stop(chance.choice(group.members), signal.SIGTERM)
            sizes.append(len(group.members))
        await publishing
        await group.wait_until_processed(15_000, timeout_s=300)
        report = await group.report()
    print(f"13, seed {SEED}: sizes {sizes}; {report}")
    check(report, 15_000)


@pytest.mark.chaos
async def test_13_two_copies_with_one_name(stack: Stack, tmp_path: Path) -> None:
    """A configuration error of an operator: each copy repeatedly removes the other from the group."""
    async with consumer_group(stack, tmp_path, partitions=8) as group:
        for _ in range(2):
            group.start(instance="twin")
        await group.publish(4_000, seconds=20)
        await group.wait_until_processed(4_000, timeout_s=200)
        report = await group.report()
    print(f"13, twins: {report}")
    assert (len(report.published), report.lost, report.duplicated) == (4_000, 0, 0)
