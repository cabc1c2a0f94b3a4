"""An engine that fails on request; it runs in the child process of a worker, so it imports little."""

import os
import resource
import signal
import tempfile
import time
from typing import Literal

from pydantic import BaseModel

from phonograph_runtime.child import EngineTasks
from phonograph_runtime.errors import PermanentError
from phonograph_runtime.ports import Progress

STEPS = 50
MEMORY_BYTES = 512 * 1024 * 1024
MIB = 1024 * 1024

Fault = Literal[
    "", "die", "crash", "exhaust memory", "hang", "spin", "leave files", "raise", "raise unprintable"
]


class Sum(BaseModel):
    """A task: add numbers."""

    numbers: list[float]
    seconds: float = 0
    """Duration of the task."""
    fault: Fault = ""
    """Fault that happens halfway through the task."""


def create_engine(_settings_json: str) -> EngineTasks:
    """Return an engine that adds numbers; a task without numbers is a permanent error."""

    def add(task: Sum, progress: Progress) -> float:
        if not task.numbers:
            raise PermanentError("There is nothing to add.", reason="empty")
        for step in range(STEPS):
            progress(step / STEPS, "adding")
            if step == STEPS // 2 and task.fault:
                _inject(task.fault)
            time.sleep(task.seconds / STEPS)
        return sum(task.numbers)

    return {"add": add}


def _inject(fault: Fault) -> None:
    match fault:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exhaust memory":
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            held = [bytearray(MIB) for _ in range(MEMORY_BYTES // MIB)]
            raise AssertionError(f"{len(held)} MiB were allocated under the limit")
        case "leave files":
            with tempfile.NamedTemporaryFile(delete=False) as file:
                file.write(bytes(MIB))
            signal.pause()
        case "hang":
            signal.pause()
        case "spin":
            while True:
                pass
        case "raise":
            raise RuntimeError("raised on request")
        case "raise unprintable":
            raise RuntimeError("\x00\udcff" * 1_000_000)
