"""What /proc tells about processes: alive or not, since when, whose, how big."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_LISTENING = "0A"


def started_ticks(pid: int) -> int | None:
    """Clock ticks between boot and the start of a process; None when it is gone or a zombie.

    A pid alone may have been given to another process since; pid and start together may not.
    """
    with suppress(OSError):  # only our own children can be reaped; the others have a parent that does it
        os.waitpid(pid, os.WNOHANG)
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field is the name in brackets and may hold spaces and brackets itself.
    fields = stat.rpartition(")")[2].split()
    state, threads, started = fields[0], int(fields[17]), int(fields[19])
    # The first thread of a dying process is a zombie while others still hold its ports and locks.
    return None if state in "ZX" and threads <= 1 else started


def environments() -> Iterator[tuple[int, frozenset[bytes]]]:
    """Pid and `NAME=value` entries of every process that lets us read them, but for this one."""
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                yield int(folder.name), frozenset((folder / "environ").read_bytes().split(b"\0"))


def at_work_in(folder: Path, name: str) -> list[int]:
    """Pids of the processes called `name` whose working directory is the folder."""
    found: list[int] = []
    for process in _PROC.iterdir():
        if process.name.isdigit():
            with suppress(OSError):
                if (process / "comm").read_text().strip() == name and (process / "cwd").readlink() == folder:
                    found.append(int(process.name))
    return found


def listens(pid: int, port: int) -> bool:
    """Whether a process has a socket that listens on a TCP port; also true where we may not look."""
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
    except PermissionError:  # a server that gave up root, looked at by a root without CAP_SYS_PTRACE
        return True
    for open_file in open_files:
        with suppress(OSError):
            if str(open_file.readlink()) in sockets:
                return True
    return False


def memory_bytes(pid: int) -> int:
    """Memory of a process with its share of shared pages (PSS); 0 when it is gone."""
    with suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
