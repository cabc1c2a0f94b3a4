"""A worker on a scratch database: inside the test, or as a process that can be killed and frozen.

`python -m tests.support.worker` is one process; `SCRATCH_…` variables configure it, and it prints the port of
its metrics.
"""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from prometheus_client import start_http_server
from prometheus_client.parser import text_string_to_metric_families
from tests.support.engines import Sum
from tests.support.scratch import ScratchSettings, SqlScratchJob, SqlSum
from tests.support.stack import ROOT

from phonograph_runtime.child import EngineSpec
from phonograph_runtime.database import Database, Transaction
from phonograph_runtime.jobs import JobKind, JobQueue
from phonograph_runtime.logs import configure_logging
from phonograph_runtime.ports import Job
from phonograph_runtime.worker import Worker


class WorkerSettings(ScratchSettings):
    """Settings of one worker process."""

    finish_s: float = 0
    """Time that it stays inside the transaction that completes a job."""


async def store_sum(_task: Sum, result: float, job: Job, transaction: Transaction) -> None:
    """Store the result of a job; see `JobKind`."""
    transaction.session.add(SqlSum(job_id=job.id, sum=result, pid=os.getpid()))
    await transaction.session.flush()


@asynccontextmanager
async def running_workers(
    database: Database,
    settings: ScratchSettings,
    kind: JobKind[Sum, float] | None = None,
    *,
    queue: JobQueue | None = None,
    workers: int = 1,
) -> AsyncIterator[JobQueue]:
    """Run workers inside the test until the block ends, and yield their queue.

    Args:
        database: a scratch database.
        settings: lease, timeouts and retries.
        kind: replaces the kind `add`, which stores the sum.
        queue: replaces the usual queue of the database.
        workers: number of workers.
    """
    listener = database.listen("outbox", "jobs")
    queue = queue or JobQueue(database, SqlScratchJob, lease=settings.lease, retry_delay=settings.retry_delay)
    engine = EngineSpec(
        "tests.support.engines:create_engine", settings.model_dump_json(), "scratch", settings.log_level
    )
    runners = [
        Worker(
            database,
            queue,
            listener,
            {"add": kind or JobKind("add", Sum, store_sum)},
            engine=engine,
            lease=settings.lease,
            job_timeout=settings.job_timeout,
            engine_silence=settings.engine_silence,
            idle_unload=settings.idle_unload,
        )
        for _ in range(workers)
    ]
    tasks = [asyncio.create_task(runner.run()) for runner in (listener, *runners)]
    try:
        yield queue
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True)
class WorkerProcess:
    """A worker that runs in another process."""

    process: "subprocess.Popen[bytes]"
    port: int

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of matching samples of its `/metrics`; 0 if there is none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as response:
            families = list(text_string_to_metric_families(response.read().decode()))
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def engine_pids(self) -> list[int]:
        """Return the process ids of its engines."""
        return child_pids(self.process.pid)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the worker, not to its engine."""
        self.process.send_signal(number)


def child_pids(pid: int) -> list[int]:
    """Return the process ids of the children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def worker_process(
    database_settings: ScratchSettings,
    folder: Path,
    *,
    environment: Mapping[str, str] = MappingProxyType({}),
    **settings: object,
) -> Iterator[WorkerProcess]:
    """Start a worker process; kill it at the end if it still runs.

    Args:
        database_settings: settings of its scratch database.
        folder: holds its log and its temporary files.
        environment: additional environment variables.
        **settings: further `WorkerSettings`.
    """
    values = {
        "database_url": database_settings.database_url.get_secret_value(),
        "lease": f"PT{database_settings.lease.total_seconds()}S",
        "retry_delay": f"PT{database_settings.retry_delay.total_seconds()}S",
        **settings,
    }
    variables = {f"SCRATCH_{name.upper()}": str(value) for name, value in values.items()}
    with (folder / "workers.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.worker"],
            cwd=ROOT,
            env={**os.environ, **environment, **variables, "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        port = process.stdout.readline()
        assert port, "the worker did not start"
        yield WorkerProcess(process, int(port))
    finally:
        process.kill()
        process.wait(30)


async def main() -> None:
    """Run a worker until SIGTERM."""
    settings = WorkerSettings()
    configure_logging("scratch", settings.log_level)
    database = Database(settings, source="scratch", job_table=SqlScratchJob)

    async def store_sum_slowly(task: Sum, result: float, job: Job, transaction: Transaction) -> None:
        await store_sum(task, result, job, transaction)
        await asyncio.sleep(settings.finish_s)

    server, _ = start_http_server(0, "127.0.0.1")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with running_workers(database, settings, JobKind("add", Sum, store_sum_slowly)):
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        await stop.wait()
    await database.aclose()


if __name__ == "__main__":
    asyncio.run(main())
