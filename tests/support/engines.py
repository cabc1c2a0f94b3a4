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
LITTER_BYTES = 1024 * 1024

Fault = Literal["", "die", "crash", "eat memory", "hang", "spin", "litter", "bad luck", "bad message"]


class Sum(BaseModel):
    """A task: add numbers."""

    numbers: list[float]
    seconds: float = 0
    """Time that the task takes."""
    fault: Fault = ""
    """What happens halfway through the task."""


def create_engine(_settings_json: str) -> EngineTasks:
    """Return an engine that adds numbers; a task without numbers is a permanent error."""

    def add(task: Sum, progress: Progress) -> float:
        if not task.numbers:
            raise PermanentError("There is nothing to add.", reason="empty")
        for step in range(STEPS):
            progress(step / STEPS, "adding")
            if step == STEPS // 2 and task.fault:
                _fail(task.fault)
            time.sleep(task.seconds / STEPS)
        return sum(task.numbers)

    return {"add": add}


def _fail(fault: Fault) -> None:
    match fault:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "eat memory":
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            held = [bytearray(LITTER_BYTES) for _ in range(MEMORY_BYTES // LITTER_BYTES)]
            raise AssertionError(f"{len(held)} MiB fit")
        case "litter":
            with tempfile.NamedTemporaryFile(delete=False) as file:
                file.write(bytes(LITTER_BYTES))
            signal.pause()
        case "hang":
            signal.pause()
        case "spin":
            while True:
                pass
        case "bad luck":
            raise RuntimeError("bad luck")
        case "bad message":
            raise RuntimeError("\x00\udcff" * 1_000_000)
