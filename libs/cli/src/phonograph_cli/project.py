"""The folders, servers and services of one installation."""

import asyncio
import json
import os
import platform
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from zlib import crc32

from phonograph_devstack import (
    Addresses,
    ContainerStack,
    ExternalStack,
    LocalStack,
    Monitoring,
    Process,
    ProcessStatus,
    StackError,
    select_stack,
)
from phonograph_devstack.monitoring import GRAFANA, PROMETHEUS
from phonograph_events import Service

if TYPE_CHECKING:
    from phonograph_runtime.kafka_security import KafkaSecurity
    from phonograph_runtime.objects import ObjectStore

FIRST_PROBE_PORT = 8801
OTLP_ENDPOINT = "PHONOGRAPH_OTLP_ENDPOINT"
"""Environment variable: where this command and the services that it starts send traces; none if unset."""
SETTING_PREFIX = "PHONOGRAPH_"
NEO4J_CA_FILE = "NEO4J_CA_FILE"
READY = "/health/ready"
MONITORING = (PROMETHEUS, GRAFANA)


@dataclass(frozen=True)
class Project:
    """One checkout with its `.phonograph` folder."""

    root: Path
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    report: Callable[[str], None] = lambda _line: None

    @classmethod
    def here(cls, report: Callable[[str], None] = lambda _line: None) -> "Project":
        """Return the checkout from which this command was installed, unless `PHONOGRAPH_ROOT` names another.

        Args:
            report: Called with each step of a long operation.
        """
        root = os.environ.get("PHONOGRAPH_ROOT")
        return cls(Path(root) if root else Path(__file__).parents[4], report=report)

    @property
    def home(self) -> Path:
        """Folder of data, logs and process files."""
        return Path(self.environment.get("PHONOGRAPH_HOME", self.root / ".phonograph"))

    @cached_property
    def stack(self) -> LocalStack | ExternalStack | ContainerStack:
        """The servers: local child processes unless `PHONOGRAPH_STACK` names other ones."""
        cache = Path(self.environment.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "phonograph"
        return select_stack(
            self.environment.get("PHONOGRAPH_STACK", "local"),
            home=self.home,
            manifests=self.root / "deploy" / "devstack",
            cache=cache,
            environment=self.environment,
            report=self.report,
        )

    @property
    def object_store_url(self) -> str:
        """URL at which services store objects."""
        return self.environment.get("PHONOGRAPH_OBJECT_STORE", (self.home / "data" / "objects").as_uri())

    @property
    def objects(self) -> "ObjectStore":
        """The object store."""
        from phonograph_runtime.objects import ObjectStore

        return ObjectStore(self.object_store_url)

    def services(self) -> list[Service]:
        """Return the services that are installed here."""
        return sorted(Service(entry.name) for entry in entry_points(group="phonograph.services"))

    @cached_property
    def kafka_security(self) -> "KafkaSecurity | None":
        """Login and encryption of the connections to Kafka; None for the servers that are started here.

        Raises:
            StackError: If a variable is wrong.
        """
        from pydantic import ValidationError

        from phonograph_runtime.kafka_security import KafkaSecurity
        from phonograph_runtime.settings import describe_wrong_setting

        if not isinstance(self.stack, ExternalStack):
            return None
        try:
            return KafkaSecurity.from_environment(self.environment, SETTING_PREFIX)
        except ValidationError as error:
            raise StackError(describe_wrong_setting(error, SETTING_PREFIX)) from error

    @property
    def neo4j_ca_file(self) -> Path | None:
        """Certificate authority of Neo4j; None for that of the system."""
        path = self.environment.get(f"{SETTING_PREFIX}{NEO4J_CA_FILE}")
        return Path(path) if path else None

    @property
    def monitoring(self) -> Monitoring:
        """Prometheus with our alerts, and Grafana with our dashboards where it is installed."""
        return Monitoring(
            host=self.stack,
            home=self.home,
            environment=self.environment,
            rules=self.root / "deploy" / "prometheus" / "alerts.yml",
            provisioning=self.root / "deploy" / "grafana" / "provisioning",
        )

    def up(self, *, monitoring: bool = False) -> None:
        """Start the servers, create roles, schemas and topics, and start the services; safe to repeat.

        Args:
            monitoring: Whether to start Prometheus too. One that has died is started in any case.
        """
        is_monitored = monitoring or any(process.name in MONITORING for process in self.status())
        if is_monitored:
            self.monitoring.require_prometheus()
        self._require_services()
        self.stack.up()
        self.report("preparing database and topics")
        self.prepare()
        self.report("starting services")
        services = [self._process(number, service) for number, service in enumerate(self.services())]
        self.stack.start(services)
        if is_monitored:
            ports = {process.name: process.port for process in services if process.port}
            monitors = self.monitoring.processes(ports)
            self.report(f"starting {' and '.join(process.name for process in monitors)}")
            self.stack.start(monitors)

    def stop(self, service: Service) -> None:
        """Stop a service that runs here."""
        self.stack.stop([service.value])

    def start(self, service: Service) -> None:
        """Start a service; the servers must be running."""
        self.stack.start([self._process(self.services().index(service), service)])

    def status(self) -> list[ProcessStatus]:
        """Return servers and services, and Prometheus and Grafana if they were requested."""
        found = self.stack.status()
        return [process for process in found if process.name not in MONITORING or process.state != "stopped"]

    def prepare(self) -> None:
        """Create roles and topics and upgrade every schema; safe to repeat.

        Raises:
            StackError: PostgreSQL or Kafka cannot be reached, or fails; or no service is installed.
            AccessRefusedError: PostgreSQL or Kafka refuses the login or the certificate.
            PermanentError: A database is at a revision that this release does not know.
        """
        import asyncpg
        from aiokafka.errors import KafkaError

        self._require_services()
        try:
            self._prepare(self.stack.addresses())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, KafkaError) as error:
            raise StackError(f"PostgreSQL or Kafka could not be prepared: {error}") from error

    def _prepare(self, addresses: Addresses) -> None:
        from phonograph_runtime import migrations
        from phonograph_runtime.broker import create_topics
        from phonograph_runtime.kafka_access import check_access
        from phonograph_runtime.provision import provision_database

        script = (self.root / "deploy" / "postgres" / "init.sql").read_text(encoding="utf-8")

        async def create() -> None:
            await provision_database(self._postgres_url, script, self._passwords())
            await check_access(addresses.kafka_bootstrap_servers, self.kafka_security)
            await create_topics(addresses.kafka_bootstrap_servers, self.kafka_security)

        asyncio.run(create())
        for service in self.services():
            folder = self.root / "migrations" / service.value
            migrations.upgrade(self.database_url(service), folder)

    def service_environment(self, service: Service) -> dict[str, str]:
        """Return the environment of a service: that of the caller and the addresses of the stack."""
        addresses = self.stack.addresses()
        prefix = service.role.upper()
        settings = {
            "DATABASE_URL": self.database_url(service),
            "KAFKA_BOOTSTRAP_SERVERS": addresses.kafka_bootstrap_servers,
            "OBJECT_STORE_URL": self.object_store_url,
            "MIGRATIONS": str(self.root / "migrations"),
        }
        if OTLP_ENDPOINT in self.environment:
            settings["OTLP_ENDPOINT"] = self.environment[OTLP_ENDPOINT]
        if service is Service.GRAPH_SYNC:
            settings |= {
                "NEO4J_URI": addresses.neo4j_uri,
                "NEO4J_USER": addresses.neo4j_user,
                "NEO4J_PASSWORD": addresses.neo4j_password,
            }
        security = {f"{prefix}_{name}": value for name, value in self._security_environment(service).items()}
        # A service may have a login of its own.
        return {
            **security,
            **self.environment,
            **{f"{prefix}_{name}": value for name, value in settings.items()},
        }

    def _security_environment(self, service: Service) -> dict[str, str]:
        """Return the settings of login and encryption that a service shares with this command."""
        from phonograph_runtime.kafka_security import KafkaSecurity

        if not isinstance(self.stack, ExternalStack):
            return {}
        names = [name.upper() for name in KafkaSecurity.model_fields]
        if service is Service.GRAPH_SYNC:
            names.append(NEO4J_CA_FILE)
        values = {name: self.environment.get(f"{SETTING_PREFIX}{name}") for name in names}
        return {name: value for name, value in values.items() if value}

    def service_command(self, service: Service) -> str:
        """Return the path of a service's own command, which is installed next to this one.

        Raises:
            StackError: It is not installed.
        """
        command = Path(sys.executable).parent / f"phonograph-{service.value}"
        if not command.exists():
            raise StackError(f"{service} is not installed here. Run `{command.name}` in its image.")
        return str(command)

    def _require_services(self) -> None:
        """Refuse to prepare servers for services that are elsewhere: their roles have passwords already."""
        if not self.services():
            raise StackError("No service is installed here. Run `phonograph-NAME migrate` in each image.")

    def _process(self, number: int, service: Service) -> Process:
        port = self.stack.free_port(service.value, FIRST_PROBE_PORT + number)
        prefix = service.role.upper()
        home_id = f"{crc32(os.fsencode(self.home)):08x}"
        # The instance name is the same after a restart, and differs between installations on one machine.
        settings = {f"{prefix}_HTTP_PORT": str(port), f"{prefix}_INSTANCE": f"{platform.node()}-{home_id}"}
        return Process(
            name=service.value,
            command=(self.service_command(service),),
            environment=self.service_environment(service) | settings,
            health_url=f"http://127.0.0.1:{port}{READY}",
            port=port,
        )

    @property
    def _postgres_url(self) -> str:
        url = self.stack.addresses().postgres_url
        if not url:
            raise StackError("This command needs PHONOGRAPH_POSTGRES_URL in the environment. Set it.")
        return url

    def database_url(self, service: Service) -> str:
        """Return the database URL of a service, with its own role; on external servers its own variable wins.

        Raises:
            StackError: Neither is set.
        """
        own = self.environment.get(f"{service.role.upper()}_DATABASE_URL")
        if own and isinstance(self.stack, ExternalStack):
            return own
        url = urlsplit(self._postgres_url)
        host = url.netloc.rpartition("@")[2]
        query = f"?{url.query}" if url.query else ""
        return f"postgresql+asyncpg://{service.role}:{self._passwords()[service]}@{host}{url.path}{query}"

    def _passwords(self) -> dict[Service, str]:
        """Return one password per service, created once for this installation."""
        path = self.home / "passwords.json"
        stored: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        missing = [service for service in Service if service.value not in stored]
        if missing:
            stored |= {service.value: secrets.token_urlsafe(18) for service in missing}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # before anything is written, so that no other user can ever read it
            path.write_text(json.dumps(stored))
        return {service: stored[service.value] for service in Service}
