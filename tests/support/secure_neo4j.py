"""A Neo4j server that accepts only TLS with a login, next to the session's stack.

Fixture:
    secure_neo4j: `SecureNeo4j`; `secure_neo4j.settings(...)` are the environment of a command.
"""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from neo4j import GraphDatabase, TrustAll
from neo4j.exceptions import DriverError, Neo4jError
from tests.support.certificates import Certificates, make_certificates
from tests.support.secure_kafka import project_cache
from tests.support.stack import ROOT

from phonograph_devstack.jars import ensure_jars
from phonograph_devstack.java import StartupCache
from phonograph_devstack.neo4j import Neo4j
from phonograph_devstack.supervisor import Supervisor

USER = "neo4j"
PASSWORD = "correct-horse"
FIRST_PASSWORD = "neo4j"
"""Password of a new server, which accepts nothing before it is changed."""
START_TIMEOUT_S = 90


@dataclass(frozen=True)
class SecureNeo4j:
    """The address of a running server, and what its clients need."""

    port: int
    certificates: Certificates

    def settings(self, scheme: str) -> dict[str, str]:
        """Return the variables of a command; the authority of the test is known to it."""
        return {
            "PHONOGRAPH_NEO4J_URI": f"{scheme}://localhost:{self.port}",
            "PHONOGRAPH_NEO4J_USER": USER,
            "PHONOGRAPH_NEO4J_PASSWORD": PASSWORD,
            "PHONOGRAPH_NEO4J_CA_FILE": str(self.certificates.ca),
        }


@pytest.fixture(scope="session")
def secure_neo4j(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureNeo4j]:
    """A Neo4j server with TLS, whose routing table names it by the name in its certificate."""
    folder = tmp_path_factory.mktemp("secure-neo4j")
    certificates = make_certificates(folder / "certificates")
    manifest = ROOT / "deploy" / "devstack" / "neo4j.jars"
    supervisor = Supervisor(folder, lambda _: None)
    with supervisor.lock():
        port = supervisor.free_port("neo4j", 19_687)
    neo4j = Neo4j(
        folder,
        jars=lambda: ensure_jars(manifest, project_cache() / "jars", fetch=None, report=lambda _: None),
        startup=StartupCache(project_cache() / "java", manifest, folder / "neo4j.aot"),
        changes=_server_settings(folder, certificates, port),
    )
    launch = neo4j.prepare({"neo4j": port})
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            launch.command, env=dict(launch.environment), cwd=launch.folder, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _set_password(port):
            assert process.poll() is None, (folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield SecureNeo4j(port, certificates)
    finally:
        process.kill()
        process.wait(timeout=30)


def _set_password(port: int) -> bool:
    """Replace the first password; return False if the server does not answer yet."""
    with GraphDatabase.driver(
        f"bolt://localhost:{port}",
        auth=(USER, FIRST_PASSWORD),
        encrypted=True,
        trusted_certificates=TrustAll(),
    ) as driver:
        try:
            driver.execute_query(
                "ALTER CURRENT USER SET PASSWORD FROM $old TO $new",
                old=FIRST_PASSWORD,
                new=PASSWORD,
                database_="system",
            )
        except (DriverError, Neo4jError):
            return False
    return True


def _server_settings(folder: Path, certificates: Certificates, port: int) -> dict[str, str]:
    policy = folder / "policy"
    policy.mkdir()
    key, marker, certificate = certificates.server.read_text().partition("-----BEGIN CERTIFICATE-----")
    (policy / "private.key").write_text(key)
    (policy / "public.crt").write_text(marker + certificate)
    return {
        "dbms.security.auth_enabled": "true",
        "dbms.ssl.policy.bolt.enabled": "true",
        "dbms.ssl.policy.bolt.base_directory": str(policy),
        "dbms.ssl.policy.bolt.client_auth": "NONE",
        "server.bolt.tls_level": "REQUIRED",
        # Clients with neo4j+s connect to the address of the routing table, and verify that name.
        "server.bolt.advertised_address": f"localhost:{port}",
    }
