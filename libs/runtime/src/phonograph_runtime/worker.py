"""Executes queued jobs in a child process, renewing the lease and fencing completion by it."""

import asyncio
import contextlib
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog
from pydantic import BaseModel

from phonograph_events import MediaRef
from phonograph_runtime import metrics
from phonograph_runtime.child import (
    LOADING,
    OUT_OF_MEMORY,
    EngineSpec,
    TaskFailed,
    TaskProgress,
    TaskSucceeded,
)
from phonograph_runtime.database import JOBS_CHANNEL, Database, Listener
from phonograph_runtime.engine_process import EngineProcess, remove_leftovers
from phonograph_runtime.errors import (
    EngineDiedError,
    LeaseLostError,
    PermanentError,
    PhonographError,
    UnavailableError,
)
from phonograph_runtime.jobs import LEASE_EXPIRED, JobKind, JobQueue
from phonograph_runtime.logs import log_subject
from phonograph_runtime.ports import Job, JobFailure
from phonograph_runtime.tracing import OFF, Step, Tracing

POLL_S = 5.0
MIN_WAIT_S = 0.1
TICK_S = 1.0
"""Interval at which a running engine is checked."""
RELEASE_S = 5.0
"""Time that a stopping service allows the database for returning a job to the queue."""
MAX_MESSAGE = 10_000

logger = structlog.get_logger()
_EXHAUSTED = TaskFailed(
    LEASE_EXPIRED, "In every attempt the worker died or stopped renewing its lease.", permanent=True
)


class Worker:
    """Claims jobs and runs them in a child process that can be killed."""

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        listener: Listener,
        kinds: dict[str, JobKind[Any, Any]],
        *,
        engine: EngineSpec,
        lease: timedelta,
        job_timeout: timedelta,
        engine_silence: timedelta,
        idle_unload: timedelta,
        tracing: Tracing = OFF,
    ) -> None:
        """Create a worker with an engine process of its own, which is started by the first job.

        Args:
            database: Connections of the service.
            queue: Its jobs.
            listener: Wakes the worker when jobs are added.
            kinds: The kinds of jobs by name.
            engine: How the child process creates its engine.
            lease: Time for which a claimed job belongs to this worker without renewal.
            job_timeout: Time after which a job's engine is killed.
            engine_silence: Time without progress or processor use after which it is killed.
            idle_unload: Time without jobs after which it is ended to free its memory.
            tracing: Where spans are sent.
        """
        self._database = database
        self._queue = queue
        self._listener = listener
        self._kinds = kinds
        self._tracing = tracing
        self._lease_s = lease.total_seconds()
        self._timeout_s = job_timeout.total_seconds()
        self._silence_s = engine_silence.total_seconds()
        self._idle_unload_s = idle_unload.total_seconds()
        self._engine = EngineProcess(engine)
        _initialize_metrics(kinds)

    async def run(self) -> None:
        """Execute jobs until cancelled; the current job is then returned to the queue at once."""
        remove_leftovers()
        idle_since = time.monotonic()
        metrics.WORKERS.labels("idle").inc()
        try:
            while True:
                try:
                    job = await self._queue.claim()
                    due_s = 0.0 if job else await self._queue.due_s()
                except UnavailableError as error:
                    logger.warning("no job claimed: database unavailable", **error.to_logging_context())
                    await asyncio.sleep(TICK_S)
                    continue
                if job is not None:
                    # One notification may announce many jobs, and it has woken only this worker.
                    self._listener.wake(JOBS_CHANNEL)
                    with log_subject(job):
                        await self._execute_traced(job)
                    idle_since = time.monotonic()
                    continue
                if self._engine.is_running and time.monotonic() - idle_since > self._idle_unload_s:
                    await self._engine.kill()
                await self._listener.wait(JOBS_CHANNEL, min(max(due_s, MIN_WAIT_S), POLL_S))
        finally:
            metrics.WORKERS.labels("idle").dec()
            await self._engine.kill()

    async def _execute_traced(self, job: Job) -> None:
        """Execute a job under a span; what follows from the job belongs to the span."""
        attributes: dict[str, str | int | float] = {
            "phonograph.job.id": str(job.id),
            "phonograph.job.attempt": job.attempt,
            "phonograph.job.waited_s": job.waited_s,
            "phonograph.subject": str(job.media_id),
        }
        traceparent = job.cause.traceparent if job.cause else None
        with self._tracing.step(f"job {job.kind}", "internal", traceparent, attributes) as step:
            cause = replace(job.cause, traceparent=step.traceparent) if job.cause else None
            await self._execute(replace(job, cause=cause), step)

    async def _execute(self, job: Job, step: Step) -> None:
        logger.info("job started")
        if job.lease_expired:
            metrics.JOB_LEASE_EXPIRED.labels(job.kind).inc()
        if job.attempt == 1:
            metrics.JOB_WAIT_SECONDS.labels(job.kind).observe(job.waited_s)
        metrics.WORKERS.labels("idle").dec()
        metrics.WORKERS.labels("busy").inc()
        try:
            await self._run_and_conclude(job, step)
        except LeaseLostError:
            # The engine may still compute for a job that is not ours any more.
            await self._engine.kill()
            metrics.JOBS_FINISHED.labels(job.kind, "lease_lost").inc()
            logger.warning("lease lost, result dropped")
        except asyncio.CancelledError:
            # Kill first, release second: the next worker must not run the job beside this engine.
            await self._engine.kill()
            with contextlib.suppress(LeaseLostError, UnavailableError, TimeoutError):
                async with asyncio.timeout(RELEASE_S):
                    await self._queue.release(job)
            raise
        except Exception:
            await self._engine.kill()
            logger.exception("job failed in its worker, its lease will expire")
            await asyncio.sleep(POLL_S)
        finally:
            metrics.WORKERS.labels("busy").dec()
            metrics.WORKERS.labels("idle").inc()

    async def _run_and_conclude(self, job: Job, step: Step) -> None:
        kind = self._kinds.get(job.kind)
        task: BaseModel | None = None
        if kind is None:
            outcome: TaskSucceeded | TaskFailed = _bad_task(
                f"The service has no jobs of the kind {job.kind!r}."
            )
        else:
            try:
                task = kind.parse_task(job)
            except PermanentError as error:
                outcome = _bad_task(error.message)
            else:
                outcome = _EXHAUSTED if job.is_exhausted else await self._run_engine(job, task)
        if isinstance(outcome, TaskFailed):
            step.failed(outcome.reason)
        await self._conclude(job, task, outcome)

    async def _run_engine(self, job: Job, task: BaseModel) -> TaskSucceeded | TaskFailed:
        """Run the task; renew the lease three times as often as needed, and sooner when there is progress."""
        started = renewed = time.monotonic()
        loading = not self._engine.is_running
        unreported, progress = False, TaskProgress(0.0, "started")
        reading = asyncio.create_task(self._engine.submit(job, task))
        try:
            while True:
                # The loop never waits for the engine alone: a silent one must not cost the lease.
                done, _ = await asyncio.wait([reading], timeout=min(TICK_S, self._lease_s / 3))
                now = time.monotonic()
                silent_s = self._engine.sample_usage()
                if done:
                    message = reading.result()
                    if loading and not (isinstance(message, TaskProgress) and message.stage == LOADING):
                        loading = False
                        metrics.MODEL_LOAD_SECONDS.observe(now - started)
                    if not isinstance(message, TaskProgress):
                        return await self._record_run(job, task, message)
                    unreported, progress = True, message
                    reading = asyncio.create_task(self._engine.read_message())
                # Both limits are checked after the message: a result that is there counts.
                if now - started > self._timeout_s:
                    return await self._kill_and_fail(
                        "timeout", f"The engine ran longer than {self._timeout_s:.0f} s."
                    )
                if silent_s > self._silence_s:
                    return await self._kill_and_fail(
                        "silent", f"The engine neither reported nor computed for {silent_s:.0f} s."
                    )
                if now - renewed >= (min(1.0, self._lease_s / 3) if unreported else self._lease_s / 3):
                    renewed = now
                    unreported = not await self._renew(job, progress)
        except (EngineDiedError, OSError) as error:
            return await self._kill_and_fail(EngineDiedError.reason, str(error))
        finally:
            reading.cancel()

    async def _record_run(
        self, job: Job, task: BaseModel, outcome: TaskSucceeded | TaskFailed
    ) -> TaskSucceeded | TaskFailed:
        if isinstance(outcome, TaskFailed):
            if outcome.reason == OUT_OF_MEMORY:
                await self._engine.kill()  # Python returns little of its memory to the system
            return outcome
        metrics.JOB_RUN_SECONDS.labels(job.kind).observe(outcome.seconds)
        media = getattr(task, "media", None)
        if isinstance(media, MediaRef) and media.duration_s > 0:
            metrics.MODEL_REALTIME_FACTOR.labels(job.kind).observe(outcome.seconds / media.duration_s)
            metrics.MODEL_RECORDING_SECONDS.labels(job.kind).inc(media.duration_s)
        return outcome

    async def _kill_and_fail(self, reason: str, message: str) -> TaskFailed:
        await self._engine.kill()
        return TaskFailed(reason, message, permanent=False)

    async def _renew(self, job: Job, progress: TaskProgress) -> bool:
        """Renew the lease; return whether the database has the progress.

        The engine continues while the database is unavailable: only the claim of another worker takes the
        job away.
        """
        try:
            await self._queue.renew(job, progress.fraction, progress.stage)
        except UnavailableError as error:
            logger.warning("lease not renewed: database unavailable", **error.to_logging_context())
            return False
        return True

    async def _conclude(self, job: Job, task: BaseModel | None, outcome: TaskSucceeded | TaskFailed) -> None:
        """Complete or fail the job; keep the result while the database is unavailable."""
        while True:
            try:
                if isinstance(outcome, TaskFailed):
                    await self._fail(job, task, outcome)
                else:
                    await self._complete(replace(job, seconds=outcome.seconds), task, outcome.result)
            except UnavailableError as error:
                logger.warning("job not concluded yet: database unavailable", **error.to_logging_context())
                await asyncio.sleep(TICK_S)
            except LeaseLostError:
                metrics.JOB_FENCED_COMPLETIONS.labels(job.kind).inc()
                raise
            else:
                return

    async def _complete(self, job: Job, task: BaseModel | None, result: Any) -> None:
        """Store results, status and events in one transaction that only the holder of the lease commits."""
        kind = self._kinds[job.kind]
        try:
            job = replace(job, used=kind.used(result) if kind.used else {})
            async with self._database.transaction(job.cause) as transaction:
                # The fenced update comes first: it locks the row, so that the results below are stored
                # under the lease or not at all.
                await self._queue.complete(transaction, job)
                await kind.completed(task, result, job, transaction)
        except (LeaseLostError, UnavailableError):
            raise
        except Exception as error:  # the job fails, whatever the error was
            logger.exception("result could not be stored")
            reason = error.reason if isinstance(error, PhonographError) else "not_saved"
            permanent = isinstance(error, PermanentError)
            await self._fail(job, task, TaskFailed(reason, str(error), permanent))
            return
        metrics.JOBS_FINISHED.labels(job.kind, "completed").inc()
        metrics.JOB_ATTEMPTS.labels(job.kind).observe(job.attempt)
        logger.info("job completed", seconds=round(job.seconds or 0.0, 2))

    async def _fail(self, job: Job, task: BaseModel | None, outcome: TaskFailed) -> None:
        failure = JobFailure(_storable(outcome.reason), _storable(outcome.message))
        try:
            final = await self._fail_attempt(job, failure, task, permanent=outcome.permanent)
        except (LeaseLostError, UnavailableError):
            raise
        except Exception:  # the job ends, whatever the service's handler did
            logger.exception("the handler of the failed job failed")
            final = await self._fail_attempt(job, failure, None, permanent=outcome.permanent)
        metrics.JOBS_FINISHED.labels(job.kind, "failed" if final else "retried").inc()
        if final:
            metrics.JOB_DEAD.labels(job.kind, failure.reason).inc()
            metrics.JOB_ATTEMPTS.labels(job.kind).observe(min(job.attempt, job.max_retries + 1))
        logger.error(
            "job failed", reason=failure.reason, error=failure.message, final=final, trace=outcome.trace
        )

    async def _fail_attempt(
        self, job: Job, failure: JobFailure, task: BaseModel | None, *, permanent: bool
    ) -> bool:
        """Fail the attempt; after the last one call the service's handler in the same transaction."""
        kind = self._kinds.get(job.kind)
        async with self._database.transaction(job.cause) as transaction:
            final = await self._queue.fail(transaction, job, failure, permanent=permanent)
            if final and task is not None and kind is not None and kind.failed is not None:
                await kind.failed(task, failure, job, transaction)
        return final


def _bad_task(message: str) -> TaskFailed:
    return TaskFailed("bad_task", message, permanent=True)


def _storable(text: str) -> str:
    """Return text that PostgreSQL and JSON accept, whatever an engine made of a file's name."""
    return text[:MAX_MESSAGE].encode(errors="replace").decode().replace("\0", "\ufffd")


def _initialize_metrics(kinds: dict[str, JobKind[Any, Any]]) -> None:
    """Create every series before its first event: `rate()` does not see a series begin."""
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
