"""The local stack: three real servers as background processes, under one home folder."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from typing_extensions import override

from phonograph_devstack import procfs
from phonograph_devstack.errors import StackError
from phonograph_devstack.jars import Fetch, ensure_jars
from phonograph_devstack.java import StartupCache
from phonograph_devstack.kafka import Kafka
from phonograph_devstack.machine import check_machine, inspect_machine
from phonograph_devstack.neo4j import LOGIN, Neo4j
from phonograph_devstack.postgres import Postgres
from phonograph_devstack.servers import Server
from phonograph_devstack.services import Addresses, ServiceHost
from phonograph_devstack.supervisor import ProcessStatus, is_port_free

_READY_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 60.0
_WRITE_CACHE_TIMEOUT_S = 180.0
_MAX_STARTS = 5


class LocalStack(ServiceHost):
    """PostgreSQL, Kafka and Neo4j on this machine.

    Args:
        home: Folder of this stack, for example `.phonograph`: data/, logs/, run/, ports.json.
        manifests: Folder with kafka.jars and neo4j.jars.
        cache: Folder shared by all stacks of the user, for example `~/.cache/phonograph`: jars/, java/.
        report: Called with each line of progress.
        fetch: Source of jars that are not in the cache; by default a Maven repository.
    """

    def __init__(
        self,
        home: Path,
        *,
        manifests: Path,
        cache: Path,
        report: Callable[[str], None] = print,
        fetch: Fetch | None = None,
    ) -> None:
        super().__init__(home, report=report)
        self._cache = cache.absolute()
        self._manifests = manifests.absolute()
        self._fetch = fetch
        self._startup_caches = {name: self._startup_cache(name) for name in ("kafka", "neo4j")}
        self._postgres = Postgres(self._home)
        self._kafka = Kafka(
            self._home, jars=lambda: self._jars("kafka"), startup=self._startup_caches["kafka"]
        )
        self._neo4j = Neo4j(
            self._home, jars=lambda: self._jars("neo4j"), startup=self._startup_caches["neo4j"]
        )
        self._servers: tuple[Server, ...] = (self._postgres, self._kafka, self._neo4j)

    def up(self) -> Addresses:
        """Start the servers that are not running, in parallel, and wait until all are ready; data are kept.

        Raises:
            StackError: If the machine is unsuitable, a jar cannot be fetched, or a server does not start.
        """
        with self._supervisor.lock():
            if not all(self._supervisor.running_record(server.name) for server in self._servers):
                check_machine(inspect_machine(self._home), self._home)
                check_machine(inspect_machine(self._cache), self._cache)
            with ThreadPoolExecutor(len(self._servers)) as pool:
                list(pool.map(self._ensure_started, self._servers))
            return self.addresses()

    def addresses(self) -> Addresses:
        """Return the addresses of the servers; a server that has died keeps its address.

        Raises:
            StackError: If a server was not started, or none is running.
        """
        ports = {}
        for server in self._servers:
            last = self._supervisor.last_record(server.name)
            if last is None or last.port is None:
                raise StackError(f"The stack is not up: {server.name} is not running. Run `phonograph up`.")
            ports[server.name] = last.port
        if not any(self._supervisor.running_record(server.name) for server in self._servers):
            raise StackError("The stack is not up: none of its servers is running. Run `phonograph up`.")
        return Addresses(
            postgres_url=self._postgres.url(ports["postgres"]),
            kafka_bootstrap_servers=f"127.0.0.1:{ports['kafka']}",
            neo4j_uri=f"bolt://127.0.0.1:{ports['neo4j']}",
            neo4j_user=LOGIN[0],
            neo4j_password=LOGIN[1],
        )

    def down(self, *, wipe: bool = False) -> None:
        """Stop the services, then the servers, and kill any processes that they left behind.

        Args:
            wipe: Also remove data/, logs/, run/ and ports.json.
        """
        with self._supervisor.lock():
            self._stop_services([server.name for server in self._servers])
            with ThreadPoolExecutor(len(self._servers)) as pool:
                list(pool.map(self._stop_server, self._servers))
            if wipe:
                for name in ("data", "logs", "run"):
                    shutil.rmtree(self._home / name, ignore_errors=True)
                (self._home / "ports.json").unlink(missing_ok=True)

    @override
    def status(self) -> list[ProcessStatus]:
        """Return the status of the three servers, then of every service that was ever started here."""
        servers = [server.name for server in self._servers]
        services = [name for name in self._supervisor.names() if name not in servers]
        return [self._supervisor.status(name) for name in (*servers, *services)]

    def _ensure_started(self, server: Server) -> None:
        running = self._supervisor.running_record(server.name)
        port = running.port if running else None
        if port is not None:
            try:
                self._wait(server, port)
            except StackError:
                # A server that was killed just before may still have looked alive.
                if self._supervisor.running_record(server.name):
                    raise
                port = None
        if port is None:
            self._report(f"Starting {server.name}.")
            port = self._start_server(server)
        server.finish_start(port)

    def _start_server(self, server: Server) -> int:
        main_port = next(iter(server.default_ports))
        for attempt in range(1, _MAX_STARTS + 1):
            ports = {
                name: self._supervisor.free_port(name, preferred)
                for name, preferred in server.default_ports.items()
            }
            launch = server.prepare(ports)
            self._supervisor.spawn(
                server.name, launch.command, launch.environment, port=ports[main_port], folder=launch.folder
            )
            try:
                self._wait(server, ports[main_port])
            except StackError:
                # Another process may have taken the port between our check and the start: try another port.
                if attempt == _MAX_STARTS or all(map(is_port_free, ports.values())):
                    raise
            else:
                break
        return ports[main_port]

    def _wait(self, server: Server, port: int) -> None:
        def is_ready() -> bool:
            # Stacks that start simultaneously may choose the same port: the answer must be from our server.
            running = self._supervisor.running_record(server.name)
            return running is not None and procfs.is_listening(running.pid, port) and server.is_ready(port)

        self._supervisor.wait_until_ready(server.name, is_ready, timeout_s=_READY_TIMEOUT_S)

    def _stop_server(self, server: Server) -> None:
        timeout_s = _STOP_TIMEOUT_S
        startup = self._startup_caches.get(server.name)
        if startup and startup.will_be_written() and self._supervisor.running_record(server.name):
            self._report(f"Stopping {server.name}; it writes its start-up cache, which happens only once.")
            timeout_s = _WRITE_CACHE_TIMEOUT_S
        self._supervisor.stop([server.name], server.stop_signal, timeout_s=timeout_s)
        server.after_stop()

    def _startup_cache(self, name: str) -> StartupCache:
        return StartupCache(
            folder=self._cache / "java",
            manifest=self._manifests / f"{name}.jars",
            draft=self._home / "run" / f"{name}.aot",
        )

    def _jars(self, name: str) -> list[Path]:
        return ensure_jars(
            self._manifests / f"{name}.jars",
            self._cache / "jars",
            fetch=self._fetch,
            report=self._report,
        )
