"""Gives every service its role and its schema, so that PostgreSQL itself keeps them apart."""

import json
from collections.abc import Mapping

from phonograph_events import Service
from phonograph_runtime.postgres_access import connect_once


async def provision_database(superuser_url: str, script: str, passwords: Mapping[Service, str]) -> None:
    """Create roles and schemas where they are missing; set passwords. Safe to repeat.

    Args:
        superuser_url: `postgresql://…` of a role that may create roles.
        script: the SQL of `deploy/postgres/init.sql`.
        passwords: one per service.

    Raises:
        AccessRefusedError: If PostgreSQL refuses the login or the certificate.
    """
    by_role = json.dumps({service.role: password for service, password in passwords.items()})
    connection = await connect_once(superuser_url)
    try:
        async with connection.transaction():
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('phonograph.provision', 0))"
            )
            await connection.execute("SELECT set_config('phonograph.passwords', $1, true)", by_role)
            await connection.execute(script)
    finally:
        await connection.close()
