"""Whether this machine can run the local stack at all."""

import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from phonograph_devstack.errors import StackError

_DISK_NEEDED_BYTES = 2_000_000_000
_PYTHON_NEEDED = (3, 11)


@dataclass(frozen=True, slots=True)
class Machine:
    """What the check looks at."""

    system: str
    architecture: str
    python: tuple[int, int]
    free_bytes: int


def this_machine(folder: Path) -> Machine:
    """The machine we run on, with the space on the disk that holds, or will hold, the folder."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return Machine(
        system=platform.system(),
        architecture=platform.machine(),
        python=sys.version_info[:2],
        free_bytes=shutil.disk_usage(existing).free,
    )


def check(machine: Machine, folder: Path) -> None:
    """Say in one line what is missing.

    Raises:
        StackError: the machine cannot run the servers.
    """
    if (machine.system, machine.architecture) != ("Linux", "x86_64"):
        raise StackError(
            f"The local servers run on Linux x86-64 only; this is {machine.system} {machine.architecture}. "
            "Set PHONOGRAPH_STACK=external and the addresses of your own servers."
        )
    if machine.python < _PYTHON_NEEDED:
        raise StackError(
            f"Phonograph needs Python 3.11 or newer; this is {'.'.join(map(str, machine.python))}. "
            "Install a newer one and set PYTHON=/path/to/python3.11."
        )
    if machine.free_bytes < _DISK_NEEDED_BYTES:
        raise StackError(
            f"The disk of {folder} has {machine.free_bytes / 1e9:.1f} GB free; "
            f"{_DISK_NEEDED_BYTES / 1e9:.0f} GB are needed. Make room there."
        )
