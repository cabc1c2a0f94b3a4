"""Faults between Kafka and the tables of one service: every event has one effect and one result."""

import signal
from pathlib import Path

import pytest
from tests.support.processes import group
from tests.support.stack import Stack

EVENTS = 2_000


@pytest.mark.parametrize("kill", ["before_commit", "after_commit", "before_offsets", "after_offsets"])
async def test_01_killed_consumer_has_each_effect_once(stack: Stack, tmp_path: Path, kill: str) -> None:
    async with group(stack, tmp_path) as members:
        await members.publish(EVENTS)
        victim = members.start(kill=kill, batch_size=100)
        assert await members.ended(victim) == -signal.SIGKILL
        members.start()
        await members.until_taken(EVENTS, timeout_s=60)
        outcome = await members.outcome()
    print(f"01 {kill}: {outcome}")
    assert len(outcome.published) == EVENTS
    assert (outcome.lost, outcome.twice) == (0, 0)
