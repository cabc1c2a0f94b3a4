"""An engine that misbehaves on purpose; runs in a worker's child process."""

import os
import signal

from tests.support.scratch import Sum

from phonograph_runtime.child import Engines
from phonograph_runtime.errors import PermanentError
from phonograph_runtime.ports import Progress


def engines(_settings: str) -> Engines:
    """Adds numbers; none: a permanent error, -1: dies, -2: bad luck."""

    def add(task: Sum, progress: Progress) -> float:
        progress(0.5, "adding")
        if not task.numbers:
            raise PermanentError("There is nothing to add.", reason="empty")
        if task.numbers[0] == -1:
            os.kill(os.getpid(), signal.SIGKILL)
        if task.numbers[0] == -2:
            raise RuntimeError("bad luck")
        return sum(task.numbers)

    return {"add": add}
