"""The child process that runs a service's engine."""

import asyncio
import contextlib
import fcntl
import os
import pickle
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from phonograph_runtime import metrics
from phonograph_runtime.child import LENGTH, EngineSpec, TaskFailed, TaskProgress, TaskSucceeded, frame
from phonograph_runtime.errors import EngineDiedError
from phonograph_runtime.ports import Job

WORK_THRESHOLD_S = 0.25
"""Processor time since the last check from which a silent engine counts as working."""
FOLDER_PREFIX = "phonograph-engine-"


class EngineProcess:
    """A child process that keeps its models between tasks.

    Its temporary files are in a folder that is removed with it, however it ends.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._process: asyncio.subprocess.Process | None = None
        self._folder: _TemporaryFolder | None = None
        self._memory_bytes = 0
        self._last_message_at = 0.0
        self._processor_s = 0.0

    @property
    def is_running(self) -> bool:
        """Whether the process runs, with its models in memory."""
        return self._process is not None and self._process.returncode is None

    async def submit(self, job: Job, task: BaseModel) -> TaskProgress | TaskSucceeded | TaskFailed:
        """Send a task and return the first message about it; start the process if it does not run.

        Args:
            job: The job; its fields are in every log line of the process.
            task: Input of the job.

        Raises:
            EngineDiedError: As `read_message`.
            OSError: If the process cannot be started.
        """
        self._last_message_at = time.monotonic()
        if not self.is_running:
            await self._start()
        await self._send((job.kind, task, job.to_logging_context()))
        return await self.read_message()

    async def _start(self) -> None:
        await self.kill()
        self._folder = _TemporaryFolder()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from phonograph_runtime import child; child.main()",
            self._spec.factory,  # for readers of the process list
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"OMP_NUM_THREADS": "2"} | os.environ | {"TMPDIR": str(self._folder.path)},
        )
        await self._send(self._spec)

    async def read_message(self) -> TaskProgress | TaskSucceeded | TaskFailed:
        """Return the next message about the task.

        Raises:
            EngineDiedError: If the process ended; the message says how.
        """
        process = self._require()
        if process.stdout is None:
            raise EngineDiedError("The engine has no output.")
        try:
            (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
            content = await process.stdout.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise EngineDiedError(_describe_exit(await process.wait())) from error
        self._last_message_at = time.monotonic()
        message: TaskProgress | TaskSucceeded | TaskFailed = pickle.loads(
            content
        )  # written by our own child process
        return message

    def sample_usage(self) -> float:
        """Record the memory of the process; return the seconds since it last reported or computed."""
        memory_bytes, processor_s = (0, 0.0) if self._process is None else _usage(self._process.pid)
        metrics.ENGINE_MEMORY_BYTES.inc(memory_bytes - self._memory_bytes)
        self._memory_bytes = memory_bytes
        if processor_s - self._processor_s > WORK_THRESHOLD_S:
            self._last_message_at, self._processor_s = time.monotonic(), processor_s
        return time.monotonic() - self._last_message_at

    async def kill(self) -> None:
        """Kill the process and remove its temporary files."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        self.sample_usage()
        self._processor_s = 0.0
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.remove()

    async def _send(self, message: Any) -> None:
        process = self._require()
        if process.stdin is None:
            raise EngineDiedError("The engine has no input.")
        process.stdin.write(frame(message))
        await process.stdin.drain()

    def _require(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise EngineDiedError("The engine is not running.")
        return self._process


class _TemporaryFolder:
    """A folder for temporary files, locked while the worker lives: the kernel releases the lock."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        self._descriptor = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._descriptor)


def remove_leftovers() -> None:
    """Remove the temporary folders of engines whose worker was killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError):  # of another user, or removed meanwhile
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _usage(pid: int) -> tuple[int, float]:
    """Return the resident bytes and the processor seconds of a process; zeros once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0.0
    user, system, pages = int(fields[11]), int(fields[12]), int(fields[21])
    return pages * os.sysconf("SC_PAGE_SIZE"), (user + system) / os.sysconf("SC_CLK_TCK")


def _describe_exit(status: int) -> str:
    if status >= 0:
        return f"The engine's process ended with status {status}."
    name = signal.Signals(-status).name
    why = ", as the kernel does when memory runs out" if -status == signal.SIGKILL else ""
    return f"The engine's process was ended by {name}{why}."
