"""Kafka and PostgreSQL fail under a service at work: nothing is lost or done twice, and soon all is well."""

import asyncio
import os
import random
import signal
import time
import uuid
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from neo4j import AsyncGraphDatabase, exceptions
from tests.support.processes import Group, Outcome, group, request
from tests.support.proxy import Bolt, Postgres, Proxy, port, proxy
from tests.support.scratch import rows
from tests.support.stack import Stack, servers

from phonograph_cli.project import Project

RATE = 100
"""Events a second."""
WINDOW_S = 2.0
PLACES = {"batch": "INSERT INTO inbox", "mark": "UPDATE outbox SET published_at"}
EFFECTS = "SELECT extract(epoch FROM at) FROM effects ORDER BY at"
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND application_name <> 'phonograph-scratch'  -- the test's own
"""
TERMINATE_ALL = TERMINATE.replace("datname = current_database()", "datname LIKE 'scratch_%'")


async def test_05_proxy_keeps_an_answer_back_and_nothing_else(stack: Stack) -> None:
    url, table = stack.addresses.postgres_url, f"t{uuid.uuid4().hex}"
    with proxy(port(url), Postgres) as between:
        login = url.replace(str(port(url)), str(between.port))
        connection = await asyncpg.connect(login)
        await connection.execute(f"CREATE TABLE {table} (n int)")
        between.lose_answers(f"INTO {table}")
        async with connection.transaction():
            assert await connection.fetchval("SELECT 1") == 1
        with pytest.raises((asyncpg.ConnectionDoesNotExistError, ConnectionError)):
            async with connection.transaction():
                await connection.execute(f"INSERT INTO {table} VALUES ($1)", 7)
        assert (between.answers_lost, between.commits) == (1, 2)
        other = await asyncpg.connect(login)
        assert await other.fetch(f"SELECT n FROM {table}") == [(7,)]
        between.cut()
        with pytest.raises((asyncpg.ConnectionDoesNotExistError, ConnectionError)):
            await other.fetch(f"DROP TABLE {table}")
        between.refusing = True
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await asyncpg.connect(login)


async def test_06_proxy_keeps_the_answer_of_a_graph_back(stack: Stack) -> None:
    addresses, label = stack.addresses, f"T{uuid.uuid4().hex}"
    login = addresses.neo4j_user, addresses.neo4j_password
    with proxy(port(addresses.neo4j_uri), Bolt) as between:
        driver = AsyncGraphDatabase.driver(f"bolt://127.0.0.1:{between.port}", auth=login)
        async with driver, driver.session() as session:
            between.lose_answers(f"MERGE .*{label}")
            transaction = await session.begin_transaction()
            await transaction.run("RETURN 1")
            await transaction.commit()
            transaction = await session.begin_transaction()
            await transaction.run(f"MERGE (:{label} {{n: $n}})", n=7)
            with pytest.raises((exceptions.ServiceUnavailable, exceptions.SessionExpired)):
                await transaction.commit()
            assert between.answers_lost == 1
            found = await session.run(f"MATCH (x:{label}) DELETE x RETURN count(*)")
            assert (await found.single(strict=True)).value() == 1


@asynccontextmanager
async def member(stack: Stack, logs: Path) -> AsyncIterator[tuple[Group, Proxy]]:
    """One process of a small service, with PostgreSQL behind a proxy; it has to outlive the block.

    At its end all that was published has had one effect and one result.
    """
    async with group(stack, logs) as members:
        url = members.settings.database_url.get_secret_value()
        with proxy(port(url), Postgres) as between:
            process = members.start(database_url=url.replace(f":{port(url)}/", f":{between.port}/"))
            await members.publish(1)
            await members.until_taken(1, timeout_s=120)
            yield members, between
            print(f"\n{await taken(members)}")
            assert process.is_alive(), "the process ended"


async def test_05_process_outlives_its_connections(stack: Stack, tmp_path: Path) -> None:
    async with member(stack, tmp_path) as (members, _between):
        publishing = asyncio.create_task(members.publish(600, seconds=8))
        admin = await asyncpg.connect(
            members.settings.database_url.get_secret_value().replace("+asyncpg", "")
        )
        terminated = 0
        while not publishing.done():
            await asyncio.sleep(random.uniform(0, 0.1))
            terminated += len(await admin.fetch(TERMINATE))
        await admin.close()
        print(f"\n{terminated} connections terminated", end="")
        assert terminated > 0


@pytest.mark.chaos
async def test_05_postgres_cannot_be_reached_for_a_while(stack: Stack, tmp_path: Path) -> None:
    async with member(stack, tmp_path) as (members, between):
        publishing = asyncio.create_task(members.publish(400, seconds=6))
        await asyncio.sleep(1)
        between.refusing = True
        between.cut()
        await asyncio.sleep(4)
        between.refusing = False
        restored = time.monotonic()
        await publishing
        await members.until_taken(401, timeout_s=15)
        print(f"\nall taken {time.monotonic() - restored:.1f} s after PostgreSQL came back", end="")


@pytest.mark.parametrize("place", ["batch", "mark"])
async def test_05_commit_without_answer(stack: Stack, tmp_path: Path, place: str) -> None:
    times = 5
    async with member(stack, tmp_path) as (members, between):
        between.lose_answers(PLACES[place], times=times)
        await members.publish(300, seconds=4)
        await asyncio.to_thread(between.wait_until_lost, times)
        print(f"\n{place}: {times} answers lost, {between.commits} commits in all", end="")


@pytest.fixture(scope="module")
def bare() -> Iterator[Stack]:
    """Servers to be broken; no services."""
    with servers("chaos-servers") as project:
        yield Stack(project)


async def end(project: Project, name: str, how: signal.Signals) -> None:
    """End a server by a signal, then start it again."""
    os.kill(pid(project, name), how)
    while any(process.name == name and process.pid for process in project.stack.status()):
        await asyncio.sleep(0.05)
    await asyncio.to_thread(project.stack.up)


async def freeze(project: Project, name: str, seconds: float) -> None:
    """Let a server stand still."""
    stopped = pid(project, name)
    os.kill(stopped, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    os.kill(stopped, signal.SIGCONT)


async def slow_down(project: Project, name: str) -> None:
    """For 12 s let it run a tenth of the time: to its clients that is a disk on which each access stalls."""
    for _ in range(12):
        await freeze(project, name, 0.9)
        await asyncio.sleep(0.1)


async def terminate(project: Project) -> None:
    """End every connection of every service, again and again for 10 s."""
    admin = await asyncpg.connect(project.stack.addresses().postgres_url)
    for _ in range(50):
        await admin.fetch(TERMINATE_ALL)
        await asyncio.sleep(0.2)
    await admin.close()


def pid(project: Project, name: str) -> int:
    """Process id of a server that runs."""
    found = next(process.pid for process in project.stack.status() if process.name == name)
    assert found is not None
    return found


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("fault", "within_s"),
    [
        pytest.param(lambda project: freeze(project, "kafka", 12), 20, id="04_kafka_stopped_12_s"),
        pytest.param(lambda project: end(project, "kafka", signal.SIGKILL), 20, id="04_kafka_killed"),
        pytest.param(lambda project: slow_down(project, "kafka"), 20, id="04_kafka_slow"),
        pytest.param(lambda project: end(project, "postgres", signal.SIGINT), 15, id="05_postgres_fast"),
        pytest.param(
            lambda project: end(project, "postgres", signal.SIGQUIT), 15, id="05_postgres_immediate"
        ),
        pytest.param(terminate, 15, id="05_connections_terminated"),
    ],
)
async def test_04_05_rate_is_full_again_soon(
    bare: Stack, tmp_path: Path, fault: Callable[[Project], Awaitable[None]], within_s: float
) -> None:
    async with group(bare, tmp_path) as members:
        processes = [members.start() for _ in range(2)]
        await members.publish(1)
        await members.until_taken(1, timeout_s=120)
        begun = time.time()
        publishing = asyncio.create_task(steadily(members))
        await asyncio.sleep(8)
        broken = time.time()
        await fault(bare.project)
        mended = time.time()
        await asyncio.sleep(within_s + WINDOW_S)
        publishing.cancel()
        await asyncio.wait([publishing])
        outcome = await taken(members)
        assert all(process.is_alive() for process in processes)
        at = [float(moment) for (moment,) in await rows(members.database, EFFECTS)]
        before = rate(at, begun + 3, broken)
        starts = [mended + tenths / 10 for tenths in range(int(within_s * 10))]
        full = [start for start in starts if rate(at, start, start + WINDOW_S) >= 0.9 * before]
        print(
            f"\n{before:.0f} events/s before, away for {mended - broken:.1f} s, "
            f"full rate again after {full[0] - mended if full else float('nan'):.1f} s: {outcome}"
        )
        assert full, f"no full rate within {within_s} s"


async def steadily(members: Group) -> None:
    """Publish without end; what was sent is delivered also when this is cancelled."""
    async with members.producer() as producer:
        number = 0
        while True:
            record = request(f"/{number}.mp3")
            await producer.send(members.topic, value=record.value, key=record.key, headers=record.headers)
            number += 1
            await asyncio.sleep(1 / RATE)


async def taken(members: Group) -> Outcome:
    """Wait until all that is on the topic was taken; nothing may be lost, doubled or parked."""
    outcome = await members.outcome()
    await members.until_taken(len(outcome.published), timeout_s=60)
    outcome = await members.outcome()
    assert (outcome.lost, outcome.twice) == (0, 0)
    assert await rows(members.database, "SELECT * FROM dead_letters") == []
    return outcome


def rate(at: list[float], start: float, stop: float) -> float:
    """Effects a second; `at` ascends."""
    return (bisect_left(at, stop) - bisect_left(at, start)) / (stop - start)
