"""Check that this machine can run the local stack."""

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
    """The properties of a machine that are checked."""

    system: str
    architecture: str
    python: tuple[int, int]
    free_bytes: int


def inspect_machine(folder: Path) -> Machine:
    """Return the properties of this machine and the free space for a folder, which need not exist yet."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return Machine(
        system=platform.system(),
        architecture=platform.machine(),
        python=sys.version_info[:2],
        free_bytes=shutil.disk_usage(existing).free,
    )


def check_machine(machine: Machine, folder: Path) -> None:
    """Check that a machine can run the servers.

    Raises:
        StackError: If it cannot; the message is one line that names what is missing.
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
            f"{_DISK_NEEDED_BYTES / 1e9:.0f} GB are needed. Free some space."
        )
