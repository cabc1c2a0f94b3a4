"""The outbox: everything committed is published, in order, by one relay at a time."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text
from tests.support.engines import Sum
from tests.support.scratch import ScratchMedia, rows, scratch_database
from tests.support.stack import Stack

from phonograph_events import IngestRequested, JobRetryRequested
from phonograph_runtime.database import Database, decode_headers, encode_headers
from phonograph_runtime.errors import PermanentError
from phonograph_runtime.outbox import OutboxRelay


@asynccontextmanager
async def relaying(database: Database, servers: str, copies: int = 1) -> AsyncIterator[None]:
    listener = database.listen("outbox", "jobs")
    relays = [OutboxRelay(database, listener, kafka_bootstrap_servers=servers) for _ in range(copies)]
    tasks = [asyncio.create_task(runner.run()) for runner in (listener, *relays)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def unretrieved_errors() -> AsyncIterator[list[object]]:
    """Collect the exceptions of tasks that are never awaited.

    All tests share the event loop, so its exception handler is restored at the end.
    """
    loop, errors = asyncio.get_running_loop(), list[object]()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    try:
        yield errors
    finally:
        loop.set_exception_handler(before)


async def wait_until_published(database: Database, timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while await rows(database, "SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1"):
            await asyncio.sleep(0.05)


async def test_events_of_one_key_arrive_once_and_in_order_with_two_relays(
    stack: Stack, correlation_id: str
) -> None:
    servers = stack.addresses.kafka_bootstrap_servers
    media_id = uuid4()
    async with scratch_database(stack) as (database, _), relaying(database, servers, copies=2):
        for _ in range(3):
            async with database.transaction() as transaction:
                for _ in range(200):
                    event = JobRetryRequested(media_id=media_id, job_id=uuid4(), service="none")
                    await transaction.publish(event)
        await wait_until_published(database)
        sent = [bytes(value) for (value,) in await rows(database, "SELECT value FROM outbox ORDER BY seq")]
    from phonograph_cli import kafka

    async with kafka.connect(servers) as client:
        records = await client.read_all([JobRetryRequested.TOPIC])
    assert [record.value for record in records if record.key == str(media_id).encode()] == sent


async def test_lower_number_that_commits_later_is_published_too(stack: Stack) -> None:
    servers = stack.addresses.kafka_bootstrap_servers
    async with scratch_database(stack) as (database, _), relaying(database, servers):
        async with database.transaction() as late:
            await late.publish(IngestRequested(uri="/late.mp3", request_id="late"))
            await late.flush()
            async with database.transaction() as early:
                await early.publish(IngestRequested(uri="/early.mp3"))
            await asyncio.sleep(1.5)
            published = await rows(database, "SELECT seq FROM outbox WHERE published_at IS NOT NULL")
            assert [seq for (seq,) in published] == [2]
        await wait_until_published(database)


async def test_relay_recovers_when_its_session_is_terminated_between_sending_and_marking(
    stack: Stack,
) -> None:
    servers = stack.addresses.kafka_bootstrap_servers
    blocked = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with scratch_database(stack) as (database, _), relaying(database, servers):
        async with database.transaction() as holder:
            async with database.transaction() as transaction:
                await transaction.publish(IngestRequested(uri="/a.mp3"))
                await transaction.flush()
                # The lock is granted when this transaction ends, before the relay marks its row: it blocks
                # the mark.
                lock = asyncio.create_task(holder.fetch("LOCK TABLE outbox IN EXCLUSIVE MODE"))
                await asyncio.sleep(0.5)
            await lock
            async with asyncio.timeout(20):
                while not await rows(database, f"SELECT pg_terminate_backend(pid) {blocked}"):
                    await asyncio.sleep(0.05)
        await wait_until_published(database)


async def test_rolled_back_transaction_publishes_nothing(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        with pytest.raises(RuntimeError):
            async with database.transaction() as transaction:
                await transaction.publish(IngestRequested(uri="/a.mp3"))
                raise RuntimeError
        assert await rows(database, "SELECT 1 FROM outbox") == []


async def test_rows_flushed_in_the_background_keep_their_order(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        sent = [f"/{number}.mp3" for number in range(300)]
        async with database.transaction() as transaction:
            for number, uri in enumerate(sent):
                await transaction.publish(IngestRequested(uri=uri))
                if number % 7 == 0:
                    await transaction.start_flush()
                    assert await transaction.session.scalar(text("SELECT 1")) == 1
        stored = await rows(
            database, "SELECT convert_from(value, 'UTF8')::json ->> 'uri' FROM outbox ORDER BY seq"
        )
        assert [uri for (uri,) in stored] == sent


async def test_row_refused_in_the_background_rolls_the_transaction_back(stack: Stack) -> None:
    async with unretrieved_errors() as errors, scratch_database(stack) as (database, _):
        # The block raises before it learns of the refused row, or the next flush raises.
        for expected in (RuntimeError, asyncpg.DataError):
            with pytest.raises(expected):
                async with database.transaction() as transaction:
                    await transaction.publish(IngestRequested(uri="/a.mp3"))
                    await transaction.enqueue("k" * 51, Sum(numbers=[1]), media=ScratchMedia())
                    await transaction.start_flush()
                    await asyncio.sleep(0.2)
                    if expected is RuntimeError:
                        raise RuntimeError
                    await transaction.start_flush()
        assert (
            await rows(database, "SELECT id::text FROM scratch_jobs UNION SELECT seq::text FROM outbox") == []
        )
        assert database.engine.pool.checkedout() == 0
        gc.collect()
        assert not errors


async def test_transaction_that_fails_during_a_flush_leaves_its_connection_usable(stack: Stack) -> None:
    async with scratch_database(stack, pool_size=1, pool_overflow=0) as (database, _):
        for _ in range(20):
            with pytest.raises(RuntimeError):
                async with database.transaction() as transaction:
                    for number in range(500):
                        await transaction.publish(IngestRequested(uri=f"/{number}.mp3"))
                    await transaction.start_flush()
                    raise RuntimeError
        assert await rows(database, "SELECT 1 FROM outbox") == []


async def test_too_large_event_is_refused_when_it_is_published(stack: Stack) -> None:
    async with scratch_database(stack) as (database, _):
        with pytest.raises(PermanentError, match="bytes") as caught:
            async with database.transaction() as transaction:
                await transaction.publish(IngestRequested(uri="/" + "a" * 1_000_001))
        assert caught.value.reason == "too_large"


@pytest.mark.parametrize(
    "headers",
    [
        [("name", b"value"), ("empty", b""), ("null", None), ("twice", b"1"), ("twice", "é".encode())],
        [("binary", b"\xff\x00"), ("null", None), ("empty", b"")],
        [("nul", b"a\x00b")],
        [],
    ],
)
def test_headers_keep_every_byte(headers: list[tuple[str, bytes | None]]) -> None:
    assert decode_headers(json.loads(encode_headers(headers))) == headers
