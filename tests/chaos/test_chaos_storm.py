"""A consumer group under load whose processes are killed, restarted, added and taken away."""

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest
from tests.support.processes import Group, Outcome, group
from tests.support.stack import Stack

SEED = int(os.environ.get("PHONOGRAPH_STORM_SEED", "4"))
MAX_DUPLICATES = 0.03
MAX_SILENCE_S = 12


async def storm(
    members: Group, *, events: int, consumers: int, restarts: int, seconds: float, timeout_s: float
) -> Outcome:
    """Publish over a time; end processes at random, half of them by SIGKILL, and start them anew."""
    chance = random.Random(SEED)
    for _ in range(consumers):
        members.start()
    await members.publish(1)
    await members.until_taken(1, timeout_s=90)
    moments = sorted(chance.uniform(0, seconds) for _ in range(restarts))
    signals = [signal.SIGKILL, signal.SIGTERM] * ((restarts + 1) // 2)
    chance.shuffle(signals)

    async def restart(moment: float, number: signal.Signals) -> None:
        await asyncio.sleep(moment)
        victim = chance.choice([member for member in members.members if member not in leaving])
        leaving.append(victim)
        await members.stop(victim, number)
        members.start()

    leaving: list[object] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(members.publish(events - 1, seconds=seconds))
        for moment, number in zip(moments, signals, strict=False):
            tasks.create_task(restart(moment, number))
    await members.until_taken(events, timeout_s=timeout_s)
    return await members.outcome()


def check(outcome: Outcome, events: int) -> None:
    """The bars of the storm."""
    assert len(outcome.published) == events
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert outcome.duplicates < MAX_DUPLICATES
    assert outcome.silence_s < MAX_SILENCE_S


@pytest.mark.chaos
@pytest.mark.timeout(900)
async def test_storm_of_restarts(stack: Stack, tmp_path: Path) -> None:
    async with group(stack, tmp_path, partitions=32) as members:
        outcome = await storm(members, events=100_000, consumers=8, restarts=16, seconds=180, timeout_s=600)
    print(f"storm, seed {SEED}: {outcome}")
    check(outcome, 100_000)
