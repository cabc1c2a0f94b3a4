"""The three servers in Docker containers, where there is an engine."""

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phonograph_devstack.errors import StackError
from phonograph_devstack.kafka import broker_count
from phonograph_devstack.neo4j import PASSWORD, USER, returns_one
from phonograph_devstack.postgres import DATABASE, SUPERUSER, run_sql
from phonograph_devstack.services import Addresses, ServiceHost

_ANSWERS_WITHIN_S = 180.0


@dataclass(frozen=True, slots=True)
class _Image:
    name: str
    port: int
    environment: Mapping[str, str]
    answers: Callable[[int], bool]


class ContainerStack(ServiceHost):
    """PostgreSQL, Kafka and Neo4j by testcontainers. They outlive the command; `down` stops them, data kept.

    Args:
        home: Folder for the services' logs, ports and process files, and the superuser's password.
        report: Takes one line of progress at a time.

    Raises:
        StackError: testcontainers is not installed, or no Docker engine answers.
    """

    def __init__(self, home: Path, *, report: Callable[[str], None] = print) -> None:
        super().__init__(home, report=report)
        try:
            from docker.errors import DockerException  # type: ignore[import-untyped]  # ships no types
            from testcontainers.core.config import testcontainers_config
            from testcontainers.core.docker_client import DockerClient
        except ImportError as error:
            raise StackError(
                "PHONOGRAPH_STACK=testcontainers needs the package testcontainers: "
                "install phonograph-devstack[containers]."
            ) from error
        # The reaper would remove the containers when this command ends.
        testcontainers_config.ryuk_disabled = True
        try:
            self._engine = DockerClient().client
            self._engine.ping()
        except (DockerException, OSError) as error:
            raise StackError(
                f"PHONOGRAPH_STACK=testcontainers needs a Docker engine, and none answers ({error}). "
                "Start it, or leave the variable away to use the local servers."
            ) from error

    def up(self) -> Addresses:
        """Start what does not run and wait until each answers.

        Raises:
            StackError: one does not answer in time.
        """
        with self._supervisor.lock():
            for server, image in self._images().items():
                self._start(server, image)
        for server, image in self._images().items():
            port = self._port(server)
            deadline = time.monotonic() + _ANSWERS_WITHIN_S
            while not image.answers(port):
                if time.monotonic() > deadline:
                    raise StackError(
                        f"The container {self._name(server)} does not answer on port {port} "
                        f"after {_ANSWERS_WITHIN_S:.0f} s: see `docker logs {self._name(server)}`."
                    )
                time.sleep(0.2)
        return self.addresses()

    def addresses(self) -> Addresses:
        """Addresses of the running containers.

        Raises:
            StackError: one of them does not run.
        """
        return Addresses(
            postgres_url=f"postgresql://{SUPERUSER}:{self._password()}@127.0.0.1:{self._port('postgres')}/{DATABASE}",
            kafka_bootstrap_servers=f"127.0.0.1:{self._port('kafka')}",
            neo4j_uri=f"bolt://127.0.0.1:{self._port('neo4j')}",
            neo4j_user=USER,
            neo4j_password=PASSWORD,
        )

    def down(self, *, wipe: bool = False) -> None:
        """Stop the services, then the containers; `wipe` removes them with their data."""
        with self._supervisor.lock():
            self._stop_services([])
            for server in self._images():
                container = self._container(server)
                if container:
                    container.stop()
                    if wipe:
                        container.remove(v=True)

    def _images(self) -> dict[str, _Image]:
        password = self._password()
        return {
            "postgres": _Image(
                "postgres:18",
                5432,
                {"POSTGRES_PASSWORD": password, "POSTGRES_DB": DATABASE},
                lambda port: run_sql(port, password, "SELECT 1").returncode == 0,
            ),
            "kafka": _Image("apache/kafka:4.1.1", 9092, {}, lambda port: _quietly(broker_count, port) > 0),
            "neo4j": _Image(
                "neo4j:5.26-community",
                7687,
                {"NEO4J_AUTH": "none"},
                lambda port: bool(_quietly(returns_one, port)),
            ),
        }

    def _start(self, server: str, image: _Image) -> None:
        from testcontainers.core.container import DockerContainer

        container = self._container(server)
        if container:
            container.start()
            return
        port = self._supervisor.free_port(server, image.port)
        environment = dict(image.environment)
        if server == "kafka":
            # Clients reach it by the port of the host, so it has to listen and advertise there.
            environment |= {
                "KAFKA_NODE_ID": "1",
                "KAFKA_PROCESS_ROLES": "broker,controller",
                "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:9093",
                "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
                "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
                "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
                "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
                "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
                "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
            }
        self._report(f"Starting a container of {image.name}.")
        fresh = DockerContainer(image.name, name=self._name(server), env=environment)
        fresh.ports[f"{image.port}/tcp"] = ("127.0.0.1", port)
        fresh.start()

    def _container(self, server: str) -> Any:
        from docker.errors import NotFound

        with suppress(NotFound):
            return self._engine.containers.get(self._name(server))
        return None

    def _port(self, server: str) -> int:
        container = self._container(server)
        if container is None or container.status != "running":
            raise StackError(f"The stack is not up: {self._name(server)} does not run. Run `phonograph up`.")
        port = self._images()[server].port
        return int(container.attrs["HostConfig"]["PortBindings"][f"{port}/tcp"][0]["HostPort"])

    def _name(self, server: str) -> str:
        return f"phonograph-{hashlib.sha256(str(self._home).encode()).hexdigest()[:8]}-{server}"

    def _password(self) -> str:
        path = self._home / "run" / "postgres.password"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(16))
        return path.read_text()


def _quietly(ask: Callable[[str, int], int], port: int) -> int:
    try:
        return ask("127.0.0.1", port)
    except OSError:
        return 0
