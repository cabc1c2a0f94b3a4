"""One client and one event loop per command, whatever the command reads and writes."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.support.stack import Stack
from tests.support.system import run_command

from phonograph_cli import kafka
from phonograph_events import InventoryRequested, Record

TOPIC = InventoryRequested.TOPIC


async def test_one_consumer_reads_topics_one_after_the_other(stack: Stack) -> None:
    body = uuid4().bytes
    async with kafka.connect(stack.addresses.kafka_bootstrap_servers) as client:
        (first,) = await client.send([Record(TOPIC, b"k", body, [])])
        (second,) = await client.send([Record(f"{TOPIC}-dlq", b"k", body, [])])
        for topic, place in [(TOPIC, first), (f"{TOPIC}-dlq", second), (TOPIC, first)]:
            (found,) = [record for record in await client.read_all([topic]) if record.value == body]
            assert f"{found.topic}/{found.partition}/{found.offset}" == place
            assert await client.read_one(topic, found.partition, found.offset) == found
        consumers = {
            await client.assign(await client.partitions([topic])) for topic in (TOPIC, "media-ready")
        }
        assert len(consumers) == 1


async def test_tail_yields_what_is_published_after_it_was_opened(stack: Stack) -> None:
    check_ids = [uuid4(), uuid4()]
    async with kafka.connect(stack.addresses.kafka_bootstrap_servers) as client:
        await client.publish([InventoryRequested(media_id=UUID(int=0), check_id=check_ids[0])])
        tail = await client.tail([TOPIC])
        await client.publish([InventoryRequested(media_id=UUID(int=0), check_id=check_ids[1])])
        async with asyncio.timeout(30):
            async for received in tail.events():
                assert isinstance(received.envelope.data, InventoryRequested)
                assert received.envelope.data.check_id == check_ids[1]
                break


async def test_events_are_read_between_two_times(stack: Stack) -> None:
    check_id = uuid4()
    async with kafka.connect(stack.addresses.kafka_bootstrap_servers) as client:
        started = datetime.now(UTC) - timedelta(seconds=1)
        (sent,) = await client.publish([InventoryRequested(media_id=UUID(int=0), check_id=check_id)])
        ended = datetime.now(UTC) + timedelta(seconds=1)
        during = await client.read_between([TOPIC], started, ended)
        before = await client.read_between([TOPIC], started - timedelta(hours=1), started)
        after = await client.read_between([TOPIC], ended, ended + timedelta(hours=1))
    assert [sent.id in {event.envelope.id for event in events} for events in (before, during, after)] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "command",
    [
        "events media-ready --from-beginning --json",
        "jobs list",
        "dlq list",
        "dlq replay --reason no_such_reason",
        "topics check --shared",
        "replay ingest-requested --from beginning --partition 77",
    ],
)
async def test_command_runs_one_event_loop(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    run, works = asyncio.run, list[str]()

    def counted(work: Coroutine[Any, Any, Any]) -> Any:
        works.append(work.__qualname__)
        return run(work)

    monkeypatch.setattr(asyncio, "run", counted)
    answer = await run_command(stack.project, *command.split())
    assert (answer.code in {0, 2}, len(works)) == (True, 1), answer.err
