"""Works off the job table: one engine process, a lease that is renewed, a fenced end."""

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
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel

from phonograph_events import MediaRef
from phonograph_runtime import metrics
from phonograph_runtime.child import LENGTH, LOADING, OUT_OF_MEMORY, Broken, Done, Progressed, frame
from phonograph_runtime.database import JOBS_CHANNEL, Database, Listener, Transaction
from phonograph_runtime.errors import EngineDiedError, LeaseLostError, PermanentError, UnavailableError
from phonograph_runtime.jobs import LEASE_EXPIRED, Job, JobQueue
from phonograph_runtime.tracing import OFF, Step, Tracing

POLL_S = 5.0
SOON_S = 0.1
TICK_S = 1.0
"""How often a running engine is looked at."""
RELEASE_S = 5.0
"""A service that stops waits no longer for a database that does not answer."""
SIGN_OF_WORK_S = 0.25
"""Processor time that an engine uses before it counts as at work although it says nothing."""
MAX_MESSAGE = 10_000
FOLDER_PREFIX = "phonograph-engine-"

Fail = Callable[[Transaction, Job, str, str], Awaitable[None]]
Finish = Callable[[Transaction, Job, Any], Awaitable[None]]

_log = structlog.get_logger()
_SILENT = Broken(LEASE_EXPIRED, "The worker died or fell silent in every attempt.", permanent=True, trace="")


@dataclass(frozen=True, slots=True)
class JobKind:
    """What one kind of job needs: the shape of its task, and what to do with its result."""

    task: type[BaseModel]
    """Where it has a field `media`, the recording's length counts in the metrics of the model."""
    finish: Finish
    fail: Fail | None = None
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
        engine_silence: timedelta,
        idle_unload: timedelta,
        tracing: Tracing = OFF,
    ) -> None:
        self._database = database
        self._queue = queue
        self._listener = listener
        self._kinds = kinds
        self._tracing = tracing
        self._lease_s = lease.total_seconds()
        self._timeout_s = job_timeout.total_seconds()
        self._silence_s = engine_silence.total_seconds()
        self._idle_unload_s = idle_unload.total_seconds()
        self._engine = EngineProcess(engines, settings_json)
        _begin_at_zero(kinds)

    async def run(self) -> None:
        """Work until cancelled. A job in hand is given back at once when the service stops."""
        remove_leftovers()
        idle_since = time.monotonic()
        metrics.WORKERS.labels("idle").inc()
        try:
            while True:
                try:
                    job = await self._queue.claim()
                    due_s = 0.0 if job else await self._queue.due_s()
                except UnavailableError as error:
                    _log.warning("no jobs: database away", error=str(error))
                    await asyncio.sleep(TICK_S)
                    continue
                if job is not None:
                    self._listener.wake(JOBS_CHANNEL)
                    await self._traced(job)
                    idle_since = time.monotonic()
                    continue
                if self._engine.running and time.monotonic() - idle_since > self._idle_unload_s:
                    await self._engine.kill()
                await self._listener.wait(JOBS_CHANNEL, min(max(due_s, SOON_S), POLL_S))
        finally:
            metrics.WORKERS.labels("idle").dec()
            await self._engine.kill()

    async def _traced(self, job: Job) -> None:
        """Work under a span; what follows from the job belongs to the span."""
        about: dict[str, str | int | float] = {
            "phonograph.job.id": str(job.id),
            "phonograph.job.attempt": job.attempt,
            "phonograph.job.waited_s": job.waited_s,
            "phonograph.subject": str(job.media_id),
        }
        traceparent = job.cause.traceparent if job.cause else None
        with self._tracing.step(f"job {job.kind}", "internal", traceparent, about) as step:
            cause = replace(job.cause, traceparent=step.traceparent) if job.cause else None
            await self._work(replace(job, cause=cause), step)

    async def _work(self, job: Job, step: Step) -> None:
        log = _log.bind(job_id=str(job.id), kind=job.kind, media_id=str(job.media_id), attempt=job.attempt)
        log.info("job started")
        if job.lease_expired:
            metrics.JOB_LEASE_EXPIRED.labels(job.kind).inc()
        if job.attempt == 1:
            metrics.JOB_WAIT_SECONDS.labels(job.kind).observe(job.waited_s)
        metrics.WORKERS.labels("idle").dec()
        metrics.WORKERS.labels("busy").inc()
        try:
            outcome = _SILENT if job.exhausted else await self._run_engine(job)
            if isinstance(outcome, Broken):
                step.failed(outcome.reason)
            await self._end(job, outcome)
        except LeaseLostError:
            await self._engine.kill()
            metrics.JOBS_FINISHED.labels(job.kind, "lease_lost").inc()
            log.warning("lease lost, result dropped")
        except asyncio.CancelledError:
            await self._engine.kill()
            with contextlib.suppress(LeaseLostError, UnavailableError, TimeoutError):
                async with asyncio.timeout(RELEASE_S):
                    await self._queue.release(job)
            raise
        except Exception:
            await self._engine.kill()
            log.exception("job broke its worker, the lease will run out")
            await asyncio.sleep(POLL_S)
        finally:
            metrics.WORKERS.labels("busy").dec()
            metrics.WORKERS.labels("idle").inc()

    async def _run_engine(self, job: Job) -> Done | Broken:
        """Run the task; renew the lease three times as often as needed, and sooner when there is news."""
        try:
            task = self._kinds[job.kind].task.model_validate(job.task)
        except (KeyError, ValueError) as error:
            return Broken(
                "bad_task", f"The job {job.kind!r} cannot be read: {error}", permanent=True, trace=""
            )
        begun = renewed = time.monotonic()
        loading = not self._engine.running
        news, progress = False, Progressed(0.0, "started")
        answer = asyncio.create_task(self._engine.ask(job.kind, task))
        try:
            while True:
                done, _ = await asyncio.wait([answer], timeout=min(TICK_S, self._lease_s / 3))
                now = time.monotonic()
                silent_s = self._engine.observe()
                if done:
                    message = answer.result()
                    if loading and not (isinstance(message, Progressed) and message.stage == LOADING):
                        loading = False
                        metrics.MODEL_LOAD_SECONDS.observe(now - begun)
                    if not isinstance(message, Progressed):
                        return await self._checked(job, task, message)
                    news, progress = True, message
                    answer = asyncio.create_task(self._engine.answer())
                if now - begun > self._timeout_s:
                    return await self._killed(
                        "timeout", f"The engine ran longer than {self._timeout_s:.0f} s."
                    )
                if silent_s > self._silence_s:
                    return await self._killed("silent", f"The engine did nothing for {silent_s:.0f} s.")
                if now - renewed >= (min(1.0, self._lease_s / 3) if news else self._lease_s / 3):
                    renewed = now
                    news = not await self._renew(job, progress)
        except (EngineDiedError, OSError) as error:
            return await self._killed("engine_died", str(error))
        finally:
            answer.cancel()

    async def _checked(self, job: Job, task: BaseModel, answer: Done | Broken) -> Done | Broken:
        if isinstance(answer, Broken):
            if answer.reason == OUT_OF_MEMORY:
                await self._engine.kill()  # what it holds, it would keep
            return answer
        metrics.JOB_RUN_SECONDS.labels(job.kind).observe(answer.seconds)
        media = getattr(task, "media", None)
        if isinstance(media, MediaRef) and media.duration_s > 0:
            metrics.MODEL_REALTIME_FACTOR.labels(job.kind).observe(answer.seconds / media.duration_s)
            metrics.MODEL_RECORDING_SECONDS.labels(job.kind).inc(media.duration_s)
        return answer

    async def _killed(self, reason: str, message: str) -> Broken:
        await self._engine.kill()
        return Broken(reason, message, permanent=False, trace="")

    async def _renew(self, job: Job, progress: Progressed) -> bool:
        """Keep the lease; whether the database heard it.

        While it is away the engine goes on: only a claim by somebody else takes the job away.
        """
        try:
            await self._queue.renew(job, progress.fraction, progress.stage)
        except UnavailableError as error:
            _log.warning("lease not renewed: database away", job_id=str(job.id), error=str(error))
            return False
        return True

    async def _end(self, job: Job, outcome: Done | Broken) -> None:
        """Finish or fail the job; while the database is away, wait with the result in hand."""
        while True:
            try:
                if isinstance(outcome, Broken):
                    await self._fail(job, outcome)
                else:
                    await self._finish(replace(job, seconds=outcome.seconds), outcome.result)
            except UnavailableError as error:
                _log.warning("job not ended yet: database away", job_id=str(job.id), error=str(error))
                await asyncio.sleep(TICK_S)
            except LeaseLostError:
                metrics.JOB_FENCED_COMPLETIONS.labels(job.kind).inc()
                raise
            else:
                return

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
        metrics.JOB_ATTEMPTS.labels(job.kind).observe(job.attempt)
        _log.info("job completed", job_id=str(job.id), kind=job.kind, seconds=round(job.seconds or 0.0, 2))

    async def _fail(self, job: Job, broken: Broken) -> None:
        broken = replace(broken, message=_storable(broken.message), reason=_storable(broken.reason))
        kind = self._kinds.get(job.kind)
        try:
            final = await self._give_up(job, broken, kind.fail if kind else None)
        except (LeaseLostError, UnavailableError):
            raise
        except Exception:  # noqa: BLE001  # the job ends whatever the service made of it
            _log.exception("failure could not be told in the service's own words", job_id=str(job.id))
            final = await self._give_up(job, broken, None)
        metrics.JOBS_FINISHED.labels(job.kind, "failed" if final else "retried").inc()
        if final:
            metrics.JOB_DEAD.labels(job.kind, broken.reason).inc()
            metrics.JOB_ATTEMPTS.labels(job.kind).observe(min(job.attempt, job.max_retries + 1))
        _log.error(
            "job failed",
            job_id=str(job.id),
            kind=job.kind,
            reason=broken.reason,
            error=broken.message,
            final=final,
            trace=broken.trace,
        )

    async def _give_up(self, job: Job, broken: Broken, fail: Fail | None) -> bool:
        async with self._database.transaction(job.cause) as transaction:
            final = await self._queue.fail(
                transaction, job, broken.reason, broken.message, permanent=broken.permanent
            )
            if final and fail is not None:
                await fail(transaction, job, broken.reason, broken.message)
        return final


def _storable(text: str) -> str:
    """Text that PostgreSQL and JSON take, whatever an engine made of a file's name."""
    return text[:MAX_MESSAGE].encode(errors="replace").decode().replace("\0", "\ufffd")


def _begin_at_zero(kinds: dict[str, JobKind]) -> None:
    """Let every series exist before its first event: a rate does not see a series begin."""
    for state in ("idle", "busy"):
        metrics.WORKERS.labels(state)
    for name, kind in kinds.items():
        for outcome in ("completed", "retried", "failed", "cancelled", "lease_lost"):
            metrics.JOBS_FINISHED.labels(name, outcome)
        for metric in (
            metrics.JOB_WAIT_SECONDS,
            metrics.JOB_RUN_SECONDS,
            metrics.JOB_ATTEMPTS,
            metrics.JOB_LEASE_EXPIRED,
            metrics.JOB_FENCED_COMPLETIONS,
        ):
            metric.labels(name)
        if "media" in kind.task.model_fields:
            metrics.MODEL_REALTIME_FACTOR.labels(name)
            metrics.MODEL_RECORDING_SECONDS.labels(name)


class EngineProcess:
    """A child process that keeps its models between tasks.

    It has a folder of its own for temporary files, which goes with it however it ends.
    """

    def __init__(self, target: str, settings_json: str) -> None:
        self._target = target
        self._settings_json = settings_json
        self._process: asyncio.subprocess.Process | None = None
        self._folder: _Folder | None = None
        self._memory_bytes = 0
        self._heard_at = 0.0
        self._worked_s = 0.0

    @property
    def running(self) -> bool:
        """Whether the process is there, with its models in memory."""
        return self._process is not None and self._process.returncode is None

    async def ask(self, kind: str, task: BaseModel) -> Progressed | Done | Broken:
        """Hand over a task and give the first message; starts the process when there is none.

        Raises:
            EngineDiedError: see `answer`.
            OSError: the process cannot be started.
        """
        self._heard_at = time.monotonic()
        if not self.running:
            await self._start()
        await self._send((kind, task))
        return await self.answer()

    async def _start(self) -> None:
        await self.kill()
        self._folder = _Folder()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from phonograph_runtime import child; child.main()",
            self._target,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"OMP_NUM_THREADS": "2"} | os.environ | {"TMPDIR": str(self._folder.path)},
        )
        await self._send(self._settings_json)

    async def answer(self) -> Progressed | Done | Broken:
        """The next message of the task.

        Raises:
            EngineDiedError: the process ended; how is in the message.
        """
        process = self._require()
        if process.stdout is None:
            raise EngineDiedError("The engine has no output.")
        try:
            (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
            content = await process.stdout.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise EngineDiedError(_ending(await process.wait())) from error
        self._heard_at = time.monotonic()
        message: Progressed | Done | Broken = pickle.loads(content)  # noqa: S301  # written by our own child
        return message

    def observe(self) -> float:
        """Weigh the process; seconds since it last said something or did some work."""
        memory_bytes, worked_s = (0, 0.0) if self._process is None else _usage(self._process.pid)
        metrics.ENGINE_MEMORY_BYTES.inc(memory_bytes - self._memory_bytes)
        self._memory_bytes = memory_bytes
        if worked_s - self._worked_s > SIGN_OF_WORK_S:
            self._heard_at, self._worked_s = time.monotonic(), worked_s
        return time.monotonic() - self._heard_at

    async def kill(self) -> None:
        """End the process; give its memory and its temporary files back."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        self.observe()
        self._worked_s = 0.0
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


class _Folder:
    """A folder for temporary files, locked as long as its process lives: the kernel frees the lock."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
        self._descriptor = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._descriptor)


def remove_leftovers() -> None:
    """Remove the folders of engines whose worker was killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or just removed
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _usage(pid: int) -> tuple[int, float]:
    """Resident bytes and processor seconds of a process; nothing once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0.0
    user, system, pages = int(fields[11]), int(fields[12]), int(fields[21])
    return pages * os.sysconf("SC_PAGE_SIZE"), (user + system) / os.sysconf("SC_CLK_TCK")


def _ending(status: int) -> str:
    if status >= 0:
        return f"The engine's process ended with status {status}."
    name = signal.Signals(-status).name
    why = ", as the kernel does when memory runs out" if -status == signal.SIGKILL else ""
    return f"The engine's process was ended by {name}{why}."
