"""A worker on a scratch database: inside the test, or as a process that can be killed and frozen.

`python -m tests.support.worker` is one process; it is told by `SCRATCH_…` variables and prints the port of
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
    """What one process is told."""

    finish_s: float = 0
    """How long it stays inside the transaction that ends a job."""


async def add_completed(_task: Sum, result: float, job: Job, transaction: Transaction) -> None:
    """Store the sum."""
    transaction.session.add(SqlSum(job_id=job.id, sum=result, pid=os.getpid()))
    await transaction.session.flush()


def queue_of(database: Database, settings: ScratchSettings) -> JobQueue:
    """The jobs of a scratch database."""
    return JobQueue(database, SqlScratchJob, lease=settings.lease, retry_delay=settings.retry_delay)


@asynccontextmanager
async def working(
    database: Database,
    settings: ScratchSettings,
    kind: JobKind[Sum, float] | None = None,
    *,
    queue: JobQueue | None = None,
    workers: int = 1,
) -> AsyncIterator[JobQueue]:
    """Run workers until the block ends."""
    listener, queue = database.listen("outbox", "jobs"), queue or queue_of(database, settings)
    engine = EngineSpec(
        "tests.support.engines:create_engine", settings.model_dump_json(), "scratch", settings.log_level
    )
    runners = [
        Worker(
            database,
            queue,
            listener,
            {"add": kind or JobKind("add", Sum, add_completed)},
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
    """A worker in a process of its own."""

    process: "subprocess.Popen[bytes]"
    port: int

    def metric(self, name: str, **labels: str) -> float:
        """A sample of its `/metrics`; 0 where there is none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def engines(self) -> list[int]:
        """Process ids of its engines."""
        return children(self.process.pid)

    def send(self, number: signal.Signals) -> None:
        """Signal the worker, not its engine."""
        self.process.send_signal(number)


def children(pid: int) -> list[int]:
    """Process ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def worker_process(
    database_settings: ScratchSettings,
    folder: Path,
    *,
    environment: Mapping[str, str] = MappingProxyType({}),
    **settings: object,
) -> Iterator[WorkerProcess]:
    """Start a worker; killed at the end if it is still there. Its log and temporary files lie in `folder`."""
    told = {
        "database_url": database_settings.database_url.get_secret_value(),
        "lease": f"PT{database_settings.lease.total_seconds()}S",
        "retry_delay": f"PT{database_settings.retry_delay.total_seconds()}S",
        **settings,
    }
    variables = {f"SCRATCH_{name.upper()}": str(value) for name, value in told.items()}
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
    """Work until SIGTERM."""
    settings = WorkerSettings()
    configure_logging("scratch", settings.log_level)
    database = Database(settings, source="scratch", job_table=SqlScratchJob)

    async def slowly(task: Sum, result: float, job: Job, transaction: Transaction) -> None:
        await add_completed(task, result, job, transaction)
        await asyncio.sleep(settings.finish_s)

    server, _ = start_http_server(0, "127.0.0.1")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with working(database, settings, JobKind("add", Sum, slowly)):
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        await stop.wait()
    await database.aclose()


if __name__ == "__main__":
    asyncio.run(main())
