"""Kafka and PostgreSQL fail under a working system: nothing is lost or done twice, and soon all is well."""

import uuid
from urllib.parse import urlsplit

import asyncpg
import pytest
from neo4j import AsyncGraphDatabase, exceptions
from tests.support.proxy import Bolt, Postgres, proxy
from tests.support.stack import Stack


def port(url: str) -> int:
    return urlsplit(url).port or 0


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
