"""The engine's process: reads tasks from standard input, writes progress and results to standard output.

Its one argument is `module:function`; the function takes the service's settings as JSON and gives a
callable per kind of task. A frame is a length of four bytes and a pickle.
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
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

LENGTH = struct.Struct(">I")
PROGRESS_INTERVAL_S = 0.5
PR_SET_PDEATHSIG = 1
OOM_SCORE = "500"
"""When memory runs out the kernel ends an engine, not a service or a database."""
LOADING = "loading"
"""Stage of an engine that reads its model."""
OUT_OF_MEMORY = "out_of_memory"

Compute = Callable[[Any, Callable[[float, str], None]], Any]
Engines = dict[str, Compute]


@dataclass(frozen=True, slots=True)
class Progressed:
    """How far the task is."""

    fraction: float
    stage: str


@dataclass(frozen=True, slots=True)
class Done:
    """The task's result and its time in the engine."""

    result: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class Broken:
    """Why the task has no result."""

    reason: str
    message: str
    permanent: bool
    trace: str


def frame(message: Any) -> bytes:
    """A message as it crosses the pipe."""
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
    os.dup2(2, 1)  # what a library prints must not fall between the frames
    module, _, function = sys.argv[1].partition(":")
    settings: str = _read(source)
    engines: Engines | None = None
    while True:
        try:
            kind, task = _read(source)
        except EOFError:
            return
        try:
            if engines is None:
                engines = getattr(importlib.import_module(module), function)(settings)
            answer: Done | Broken = _compute(engines[kind], task, sink)
        except Exception as error:  # noqa: BLE001  # whatever it was, the parent decides
            answer = _broken(error)
        _write(sink, answer)


def _compute(compute: Compute, task: Any, sink: BinaryIO) -> Done:
    said_at, said = 0.0, ""

    def progress(fraction: float, stage: str) -> None:
        nonlocal said_at, said
        now = time.monotonic()
        if stage != said or now - said_at >= PROGRESS_INTERVAL_S:
            said_at, said = now, stage
            _write(sink, Progressed(fraction, stage))

    started = time.perf_counter()
    result = compute(task, progress)
    return Done(result, time.perf_counter() - started)


def _broken(error: Exception) -> Broken:
    from phonograph_runtime.errors import PermanentError, StorageFullError

    reason = str(getattr(error, "reason", type(error).__name__))
    message = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        reason, message = OUT_OF_MEMORY, "The engine ran out of memory."
    elif isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        reason = StorageFullError.reason
        where = error.filename or tempfile.gettempdir()
        message = f"No room is left in {where}. Make some, then retry."
    return Broken(reason, message, permanent=isinstance(error, PermanentError), trace=traceback.format_exc())


def _read(source: BinaryIO) -> Any:
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    return pickle.loads(source.read(LENGTH.unpack(head)[0]))  # noqa: S301  # written by our own parent


def _write(sink: BinaryIO, message: Any) -> None:
    sink.write(frame(message))
    sink.flush()
