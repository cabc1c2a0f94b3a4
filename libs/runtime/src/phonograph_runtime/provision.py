"""Gives every service its role and its schema, so that PostgreSQL itself keeps them apart."""

from collections.abc import Mapping

import asyncpg

from phonograph_events import Service


def role(service: Service) -> str:
    """Role and schema of a service."""
    return service.value.replace("-", "_")


async def provision_database(superuser_url: str, passwords: Mapping[Service, str]) -> None:
    """Create roles and schemas where they are missing; set passwords. Safe to repeat.

    Args:
        superuser_url: `postgresql://…` of a role that may create roles.
        passwords: one per service.
    """
    connection = await asyncpg.connect(superuser_url, timeout=10)
    try:
        database = await connection.fetchval("SELECT current_database()")
        async with connection.transaction():
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('phonograph.provision', 0))"
            )
            await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            await connection.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
            present = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
            for service, password in passwords.items():
                name = role(service)
                secret = await connection.fetchval("SELECT quote_literal($1::text)", password)
                verb = "ALTER" if name in present else "CREATE"
                await connection.execute(f'{verb} ROLE "{name}" LOGIN PASSWORD {secret}')
                await connection.execute(f'GRANT CONNECT, TEMPORARY ON DATABASE "{database}" TO "{name}"')
                await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{name}" AUTHORIZATION "{name}"')
                await connection.execute(f'ALTER ROLE "{name}" SET search_path = "{name}"')
    finally:
        await connection.close()
