"""Services as local processes, common to every kind of stack."""

import http.client
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from phonograph_devstack import procfs
from phonograph_devstack.errors import StackError
from phonograph_devstack.supervisor import ProcessStatus, Supervisor

_HEALTHY_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 30.0
_HTTP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses of the three servers."""

    postgres_url: str
    """URL of the superuser with password and database: postgresql://USER:PASSWORD@HOST:PORT/phonograph."""
    kafka_bootstrap_servers: str
    neo4j_uri: str
    neo4j_user: str
    neo4j_password: str


@dataclass(frozen=True, slots=True)
class Process:
    """A service to run."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """All that the process gets; nothing is added from the caller's own environment."""
    health_url: str | None
    """URL that answers 200 once the service is ready; None to start without waiting."""
    port: int | None
    """Port that `status` shows."""


class ServiceHost:
    """Starts, monitors and stops services on this machine.

    Args:
        home: Folder for logs, ports and process files, for example `.phonograph`; one per checkout.
        report: Called with each line of progress.
    """

    def __init__(self, home: Path, *, report: Callable[[str], None] = print) -> None:
        self._home = home.resolve()
        self._report = report
        self._supervisor = Supervisor(home, report)

    def start(self, processes: Sequence[Process]) -> None:
        """Start the processes that are not running, then wait until all are healthy.

        Raises:
            StackError: If a process ended or stayed unhealthy; the message contains the end of its log.
        """
        with self._supervisor.lock():
            running = {process.name for process in processes if self._supervisor.running_record(process.name)}
            for process in processes:
                if process.name not in running:
                    self._spawn(process)
            for process in processes:
                try:
                    self._wait_until_healthy(process)
                except StackError:
                    # A process that was killed just before may still have looked alive.
                    if process.name not in running or self._supervisor.running_record(process.name):
                        raise
                    self._spawn(process)
                    self._wait_until_healthy(process)

    def stop(self, names: Sequence[str]) -> None:
        """Stop services and wait until they have ended."""
        with self._supervisor.lock():
            self._supervisor.stop(names, signal.SIGTERM, timeout_s=_STOP_TIMEOUT_S)

    def free_port(self, name: str, preferred: int) -> int:
        """Return a port for a process; it stays the same while the process runs or the port is free."""
        with self._supervisor.lock():
            return self._supervisor.free_port(name, preferred)

    def log_path(self, name: str) -> Path:
        """Return the path of the log of a server or service."""
        return self._supervisor.log_path(name)

    def status(self) -> list[ProcessStatus]:
        """Return the status of every process that was ever started here, sorted by name."""
        return [self._supervisor.status(name) for name in self._supervisor.names()]

    def _spawn(self, process: Process) -> None:
        self._supervisor.spawn(process.name, process.command, process.environment, port=process.port)

    def _wait_until_healthy(self, process: Process) -> None:
        if process.health_url:
            is_healthy = partial(self._is_healthy, process.name, process.health_url)
            self._supervisor.wait_until_ready(process.name, is_healthy, timeout_s=_HEALTHY_TIMEOUT_S)

    def _is_healthy(self, name: str, url: str) -> bool:
        address = urlsplit(url)
        port = address.port
        # A service of another checkout may have taken the port: the answer must come from our process.
        if port and not any(procfs.is_listening(pid, port) for pid in self._supervisor.find_pids(name)):
            return False
        connection = http.client.HTTPConnection(address.hostname or "", port, timeout=_HTTP_TIMEOUT_S)
        try:
            connection.request("GET", address.path or "/")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _stop_services(self, servers: Sequence[str]) -> None:
        known = {*self._supervisor.names(), *self._supervisor.names_running()}
        services = sorted(known.difference(servers))
        self._supervisor.stop(services, signal.SIGTERM, timeout_s=_STOP_TIMEOUT_S)
