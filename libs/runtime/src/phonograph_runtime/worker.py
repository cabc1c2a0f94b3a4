"""Works off the job table: one engine process, a lease that is renewed, a fenced end."""

import asyncio
import contextlib
import os
import pickle
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import structlog
from pydantic import BaseModel

from phonograph_runtime import metrics
from phonograph_runtime.child import LENGTH, Broken, Done, Progressed, frame
from phonograph_runtime.database import JOBS_CHANNEL, Database, Listener, Transaction, UnavailableError
from phonograph_runtime.errors import LeaseLostError, PermanentError
from phonograph_runtime.jobs import Job, JobQueue

POLL_S = 5.0

Finish = Callable[[Transaction, Job, Any], Awaitable[None]]

_log = structlog.get_logger()
_SILENT = Broken(
    "lease_expired", "The worker died or fell silent in every attempt.", permanent=True, trace=""
)


@dataclass(frozen=True, slots=True)
class JobKind:
    """What one kind of job needs: the shape of its task, and what to do with its result."""

    task: type[BaseModel]
    finish: Finish
    fail: Callable[[Transaction, Job, str, str], Awaitable[None]] | None = None
    """Called in the transaction that gives the job up."""


class Worker:
    """Claims jobs and runs them in a child process that can be killed."""

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        listener: Listener,
        kinds: dict[str, JobKind],
        *,
        engines: str,
        settings_json: str,
        lease: timedelta,
        job_timeout: timedelta,
        idle_unload: timedelta,
    ) -> None:
        self._database = database
        self._queue = queue
        self._listener = listener
        self._kinds = kinds
        self._lease_s = lease.total_seconds()
        self._timeout_s = job_timeout.total_seconds()
        self._idle_unload_s = idle_unload.total_seconds()
        self._engine = EngineProcess(engines, settings_json)

    async def run(self) -> None:
        """Work until cancelled. A job in hand is given back at once when the service stops."""
        idle_since = time.monotonic()
        try:
            while True:
                try:
                    job = await self._queue.claim()
                except UnavailableError as error:
                    _log.warning("no jobs: database away", error=str(error))
                    await asyncio.sleep(POLL_S)
                    continue
                if job is not None:
                    await self._work(job)
                    idle_since = time.monotonic()
                    continue
                if self._engine.running and time.monotonic() - idle_since > self._idle_unload_s:
                    await self._engine.kill()
                await self._listener.wait(JOBS_CHANNEL, POLL_S)
        finally:
            await self._engine.kill()

    async def _work(self, job: Job) -> None:
        log = _log.bind(job_id=str(job.id), kind=job.kind, media_id=str(job.media_id), attempt=job.attempt)
        log.info("job started")
        try:
            outcome = _SILENT if job.exhausted else await self._run_engine(job)
            if isinstance(outcome, Broken):
                await self._fail(job, outcome)
            else:
                await self._finish(replace(job, seconds=outcome.seconds), outcome.result)
                log.info("job completed", seconds=round(outcome.seconds, 2))
        except LeaseLostError:
            await self._engine.kill()
            metrics.JOBS_FINISHED.labels(job.kind, "lease_lost").inc()
            log.warning("lease lost, result dropped")
        except UnavailableError as error:
            await self._engine.kill()
            log.warning("database away, the lease will run out", error=str(error))
            await asyncio.sleep(POLL_S)
        except asyncio.CancelledError:
            await self._engine.kill()
            with contextlib.suppress(LeaseLostError, UnavailableError):
                await self._queue.release(job)
            raise

    async def _run_engine(self, job: Job) -> Done | Broken:
        """Run the task; renew the lease three times as often as needed."""
        try:
            task = self._kinds[job.kind].task.model_validate(job.task)
        except (KeyError, ValueError) as error:
            return Broken(
                "bad_task", f"The job {job.kind!r} cannot be read: {error}", permanent=True, trace=""
            )
        try:
            await self._engine.start(job.kind, task)
        except OSError as error:
            await self._engine.kill()
            return Broken("engine_died", f"The engine did not start: {error}", permanent=False, trace="")
        deadline = time.monotonic() + self._timeout_s
        progress, renewed = Progressed(0.0, "started"), time.monotonic()
        answer = asyncio.create_task(self._engine.answer())
        try:
            while True:
                done, _ = await asyncio.wait([answer], timeout=self._lease_s / 3)
                if done:
                    message = answer.result()
                    if not isinstance(message, Progressed):
                        return message
                    progress = message
                    answer = asyncio.create_task(self._engine.answer())
                    if time.monotonic() - renewed < min(1.0, self._lease_s / 3):
                        continue
                if time.monotonic() > deadline:
                    await self._engine.kill()
                    return Broken(
                        "timeout", f"The engine ran longer than {self._timeout_s:.0f} s.", False, ""
                    )
                await self._queue.renew(job, progress.fraction, progress.stage)
                renewed = time.monotonic()
        except EngineDiedError as error:
            return Broken("engine_died", str(error), permanent=False, trace="")
        finally:
            answer.cancel()

    async def _finish(self, job: Job, result: Any) -> None:
        """Results, status and events in one transaction that only the holder of the lease can make."""
        try:
            async with self._database.transaction(job.cause) as transaction:
                await self._queue.complete(transaction, job)
                await self._kinds[job.kind].finish(transaction, job, result)
        except (LeaseLostError, UnavailableError):
            raise
        except Exception as error:  # noqa: BLE001  # the job fails with whatever it was
            _log.exception("result could not be saved", job_id=str(job.id))
            permanent = isinstance(error, PermanentError)
            reason = getattr(error, "reason", "not_saved")
            await self._fail(job, Broken(reason, str(error), permanent, ""))
            return
        metrics.JOBS_FINISHED.labels(job.kind, "completed").inc()
        metrics.JOB_RUN_SECONDS.labels(job.kind).observe(job.seconds or 0.0)
        metrics.JOB_WAIT_SECONDS.labels(job.kind).observe(job.waited_s)

    async def _fail(self, job: Job, broken: Broken) -> None:
        kind = self._kinds.get(job.kind)
        async with self._database.transaction(job.cause) as transaction:
            final = await self._queue.fail(
                transaction, job, broken.reason, broken.message, permanent=broken.permanent
            )
            if final and kind is not None and kind.fail is not None:
                await kind.fail(transaction, job, broken.reason, broken.message)
        metrics.JOBS_FINISHED.labels(job.kind, "failed" if final else "retried").inc()
        _log.error(
            "job failed",
            job_id=str(job.id),
            kind=job.kind,
            reason=broken.reason,
            error=broken.message,
            final=final,
            trace=broken.trace,
        )


class EngineDiedError(Exception):
    """The engine's process ended in the middle of a task."""


class EngineProcess:
    """A child process that keeps its models between tasks."""

    def __init__(self, target: str, settings_json: str) -> None:
        self._target = target
        self._settings_json = settings_json
        self._process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there, with its models in memory."""
        return self._process is not None and self._process.returncode is None

    async def start(self, kind: str, task: BaseModel) -> None:
        """Hand over a task; starts the process when there is none."""
        if not self.running:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                "from phonograph_runtime import child; child.main()",
                self._target,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=os.environ | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")},
            )
            await self._send(self._settings_json)
        await self._send((kind, task))

    async def answer(self) -> Progressed | Done | Broken:
        """The next message of the task.

        Raises:
            EngineDiedError: the process ended; its exit status is in the message.
        """
        process = self._require()
        if process.stdout is None:
            raise EngineDiedError("The engine has no output.")
        try:
            (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
            content = await process.stdout.readexactly(length)
        except asyncio.IncompleteReadError as error:
            status = await process.wait()
            raise EngineDiedError(f"The engine's process ended with status {status}.") from error
        message: Progressed | Done | Broken = pickle.loads(content)  # noqa: S301  # written by our own child
        return message

    async def kill(self) -> None:
        """End the process and give its memory back."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

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
