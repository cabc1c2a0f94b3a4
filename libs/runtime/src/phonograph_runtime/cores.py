"""The processor cores that this process may use."""

import math
import os
from pathlib import Path
from typing import Final

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def count_cores() -> int:
    """Return the number of cores that the process may use, at least 1: a container can have fewer."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _QUOTA.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, max(math.ceil(int(quota) / int(period)), 1))
