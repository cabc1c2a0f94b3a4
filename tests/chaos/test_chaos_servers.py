"""Kafka and PostgreSQL fail under load: nothing is lost or duplicated, and the service recovers soon."""

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
from tests.support.processes import ConsumerGroup, DeliveryReport, consumer_group, request
from tests.support.proxy import BoltCommits, PostgresCommits, Proxy, port_of, run_proxy
from tests.support.scratch import rows
from tests.support.stack import Stack, servers

from phonograph_cli.project import Project

RATE = 100
"""Events per second."""
WINDOW_S = 2.0
STATEMENTS = {"batch": "INSERT INTO inbox", "mark": "UPDATE outbox SET published_at"}
"""Statements that select a transaction, by the step that it belongs to."""
EFFECTS = "SELECT extract(epoch FROM at) FROM effects ORDER BY at"
TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND application_name <> 'phonograph-scratch'  -- the connections of the test
"""
TERMINATE_ALL = TERMINATE.replace("datname = current_database()", "datname LIKE 'scratch_%'")


async def test_05_proxy_drops_one_response_and_nothing_else(stack: Stack) -> None:
    url, table = stack.addresses.postgres_url, f"t{uuid.uuid4().hex}"
    with run_proxy(port_of(url), PostgresCommits) as proxy:
        login = url.replace(str(port_of(url)), str(proxy.port))
        connection = await asyncpg.connect(login)
        await connection.execute(f"CREATE TABLE {table} (n int)")
        proxy.drop_responses(f"INTO {table}")
        async with connection.transaction():
            assert await connection.fetchval("SELECT 1") == 1
        with pytest.raises((asyncpg.ConnectionDoesNotExistError, ConnectionError)):
            async with connection.transaction():
                await connection.execute(f"INSERT INTO {table} VALUES ($1)", 7)
        assert (proxy.dropped_responses, proxy.commits) == (1, 2)
        other = await asyncpg.connect(login)
        assert await other.fetch(f"SELECT n FROM {table}") == [(7,)]
        proxy.reset_connections()
        with pytest.raises((asyncpg.ConnectionDoesNotExistError, ConnectionError)):
            await other.fetch(f"DROP TABLE {table}")
        proxy.refuses_connections = True
        with pytest.raises((asyncpg.PostgresError, OSError)):
            await asyncpg.connect(login)


async def test_06_proxy_drops_the_response_to_a_commit_of_neo4j(stack: Stack) -> None:
    addresses, label = stack.addresses, f"T{uuid.uuid4().hex}"
    login = addresses.neo4j_user, addresses.neo4j_password
    with run_proxy(port_of(addresses.neo4j_uri), BoltCommits) as proxy:
        driver = AsyncGraphDatabase.driver(f"bolt://127.0.0.1:{proxy.port}", auth=login)
        async with driver, driver.session() as session:
            proxy.drop_responses(f"MERGE .*{label}")
            transaction = await session.begin_transaction()
            await transaction.run("RETURN 1")
            await transaction.commit()
            transaction = await session.begin_transaction()
            await transaction.run(f"MERGE (:{label} {{n: $n}})", n=7)
            with pytest.raises((exceptions.ServiceUnavailable, exceptions.SessionExpired)):
                await transaction.commit()
            assert proxy.dropped_responses == 1
            result = await session.run(f"MATCH (x:{label}) DELETE x RETURN count(*)")
            assert (await result.single(strict=True)).value() == 1


@asynccontextmanager
async def member_behind_proxy(stack: Stack, logs: Path) -> AsyncIterator[tuple[ConsumerGroup, Proxy]]:
    """Run one process that reaches PostgreSQL through a proxy.

    At the end, assert that the process still runs and that every event had one effect and one result.
    """
    async with consumer_group(stack, logs) as group:
        url = group.settings.database_url.get_secret_value()
        with run_proxy(port_of(url), PostgresCommits) as proxy:
            process = group.start(database_url=url.replace(f":{port_of(url)}/", f":{proxy.port}/"))
            await group.publish(1)
            await group.wait_until_processed(1, timeout_s=120)
            yield group, proxy
            print(f"\n{await check_delivery(group)}")
            assert process.is_alive(), "the process ended"


async def test_05_process_survives_terminated_connections(stack: Stack, tmp_path: Path) -> None:
    async with member_behind_proxy(stack, tmp_path) as (group, _):
        publishing = asyncio.create_task(group.publish(600, seconds=8))
        admin = await asyncpg.connect(group.settings.database_url.get_secret_value().replace("+asyncpg", ""))
        terminated = 0
        while not publishing.done():
            await asyncio.sleep(random.uniform(0, 0.1))
            terminated += len(await admin.fetch(TERMINATE))
        await admin.close()
        print(f"\n{terminated} connections terminated", end="")
        assert terminated > 0


@pytest.mark.chaos
async def test_05_postgres_is_unreachable_for_a_while(stack: Stack, tmp_path: Path) -> None:
    async with member_behind_proxy(stack, tmp_path) as (group, proxy):
        publishing = asyncio.create_task(group.publish(400, seconds=6))
        await asyncio.sleep(1)
        proxy.refuses_connections = True
        proxy.reset_connections()
        await asyncio.sleep(4)
        proxy.refuses_connections = False
        restored = time.monotonic()
        await publishing
        await group.wait_until_processed(401, timeout_s=15)
        print(f"\nall processed {time.monotonic() - restored:.1f} s after PostgreSQL was reachable", end="")


@pytest.mark.parametrize("step", ["batch", "mark"])
async def test_05_commit_without_response(stack: Stack, tmp_path: Path, step: str) -> None:
    times = 5
    async with member_behind_proxy(stack, tmp_path) as (group, proxy):
        proxy.drop_responses(STATEMENTS[step], times=times)
        await group.publish(300, seconds=4)
        await asyncio.to_thread(proxy.wait_until_dropped, times)
        print(f"\n{step}: {times} responses dropped, {proxy.commits} commits in total", end="")


@pytest.fixture(scope="module")
def bare() -> Iterator[Stack]:
    """Servers without services, which the tests may break."""
    with servers("chaos-servers") as project:
        yield Stack(project)


async def restart(project: Project, name: str, number: signal.Signals) -> None:
    """End a server by a signal, then start it again."""
    os.kill(pid(project, name), number)
    while any(process.name == name and process.pid for process in project.stack.status()):
        await asyncio.sleep(0.05)
    await asyncio.to_thread(project.stack.up)


async def freeze(project: Project, name: str, seconds: float) -> None:
    """Suspend a server by SIGSTOP for a time."""
    stopped = pid(project, name)
    os.kill(stopped, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    os.kill(stopped, signal.SIGCONT)


async def slow_down(project: Project, name: str) -> None:
    """Let a server run a tenth of the time for 12 s; clients see a disk on which each access stalls."""
    for _ in range(12):
        await freeze(project, name, 0.9)
        await asyncio.sleep(0.1)


async def terminate(project: Project) -> None:
    """Terminate every connection of every service repeatedly for 10 s."""
    admin = await asyncpg.connect(project.stack.addresses().postgres_url)
    for _ in range(50):
        await admin.fetch(TERMINATE_ALL)
        await asyncio.sleep(0.2)
    await admin.close()


def pid(project: Project, name: str) -> int:
    """Return the process id of a running server."""
    number = next(process.pid for process in project.stack.status() if process.name == name)
    assert number is not None
    return number


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("fault", "within_s"),
    [
        pytest.param(lambda project: freeze(project, "kafka", 12), 20, id="04_kafka_stopped_12_s"),
        pytest.param(lambda project: restart(project, "kafka", signal.SIGKILL), 20, id="04_kafka_killed"),
        pytest.param(lambda project: slow_down(project, "kafka"), 20, id="04_kafka_slow"),
        pytest.param(lambda project: restart(project, "postgres", signal.SIGINT), 15, id="05_postgres_fast"),
        pytest.param(
            lambda project: restart(project, "postgres", signal.SIGQUIT), 15, id="05_postgres_immediate"
        ),
        pytest.param(terminate, 15, id="05_connections_terminated"),
    ],
)
async def test_04_05_full_rate_returns_soon(
    bare: Stack, tmp_path: Path, fault: Callable[[Project], Awaitable[None]], within_s: float
) -> None:
    async with consumer_group(bare, tmp_path) as group:
        processes = [group.start() for _ in range(2)]
        await group.publish(1)
        await group.wait_until_processed(1, timeout_s=120)
        started = time.time()
        publishing = asyncio.create_task(publish_until_cancelled(group))
        await asyncio.sleep(8)
        broken = time.time()
        await fault(bare.project)
        repaired = time.time()
        await asyncio.sleep(within_s + WINDOW_S)
        publishing.cancel()
        await asyncio.wait([publishing])
        report = await check_delivery(group)
        assert all(process.is_alive() for process in processes)
        effects_s = [float(time_s) for (time_s,) in await rows(group.database, EFFECTS)]
        before = rate(effects_s, started + 3, broken)
        starts = [repaired + tenths / 10 for tenths in range(int(within_s * 10))]
        full = [start for start in starts if rate(effects_s, start, start + WINDOW_S) >= 0.9 * before]
        print(
            f"\n{before:.0f} events/s before, unavailable for {repaired - broken:.1f} s, "
            f"full rate again after {full[0] - repaired if full else float('nan'):.1f} s: {report}"
        )
        assert full, f"no full rate within {within_s} s"


async def publish_until_cancelled(group: ConsumerGroup) -> None:
    """Publish at `RATE` until cancelled; every record that was sent is still delivered."""
    async with group.producer() as producer:
        number = 0
        while True:
            record = request(f"/{number}.mp3")
            await producer.send(group.topic, value=record.value, key=record.key, headers=record.headers)
            number += 1
            await asyncio.sleep(1 / RATE)


async def check_delivery(group: ConsumerGroup) -> DeliveryReport:
    """Wait until every event on the topic is processed; assert that none is lost, duplicated or parked."""
    report = await group.report()
    await group.wait_until_processed(len(report.published), timeout_s=60)
    report = await group.report()
    assert (report.lost, report.duplicated) == (0, 0)
    assert await rows(group.database, "SELECT * FROM dead_letters") == []
    return report


def rate(effects_s: list[float], start: float, stop: float) -> float:
    """Return the effects per second in an interval.

    Args:
        effects_s: time of each effect in seconds, ascending.
        start: beginning of the interval.
        stop: its end.
    """
    return (bisect_left(effects_s, stop) - bisect_left(effects_s, start)) / (stop - start)
