"""The program of the engine's process: reads tasks from standard input, writes messages to standard output.

The first message is an `EngineSpec`, each further one a task: its kind, its input and the fields of its log
lines. A frame on the pipes is a length of four bytes and a pickle.
"""

import contextlib
import ctypes
import errno
import faulthandler
import importlib
import os
import pickle
import resource
import signal
import struct
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import structlog

from phonograph_runtime.errors import PermanentError, StorageFullError, reason_of
from phonograph_runtime.logs import configure_logging

LENGTH = struct.Struct(">I")
PROGRESS_INTERVAL_S = 0.5
PR_SET_PDEATHSIG = 1
OOM_SCORE = "500"
"""When memory runs out, the kernel ends an engine rather than a service or a database."""
LOADING = "loading"
"""Stage of a task whose engine is loading its model."""
OUT_OF_MEMORY = "out_of_memory"

TaskFunction = Callable[[Any, Callable[[float, str], None]], Any]
"""Takes a task and a callback for its progress, returns the result."""
EngineTasks = dict[str, TaskFunction]
"""What an engine can do, by kind of job."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Everything that the child process needs to create its engine."""

    factory: str
    """`module:function`; the function takes `settings_json` and returns `EngineTasks`."""
    settings_json: str
    """Settings of the service."""
    service: str
    log_level: str

    def create(self) -> EngineTasks:
        """Import and call the factory."""
        module, _, function = self.factory.partition(":")
        tasks: EngineTasks = getattr(importlib.import_module(module), function)(self.settings_json)
        return tasks


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """The progress of a task: a fraction in [0, 1] and the name of the stage."""

    fraction: float
    stage: str


@dataclass(frozen=True, slots=True)
class TaskSucceeded:
    """The result of a task, and its time in the engine."""

    result: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """The failure of a task."""

    reason: str
    message: str
    permanent: bool
    trace: str = ""
    """Traceback of the engine; empty if the worker ended the task."""


def frame(message: Any) -> bytes:
    """Return a message as it is written to the pipe."""
    content = pickle.dumps(message)
    return LENGTH.pack(len(content)) + content


def main() -> None:
    """Serve tasks until standard input ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the frames
    spec: EngineSpec = _read(source)
    configure_logging(spec.service, spec.log_level)
    tasks: EngineTasks | None = None
    while True:
        try:
            kind, task, log_fields = _read(source)
        except EOFError:
            return
        with structlog.contextvars.bound_contextvars(**log_fields):
            try:
                if tasks is None:
                    tasks = spec.create()
                outcome: TaskSucceeded | TaskFailed = _run(tasks[kind], task, sink)
            except Exception as error:  # whatever it was, the parent decides
                outcome = _failure_of(error)
        _write(sink, outcome)


def _run(function: TaskFunction, task: Any, sink: BinaryIO) -> TaskSucceeded:
    reported_at, reported = 0.0, ""

    def progress(fraction: float, stage: str) -> None:
        nonlocal reported_at, reported
        now = time.monotonic()
        if stage != reported or now - reported_at >= PROGRESS_INTERVAL_S:
            reported_at, reported = now, stage
            _write(sink, TaskProgress(fraction, stage))

    started = time.perf_counter()
    result = function(task, progress)
    return TaskSucceeded(result, time.perf_counter() - started)


def _failure_of(error: Exception) -> TaskFailed:
    reason = reason_of(error)
    message = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        reason, message = OUT_OF_MEMORY, "The engine ran out of memory."
    elif isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        reason = StorageFullError.reason
        where = error.filename or tempfile.gettempdir()
        message = f"No space is left in {where}. Free some, then retry."
    permanent = isinstance(error, PermanentError)
    return TaskFailed(reason, message, permanent, traceback.format_exc())


def _read(source: BinaryIO) -> Any:
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    return pickle.loads(source.read(LENGTH.unpack(head)[0]))  # written by our own parent process


def _write(sink: BinaryIO, message: Any) -> None:
    sink.write(frame(message))
    sink.flush()
