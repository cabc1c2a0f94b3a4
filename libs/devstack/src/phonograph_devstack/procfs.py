"""Reading of process state, environment, sockets and memory from /proc."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"


def start_ticks(pid: int) -> int | None:
    """Return the clock ticks between boot and the start of a process, or None if it is gone or a zombie.

    The system may reuse a pid for another process, but not a pid with the same start.
    """
    with suppress(
        OSError
    ):  # only our children can be reaped here; other processes are reaped by their parents
        os.waitpid(pid, os.WNOHANG)
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field is the name in brackets, which may contain spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    state, threads, started = fields[0], int(fields[17]), int(fields[19])
    # The first thread of a dying process is a zombie while other threads still hold its ports and locks.
    return None if state in "ZX" and threads <= 1 else started


def read_environments() -> Iterator[tuple[int, frozenset[bytes]]]:
    """Yield the pid and `NAME=value` entries of every other process whose environment is readable."""
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                yield int(folder.name), frozenset((folder / "environ").read_bytes().split(b"\0"))


def find_by_working_directory(folder: Path, name: str) -> list[int]:
    """Return the pids of the processes called `name` whose working directory is `folder`."""
    found: list[int] = []
    for process in _PROC.iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                if (process / "comm").read_text().strip() == name and (process / "cwd").readlink() == folder:
                    found.append(int(process.name))
    return found


def is_listening(pid: int, port: int) -> bool:
    """Return whether a process listens on a TCP port; True also if its sockets may not be inspected."""
    sockets = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    try:
        open_files = list((_PROC / str(pid) / "fd").iterdir())
    except FileNotFoundError:
        return False
    except PermissionError:  # a server that dropped root, inspected by a root without CAP_SYS_PTRACE
        return True
    for open_file in open_files:
        with suppress(OSError):
            if str(open_file.readlink()) in sockets:
                return True
    return False


def memory_bytes(pid: int) -> int:
    """Return the memory of a process with its share of shared pages (PSS), or 0 if it is gone."""
    with suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
