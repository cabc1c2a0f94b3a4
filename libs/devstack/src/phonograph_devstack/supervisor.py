"""Child processes that outlive the command that started them: starting, finding and stopping."""

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

_MARKER = "PHONOGRAPH_PROCESS"
_POLL_S = 0.05
_TAIL_LINES = 15
_PORTS_TRIED = 200


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A process as shown by `phonograph status`."""

    name: str
    state: Literal["running", "stopped", "dead"]
    """`stopped`: by `down`, or never started; `dead`: ended without a stop, or killed."""
    pid: int | None
    port: int | None
    memory_bytes: int | None
    """Memory of the process and its children, with a proportional share of shared pages."""


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """A started process, as recorded in run/NAME.json."""

    pid: int
    started_ticks: int
    port: int | None
    log_offset: int
    """Size of the log before this start, in bytes."""

    @property
    def is_alive(self) -> bool:
        """Return whether this process still runs, and not another one with the same pid."""
        return procfs.start_ticks(self.pid) == self.started_ticks


class Supervisor:
    """Starts, finds and stops the processes of one home folder.

    Every process has a marker in its environment, which its children inherit. Orphans of a killed process are
    therefore found and killed even if no file mentions them.
    """

    def __init__(self, home: Path, report: Callable[[str], None]) -> None:
        self._home = home.resolve()
        self._run = self._home / "run"
        self._report = report
        # Kept because Python warns when a Popen is garbage-collected while its process is running.
        self._children: list[subprocess.Popen[bytes]] = []
        self._ports_lock = threading.Lock()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Block other commands of this home folder until the `with` block ends."""
        while True:
            self._make_folder(self._run)
            with (self._run / "lock").open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    self._report(
                        "Another phonograph command is starting or stopping this stack; waiting for it."
                    )
                    fcntl.flock(file, fcntl.LOCK_EX)
                # While this command waited, a wipe may have removed the file: then lock the new one.
                if _is_same_file(file.fileno(), self._run / "lock"):
                    yield
                    return

    def log_path(self, name: str) -> Path:
        """Return the file to which a process writes its standard output and errors."""
        return self._home / "logs" / f"{name}.log"

    def names(self) -> list[str]:
        """Return the names of all processes that were ever started here."""
        return sorted(path.stem for path in self._run.glob("*.json"))

    def names_running(self) -> list[str]:
        """Return the names of all processes that run or left a child running, even without a file in run/."""
        prefix = f"{_MARKER}={self._home}/".encode()
        entries = {entry for _, environment in procfs.read_environments() for entry in environment}
        return sorted(entry.removeprefix(prefix).decode() for entry in entries if entry.startswith(prefix))

    def last_record(self, name: str) -> ProcessRecord | None:
        """Return the record of the last start, or None if the process was stopped or never started."""
        try:
            record = json.loads((self._run / f"{name}.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return ProcessRecord(**record) if record else None

    def running_record(self, name: str) -> ProcessRecord | None:
        """Return the record of a process that is alive, or None."""
        last = self.last_record(name)
        return last if last and last.is_alive else None

    def find_pids(self, name: str) -> list[int]:
        """Return the pids of a process and of all its descendants."""
        marker = f"{_MARKER}={self._home}/{name}".encode()
        marked = [pid for pid, environment in procfs.read_environments() if marker in environment]
        # The children of PostgreSQL overwrite their environment with a process title.
        return sorted({*marked, *procfs.find_by_working_directory(self._home / "data" / name, "postgres")})

    def status(self, name: str) -> ProcessStatus:
        """Return the status of a process."""
        last = self.last_record(name)
        if last is None:
            return ProcessStatus(name, "stopped", None, None, None)
        if not last.is_alive:
            return ProcessStatus(name, "dead", None, last.port, None)
        memory = sum(procfs.memory_bytes(pid) for pid in {last.pid, *self.find_pids(name)})
        return ProcessStatus(name, "running", last.pid, last.port, memory)

    def spawn(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        port: int | None = None,
        folder: Path | None = None,
    ) -> ProcessRecord:
        """Start a process in a new session, after killing what a killed predecessor left behind.

        Args:
            name: Name of the process, unique in the home folder.
            command: Program and arguments.
            environment: Complete environment of the process.
            port: Port that `status` shows.
            folder: Working directory; by default that of this command.

        Raises:
            StackError: If the program cannot be started.
        """
        self._kill(self.find_pids(name))
        log_path = self.log_path(name)
        self._make_folder(log_path.parent)
        with log_path.open("ab") as log:
            offset = log.tell()
            try:
                child = subprocess.Popen(
                    command,
                    env={**environment, _MARKER: f"{self._home}/{name}"},
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise StackError(f"Cannot start {name}: {error}. Check the program.") from error
        self._children.append(child)
        started = ProcessRecord(child.pid, procfs.start_ticks(child.pid) or 0, port, offset)
        self._write_record(name, asdict(started))
        return started

    def wait_until_ready(self, name: str, is_ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until a process is ready.

        Args:
            name: Name of the process.
            is_ready: Called repeatedly until it returns True.
            timeout_s: Longest time to wait, in seconds.

        Raises:
            StackError: If the process ended or was not ready in time; the message ends with its log.
        """
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            last = self.last_record(name)
            if last is None or not last.is_alive:
                raise StackError(f"{name} ended during its start. {self._log_tail(name)}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"{name} (process {last.pid}) does not answer after {timeout_s:.0f} s. "
                    f"{self._log_tail(name)}"
                )
            time.sleep(_POLL_S)

    def stop(self, names: Iterable[str], stop_signal: signal.Signals, *, timeout_s: float) -> None:
        """Stop processes in parallel, and kill those that are left after a timeout.

        Args:
            names: Names of the processes.
            stop_signal: Signal that asks a process to stop.
            timeout_s: Longest time for all of them to stop, in seconds.
        """
        pending = list(names)
        for name in pending:
            running = self.running_record(name)
            if running:
                with suppress(ProcessLookupError):
                    os.kill(running.pid, stop_signal)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and any(self.running_record(name) for name in pending):
            time.sleep(_POLL_S)
        for name in pending:
            running = self.running_record(name)
            if running:
                self._report(f"{name} has not stopped after {timeout_s:.0f} s; killing it.")
                self._kill([running.pid])
            self._kill(self.find_pids(name))
            if self.last_record(name):
                self._write_record(name, None)

    def free_port(self, name: str, preferred: int) -> int:
        """Return a port to listen on: the last one used, else the preferred one, else the next free one.

        Raises:
            StackError: If none of the 200 ports from the preferred one on is free.
        """
        with self._ports_lock:
            return self._choose_port(name, preferred)

    def _choose_port(self, name: str, preferred: int) -> int:
        path = self._home / "ports.json"
        ports: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        reserved = {port for other, port in ports.items() if other != name}
        candidates = range(preferred, preferred + _PORTS_TRIED)
        previous = ports.get(name)
        if previous is not None and (self.running_record(name) or is_port_free(previous)):
            return previous
        for port in candidates:
            if port not in reserved and is_port_free(port):
                if port != preferred:
                    self._report(f"Port {preferred} for {name} is taken; using {port}.")
                self._make_folder(self._home)
                _write_atomically(path, json.dumps({**ports, name: port}, indent=2))
                return port
        raise StackError(
            f"No port is free for {name} between {candidates[0]} and {candidates[-1]}: "
            "stop a process that uses one of them."
        )

    def _kill(self, pids: list[int]) -> None:
        deadline = time.monotonic() + 10
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while time.monotonic() < deadline and any(procfs.start_ticks(pid) is not None for pid in pids):
            time.sleep(_POLL_S)

    def _log_tail(self, name: str) -> str:
        last = self.last_record(name)
        with suppress(FileNotFoundError), self.log_path(name).open("rb") as log:
            log.seek(last.log_offset if last else 0)
            lines = log.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]
            return f"Its log {self.log_path(name)} ends with:\n" + "\n".join(lines)
        return f"It wrote no log to {self.log_path(name)}."

    def _write_record(self, name: str, record: object) -> None:
        self._make_folder(self._run)
        _write_atomically(self._run / f"{name}.json", json.dumps(record))

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StackError(
                f"Cannot create the folder {folder}: {error.strerror}. Check its permissions."
            ) from error


def is_port_free(port: int) -> bool:
    """Return whether a server could listen on a port of 127.0.0.1 now."""
    with socket.socket() as probe:
        # As servers do: connections that are still closing do not occupy a port.
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
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.replace(path)
