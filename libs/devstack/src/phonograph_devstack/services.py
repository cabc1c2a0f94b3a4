"""Services as local processes; the part that every kind of stack has."""

import http.client
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from phonograph_devstack import procfs
from phonograph_devstack.errors import StackError
from phonograph_devstack.supervisor import ProcessStatus, Supervisor

_HEALTHY_WITHIN_S = 120.0
_STOP_WITHIN_S = 30.0
_HTTP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the three servers answer."""

    postgres_url: str
    """Of the superuser, with password and database: postgresql://USER:PASSWORD@HOST:PORT/phonograph."""
    kafka_bootstrap_servers: str
    neo4j_uri: str
    neo4j_user: str
    neo4j_password: str


@dataclass(frozen=True, slots=True)
class Process:
    """One service to run."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """All that the process gets; nothing is added from the caller's own environment."""
    health_url: str | None
    """Answers 200 once the service is ready; None: it is not waited for."""
    port: int | None
    """For `status` only."""


class ServiceHost:
    """Starts, watches and stops services on this machine.

    Args:
        home: Folder for logs, ports and process files, for example `.phonograph`; one per checkout.
        report: Takes one line of progress at a time.
    """

    def __init__(self, home: Path, *, report: Callable[[str], None] = print) -> None:
        self._home = home.resolve()
        self._report = report
        self._supervisor = Supervisor(home, report)

    def start(self, processes: Sequence[Process]) -> None:
        """Start those that do not run, then wait until every one of them is healthy.

        Raises:
            StackError: one ended or stayed unhealthy; names its log and the last lines.
        """
        with self._supervisor.lock():
            before = {process.name for process in processes if self._supervisor.running(process.name)}
            for process in processes:
                if process.name not in before:
                    self._spawn(process)
            for process in processes:
                try:
                    self._wait_until_healthy(process)
                except StackError:
                    # Killed a moment ago, it may still have looked alive.
                    if process.name not in before or self._supervisor.running(process.name):
                        raise
                    self._spawn(process)
                    self._wait_until_healthy(process)

    def stop(self, names: Sequence[str]) -> None:
        """Ask services to end, and wait until they have."""
        with self._supervisor.lock():
            self._supervisor.stop(names, signal.SIGTERM, timeout_s=_STOP_WITHIN_S)

    def free_port(self, name: str, preferred: int) -> int:
        """A port for the process of this name, the same one as long as it runs or the port stays free."""
        with self._supervisor.lock():
            return self._supervisor.free_port(name, preferred)

    def log_path(self, name: str) -> Path:
        """The log of a server or service."""
        return self._supervisor.log_path(name)

    def status(self) -> list[ProcessStatus]:
        """Every process that was ever started here, by name."""
        return [self._supervisor.status(name) for name in self._supervisor.names()]

    def _spawn(self, process: Process) -> None:
        self._supervisor.spawn(process.name, process.command, process.environment, port=process.port)

    def _wait_until_healthy(self, process: Process) -> None:
        if process.health_url:
            answers = partial(self._is_healthy, process.name, process.health_url)
            self._supervisor.wait(process.name, answers, timeout_s=_HEALTHY_WITHIN_S)

    def _is_healthy(self, name: str, url: str) -> bool:
        port = urlsplit(url).port
        # A service of another checkout may have taken the port: the answer must come from ours.
        if port and not any(procfs.listens(pid, port) for pid in self._supervisor.members(name)):
            return False
        try:
            with urllib.request.urlopen(url, timeout=_HTTP_TIMEOUT_S) as response:  # noqa: S310  # our own address
                return bool(response.status == http.client.OK)
        except (urllib.error.URLError, OSError, http.client.HTTPException):
            return False

    def _stop_services(self, servers: Sequence[str]) -> None:
        known = {*self._supervisor.names(), *self._supervisor.names_alive()}
        services = sorted(known.difference(servers))
        self._supervisor.stop(services, signal.SIGTERM, timeout_s=_STOP_WITHIN_S)
