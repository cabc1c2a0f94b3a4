"""Child processes that outlive the command that started them: start, find again, stop without a trace."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from phonograph_devstack import procfs
from phonograph_devstack.errors import StackError

_MARK = "PHONOGRAPH_PROCESS"
_POLL_S = 0.05
_TAIL_LINES = 15
_PORTS_TRIED = 200


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process as `phonograph status` shows it."""

    name: str
    state: Literal["running", "stopped", "dead"]
    """`stopped`: by `down`, or never started; `dead`: it ended by itself or was killed."""
    pid: int | None
    port: int | None
    memory_bytes: int | None
    """Of the process and its children, shared pages counted in proportion."""


@dataclass(frozen=True, slots=True)
class Running:
    """What run/NAME.json remembers of a started process."""

    pid: int
    started_ticks: int
    port: int | None
    log_offset: int
    """Where in the log this run begins."""

    @property
    def alive(self) -> bool:
        """Whether this very process still runs, not another one with its number."""
        return procfs.started_ticks(self.pid) == self.started_ticks


class Supervisor:
    """The processes of one home folder.

    Every child carries a mark in its environment, inherited by its own children; so orphans of a killed
    process are found and ended even when nothing else is known of them.
    """

    def __init__(self, home: Path, report: Callable[[str], None]) -> None:
        self._home = home.resolve()
        self._run = self._home / "run"
        self._report = report
        # Held so that a child's Popen is not collected, and warned about, while it runs on.
        self._children: list[subprocess.Popen[bytes]] = []
        self._ports_lock = threading.Lock()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other commands of this home folder out until the block ends."""
        while True:
            self._make(self._run)
            with (self._run / "lock").open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._report(
                        "Another phonograph command is starting or stopping this stack; waiting for it."
                    )
                    fcntl.flock(file, fcntl.LOCK_EX)
                # A wipe may have removed the file that we waited for.
                if _is_same_file(file.fileno(), self._run / "lock"):
                    yield
                    return

    def log_path(self, name: str) -> Path:
        """Where a process writes its standard output and errors."""
        return self._home / "logs" / f"{name}.log"

    def names(self) -> list[str]:
        """Every process that was ever started here."""
        return sorted(path.stem for path in self._run.glob("*.json"))

    def names_alive(self) -> list[str]:
        """Every process of this home that runs or left a child running, also when its file is lost."""
        mark = f"{_MARK}={self._home}/".encode()
        marks = {entry for _, entries in procfs.environments() for entry in entries if entry.startswith(mark)}
        return sorted(entry.removeprefix(mark).decode() for entry in marks)

    def last(self, name: str) -> Running | None:
        """The process as it was last started; None when it was stopped or never started."""
        try:
            record = json.loads((self._run / f"{name}.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return Running(**record) if record else None

    def running(self, name: str) -> Running | None:
        """The process if it is alive."""
        last = self.last(name)
        return last if last and last.alive else None

    def members(self, name: str) -> list[int]:
        """Pids of a process and of all that descend from it."""
        mark = f"{_MARK}={self._home}/{name}".encode()
        marked = [pid for pid, environment in procfs.environments() if mark in environment]
        # PostgreSQL's children overwrite their environment with their title.
        return sorted({*marked, *procfs.at_work_in(self._home / "data" / name, "postgres")})

    def status(self, name: str) -> ProcessStatus:
        """State of one process."""
        last = self.last(name)
        if last is None:
            return ProcessStatus(name, "stopped", None, None, None)
        if not last.alive:
            return ProcessStatus(name, "dead", None, last.port, None)
        memory = sum(procfs.memory_bytes(pid) for pid in {last.pid, *self.members(name)})
        return ProcessStatus(name, "running", last.pid, last.port, memory)

    def spawn(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        port: int | None = None,
        folder: Path | None = None,
    ) -> Running:
        """Start a process in a session of its own, after ending what a killed predecessor left behind."""
        self._kill(self.members(name))
        log_path = self.log_path(name)
        self._make(log_path.parent)
        with log_path.open("ab") as log:
            offset = log.tell()
            try:
                child = subprocess.Popen(
                    command,
                    env={**environment, _MARK: f"{self._home}/{name}"},
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise StackError(f"Cannot start {name}: {error}") from error
        self._children.append(child)
        started = Running(child.pid, procfs.started_ticks(child.pid) or 0, port, offset)
        self._remember(name, asdict(started))
        return started

    def wait(self, name: str, answers: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until a process answers.

        Raises:
            StackError: it ended or did not answer in time; names the log and its last lines.
        """
        deadline = time.monotonic() + timeout_s
        while not answers():
            last = self.last(name)
            if last is None or not last.alive:
                raise StackError(f"{name} ended while it started. {self._tail(name)}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"{name} (process {last.pid}) does not answer after {timeout_s:.0f} s. {self._tail(name)}"
                )
            time.sleep(_POLL_S)

    def stop(self, names: Iterable[str], stop_signal: signal.Signals, *, timeout_s: float) -> None:
        """Ask processes to end, all at once; kill what is left of them after the timeout."""
        wanted = list(names)
        for name in wanted:
            running = self.running(name)
            if running:
                with suppress(ProcessLookupError):
                    os.kill(running.pid, stop_signal)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and any(self.running(name) for name in wanted):
            time.sleep(_POLL_S)
        for name in wanted:
            running = self.running(name)
            if running:
                self._report(f"{name} does not end by itself after {timeout_s:.0f} s; killing it.")
                self._kill([running.pid])
            self._kill(self.members(name))
            if self.last(name):
                self._remember(name, None)

    def free_port(self, name: str, preferred: int) -> int:
        """A port to listen on: the one used before, else the preferred one, else the next that is free.

        Raises:
            StackError: none of the 200 ports from the preferred one on is free.
        """
        with self._ports_lock:
            return self._choose_port(name, preferred)

    def _choose_port(self, name: str, preferred: int) -> int:
        path = self._home / "ports.json"
        ports: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        others = {port for other, port in ports.items() if other != name}
        candidates = range(preferred, preferred + _PORTS_TRIED)
        before = ports.get(name)
        if before is not None and (self.running(name) or port_is_free(before)):
            return before
        for port in candidates:
            if port not in others and port_is_free(port):
                if port != preferred:
                    self._report(f"Port {preferred} for {name} is taken; using {port}.")
                self._make(self._home)
                _write_atomically(path, json.dumps({**ports, name: port}, indent=2))
                return port
        raise StackError(
            f"No port is free for {name} between {candidates[0]} and {candidates[-1]}: "
            "stop what listens there."
        )

    def _kill(self, pids: list[int]) -> None:
        deadline = time.monotonic() + 10
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while time.monotonic() < deadline and any(procfs.started_ticks(pid) is not None for pid in pids):
            time.sleep(_POLL_S)

    def _tail(self, name: str) -> str:
        last = self.last(name)
        with suppress(FileNotFoundError), self.log_path(name).open("rb") as log:
            log.seek(last.log_offset if last else 0)
            lines = log.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
            return f"Its log {self.log_path(name)} ends with:\n" + "\n".join(lines)
        return f"It wrote no log to {self.log_path(name)}."

    def _remember(self, name: str, record: object) -> None:
        self._make(self._run)
        _write_atomically(self._run / f"{name}.json", json.dumps(record))

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(f"Cannot make the folder {folder}: {error.strerror}.") from error


def port_is_free(port: int) -> bool:
    """Whether a server could listen on a port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # Servers set this too: connections that are still closing do not hold a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _is_same_file(descriptor: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    return False


def _write_atomically(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.replace(path)
