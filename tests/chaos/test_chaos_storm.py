"""A consumer group under load whose processes are killed, restarted, added and taken away."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest
from tests.support.processes import Group, Outcome, Process, group
from tests.support.stack import Stack

SEED = int(os.environ.get("PHONOGRAPH_STORM_SEED", "4"))
MAX_DUPLICATES = 0.03
MAX_SILENCE_S = 12


async def storm(
    members: Group, *, events: int, consumers: int, restarts: int, seconds: float, named: bool
) -> Outcome:
    """Publish over a time; end processes at random, half of them by SIGKILL, and start them anew."""
    chance = random.Random(SEED)
    names = await begin(members, consumers, named=named)
    moments = sorted(chance.uniform(0, seconds) for _ in range(restarts))
    signals = [signal.SIGKILL, signal.SIGTERM] * ((restarts + 1) // 2)
    chance.shuffle(signals)

    async def restart(moment: float, number: signal.Signals) -> None:
        await asyncio.sleep(moment)
        victim = chance.choice([member for member in members.members if member not in leaving])
        leaving.append(victim)
        await members.stop(victim, number)
        name = names.pop(victim)
        names[members.start(instance=name)] = name

    leaving: list[object] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(members.publish(events - 1, seconds=seconds))
        for moment, number in zip(moments, signals, strict=False):
            tasks.create_task(restart(moment, number))
    await members.until_taken(events, timeout_s=300)
    return await members.outcome()


async def begin(members: Group, consumers: int, *, named: bool = False) -> dict[Process, str | None]:
    """Start processes, wait until they have taken a first event, and give the name of each."""
    names = [f"member-{number}" if named else None for number in range(consumers)]
    started = {members.start(instance=name): name for name in names}
    await members.publish(1)
    await members.until_taken(1, timeout_s=120)
    return started


def check(outcome: Outcome, events: int, *, most_duplicates: float = MAX_DUPLICATES) -> None:
    """The bars of the storm."""
    assert len(outcome.published) == events
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert outcome.duplicates < most_duplicates
    assert outcome.silence_s < MAX_SILENCE_S


async def test_storm_in_small(stack: Stack, tmp_path: Path) -> None:
    async with group(stack, tmp_path, partitions=8) as members:
        outcome = await storm(members, events=4_000, consumers=3, restarts=4, seconds=10, named=True)
    print(f"small storm, seed {SEED}: {outcome}")
    check(outcome, 4_000, most_duplicates=1.0)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("names", ["named", "unnamed"])
async def test_storm_of_restarts(stack: Stack, tmp_path: Path, names: str) -> None:
    """A killed copy without a name holds its group up for a session of 6 s, two in a row for two."""
    async with group(stack, tmp_path, partitions=32) as members:
        outcome = await storm(
            members, events=100_000, consumers=8, restarts=16, seconds=180, named=names == "named"
        )
    print(f"storm, {names}, seed {SEED}: {outcome}")
    check(outcome, 100_000)


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_13_group_that_grows_and_shrinks(stack: Stack, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    sizes = []
    async with group(stack, tmp_path, partitions=32) as members:
        await begin(members, 4)
        publishing = asyncio.create_task(members.publish(14_999, seconds=60))
        while not publishing.done():
            await asyncio.sleep(chance.uniform(2, 5))
            if len(members.members) == 2 or (len(members.members) < 8 and chance.random() < 0.5):
                members.start()
            else:
                await members.stop(chance.choice(members.members), signal.SIGTERM)
            sizes.append(len(members.members))
        await publishing
        await members.until_taken(15_000, timeout_s=300)
        outcome = await members.outcome()
    print(f"13, seed {SEED}: sizes {sizes}; {outcome}")
    check(outcome, 15_000)


@pytest.mark.chaos
async def test_13_two_copies_by_one_name(stack: Stack, tmp_path: Path) -> None:
    """An operator's mistake: each drives the other out of the group, again and again."""
    async with group(stack, tmp_path, partitions=8) as members:
        for _ in range(2):
            members.start(instance="twin")
        await members.publish(4_000, seconds=20)
        await members.until_taken(4_000, timeout_s=200)
        outcome = await members.outcome()
    print(f"13, twins: {outcome}")
    assert (len(outcome.published), outcome.lost, outcome.twice) == (4_000, 0, 0)
