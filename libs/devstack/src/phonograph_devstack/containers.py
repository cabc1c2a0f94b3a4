"""The three servers in Docker containers."""

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
from phonograph_devstack.neo4j import LOGIN, answers_query
from phonograph_devstack.postgres import DATABASE, SUPERUSER, run_sql
from phonograph_devstack.services import Addresses, ServiceHost

_READY_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class _Image:
    name: str
    port: int
    environment: Mapping[str, str]
    is_ready: Callable[[int], bool]


class ContainerStack(ServiceHost):
    """PostgreSQL, Kafka and Neo4j in testcontainers, which outlive the command that starts them.

    Args:
        home: Folder for the services' logs, ports and process files, and the superuser's password.
        report: Called with each line of progress.

    Raises:
        StackError: If testcontainers is not installed, or no Docker daemon answers.
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
        # The reaper of testcontainers would remove the containers when this command ends.
        testcontainers_config.ryuk_disabled = True
        try:
            self._docker = DockerClient().client
            self._docker.ping()
        except (DockerException, OSError) as error:
            raise StackError(
                f"PHONOGRAPH_STACK=testcontainers needs a Docker daemon, and none answers ({error}). "
                "Start it, or unset the variable to use the local servers."
            ) from error

    def up(self) -> Addresses:
        """Start the containers that are not running and wait until all servers are ready; data are kept.

        Raises:
            StackError: If a server is not ready in time.
        """
        with self._supervisor.lock():
            for server, image in self._images().items():
                self._start(server, image)
        for server, image in self._images().items():
            port = self._port(server)
            deadline = time.monotonic() + _READY_TIMEOUT_S
            while not image.is_ready(port):
                if time.monotonic() > deadline:
                    raise StackError(
                        f"The container {self._name(server)} does not answer on port {port} "
                        f"after {_READY_TIMEOUT_S:.0f} s: see `docker logs {self._name(server)}`."
                    )
                time.sleep(0.2)
        return self.addresses()

    def addresses(self) -> Addresses:
        """Return the addresses of the running containers.

        Raises:
            StackError: If one of them is not running.
        """
        return Addresses(
            postgres_url=f"postgresql://{SUPERUSER}:{self._password()}@127.0.0.1:{self._port('postgres')}/{DATABASE}",
            kafka_bootstrap_servers=f"127.0.0.1:{self._port('kafka')}",
            neo4j_uri=f"bolt://127.0.0.1:{self._port('neo4j')}",
            neo4j_user=LOGIN[0],
            neo4j_password=LOGIN[1],
        )

    def down(self, *, wipe: bool = False) -> None:
        """Stop the services, then the containers.

        Args:
            wipe: Also remove the containers with their data.
        """
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
            "kafka": _Image(
                "apache/kafka:4.1.1",
                9092,
                {},
                lambda port: _zero_if_unreachable(broker_count, port) > 0,
            ),
            "neo4j": _Image(
                "neo4j:5.26-community",
                7687,
                {"NEO4J_AUTH": "none"},
                lambda port: bool(_zero_if_unreachable(answers_query, port)),
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
            # Clients connect to the port of the host, so Kafka must advertise that port.
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
        created = DockerContainer(image.name, name=self._name(server), env=environment)
        created.ports[f"{image.port}/tcp"] = ("127.0.0.1", port)
        created.start()

    def _container(self, server: str) -> Any:
        from docker.errors import NotFound

        with suppress(NotFound):
            return self._docker.containers.get(self._name(server))
        return None

    def _port(self, server: str) -> int:
        container = self._container(server)
        if container is None or container.status != "running":
            raise StackError(
                f"The stack is not up: {self._name(server)} is not running. Run `phonograph up`."
            )
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


def _zero_if_unreachable(request: Callable[[str, int], int], port: int) -> int:
    try:
        return request("127.0.0.1", port)
    except OSError:
        return 0
