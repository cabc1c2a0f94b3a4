"""Dead and frozen workers, faulty engines, full disks, lost objects and wrong clocks: each job runs once."""

import asyncio
import json
import os
import random
import signal
import subprocess
import tempfile
import time
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prometheus_client import REGISTRY
from tests.support.scratch import ScratchSettings, enqueue, rows, scratch_database, wait_until_ended
from tests.support.stack import Stack, running, skip_backlog
from tests.support.system import SAMPLES
from tests.support.worker import WorkerProcess, child_pids, running_workers, worker_process

from phonograph_analysis.config import Settings as AnalysisSettings
from phonograph_analysis.main import create_app as analysis_app
from phonograph_diarization.config import Settings as DiarizationSettings
from phonograph_diarization.main import create_app as diarization_app
from phonograph_events import (
    DiarizationCompleted,
    Envelope,
    Event,
    HighlightsCompleted,
    IngestRequested,
    JobFailed,
    JobRetryRequested,
    MediaReady,
    MediaRejected,
    MusicAnalyzed,
    Profile,
    Service,
    TranscriptionCompleted,
)
from phonograph_highlights.config import Settings as HighlightsSettings
from phonograph_highlights.main import create_app as highlights_app
from phonograph_ingest.config import Settings as IngestSettings
from phonograph_ingest.main import create_app as ingest_app
from phonograph_media import make_rendition, read_rendition_pcm
from phonograph_runtime.app import ServiceApp
from phonograph_runtime.database import Database
from phonograph_runtime.engine_process import FOLDER_PREFIX, remove_leftovers
from phonograph_runtime.objects import ObjectStore
from phonograph_transcription.config import Settings as TranscriptionSettings
from phonograph_transcription.main import create_app as transcription_app

LEASE_S = 6.0
E = TypeVar("E", bound=Event)
ScratchJobs = tuple[Database, ScratchSettings]


@pytest.fixture
async def jobs(stack: Stack) -> AsyncIterator[ScratchJobs]:
    """An empty job table with a short lease."""
    async with scratch_database(stack, lease=f"PT{LEASE_S}S", retry_delay="PT0.2S") as scratch:
        yield scratch


@contextmanager
def two_workers(
    settings: ScratchSettings, folder: Path, **worker_settings: Any
) -> Iterator[list[WorkerProcess]]:
    """Start two worker processes; kill them at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(worker_process(settings, folder, **worker_settings)) for _ in range(2)]


async def wait_until(condition: Callable[[], Any], *, timeout_s: float = 60) -> Any:
    """Wait until a condition is truthy and return its value."""
    async with asyncio.timeout(timeout_s):
        while not (value := condition()):
            await asyncio.sleep(0.05)
    return value


async def wait_for_row(database: Database, query: str, *, timeout_s: float = 120) -> Any:
    """Wait until a query has a row and return the first."""
    async with asyncio.timeout(timeout_s):
        while not (current := await rows(database, query)):
            await asyncio.sleep(0.05)
    return current[0]


async def wait_until_half_done(
    database: Database, workers: list[WorkerProcess]
) -> tuple[WorkerProcess, WorkerProcess]:
    """Wait until the only job is half done; return the worker that runs it and the idle one."""
    await wait_for_row(database, "SELECT 1 FROM scratch_jobs WHERE progress >= 0.5")
    holder, other = sorted(workers, key=lambda worker: not worker.engine_pids())
    assert holder.engine_pids()
    assert not other.engine_pids()
    return holder, other


async def sums(database: Database) -> list[tuple[float, int]]:
    return [tuple(row) for row in await rows(database, "SELECT sum, pid FROM sums")]


async def failures(database: Database) -> list[dict[str, Any]]:
    """Return the bodies of the `job-failed` events in their order."""
    events = await rows(database, "SELECT value FROM outbox WHERE topic = 'job-failed' ORDER BY seq")
    return [json.loads(value) for (value,) in events]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def engine_folders(parent: Path) -> set[Path]:
    return set(parent.glob(f"{FOLDER_PREFIX}*"))


def create_ingest(settings: dict[str, Any]) -> ServiceApp:
    return ingest_app(IngestSettings(**settings))


def write_noise(path: Path, *, seconds: float) -> Path:
    """Write a recording of random noise, which is no duplicate of any other."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(random.randbytes(int(seconds * 16_000) * 2))
    return path


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Callable[[int], None]]:
    """Mount a small file system on a folder and yield a function that resizes it; skip if mounting fails."""
    folder.mkdir()

    def mount(kib: int, *more: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={kib}k", *more]), "phonograph", str(folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if not mount(kib):
        pytest.skip("only root can mount a small disk")
    try:
        yield lambda kib: None if mount(kib, "remount") else pytest.fail("remount")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def collect(stack: Stack, correlation_id: str, event_type: type[E], count: int = 1) -> list[E]:
    """Wait for the first `count` events of a type with a correlation id and return them."""

    def matching(envelopes: list[Envelope]) -> list[E]:
        return [envelope.data for envelope in envelopes if isinstance(envelope.data, event_type)]

    envelopes = await stack.collect(
        lambda current: len(matching(current)) >= count, correlation_id=correlation_id, timeout_s=200
    )
    return matching(envelopes)


@pytest.mark.chaos
async def test_03_stopped_worker_releases_its_job(jobs: ScratchJobs, tmp_path: Path) -> None:
    database, settings = jobs
    with worker_process(settings, tmp_path) as worker:
        job_id = await enqueue(database, 1, 2, seconds=600)
        await wait_for_row(database, "SELECT 1 FROM scratch_jobs WHERE status = 'processing'")
        (engine,) = await wait_until(worker.engine_pids)
        stopped = time.monotonic()
        worker.send(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait, 30) == 0
        took_s = time.monotonic() - stopped
        query = f"SELECT status, retry_count, progress, lease_token FROM scratch_jobs WHERE id = '{job_id}'"
        assert await rows(database, query) == [("pending", 0, 0.0, None)]
        assert not is_running(engine)
        assert not engine_folders(tmp_path)
    print(f"\n03 worker stopped in the middle of a job: exit after {took_s:.1f} s, the job is pending again")


@pytest.mark.chaos
async def test_03_stopped_service_releases_its_job(stack: Stack, tmp_path: Path, correlation_id: str) -> None:
    make_rendition(SAMPLES / "talk.ogg", tmp_path / "talk.wav")
    speech = read_rendition_pcm(tmp_path / "talk.wav")
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(speech * 10 + random.randbytes(2_000))
    async with running(create_ingest(stack.settings(Service.INGEST, tmp_path))):
        request = IngestRequested(uri=str(tmp_path / "long.wav"), profile=Profile.SPEECH)
        await stack.publish(request, correlation_id=correlation_id)
        (ready,) = await collect(stack, correlation_id, MediaReady)

    settings = stack.settings(Service.TRANSCRIPTION, tmp_path)
    await skip_backlog(transcription_app(TranscriptionSettings(**settings)))
    variables = {f"TRANSCRIPTION_{name.upper()}": str(value) for name, value in settings.items()}
    database = Database(TranscriptionSettings(**settings), source="transcription")
    job = f"FROM transcription_jobs WHERE media_file_id = '{ready.media_id}'"

    def start() -> "subprocess.Popen[bytes]":
        command = stack.project.service_command(Service.TRANSCRIPTION)
        with (tmp_path / "service.log").open("ab") as log:
            return subprocess.Popen([command], env={**os.environ, **variables}, stderr=log)

    service = start()
    try:
        await stack.publish(ready, correlation_id=correlation_id)
        await wait_for_row(database, f"SELECT 1 {job} AND progress > 0")
        (engine,) = child_pids(service.pid)
        stopped = time.monotonic()
        service.terminate()
        assert await asyncio.to_thread(service.wait, 60) == 0
        took_s = time.monotonic() - stopped
        assert took_s < 30
        assert not is_running(engine)
        assert await rows(database, f"SELECT status, retry_count, lease_token {job}") == [
            ("pending", 0, None)
        ]
        service = start()
        await wait_for_row(database, f"SELECT 1 {job} AND status = 'processing' AND retry_count = 0")
    finally:
        service.kill()
        await asyncio.to_thread(service.wait, 30)
        await database.aclose()
    print(f"\n03 transcription stopped in the middle of a job: exit after {took_s:.1f} s, the job is pending")


@pytest.mark.chaos
async def test_10_killed_worker_leaves_its_job_to_another(jobs: ScratchJobs, tmp_path: Path) -> None:
    database, settings = jobs
    with two_workers(settings, tmp_path) as workers:
        job_id = await enqueue(database, 1, 2, seconds=4)
        holder, other = await wait_until_half_done(database, workers)
        (engine,) = holder.engine_pids()
        holder.send(signal.SIGKILL)
        killed = time.monotonic()
        await wait_until(lambda: not is_running(engine), timeout_s=5)
        assert await wait_until_ended(database, job_id) == ("completed", None, 1)
        took_s = time.monotonic() - killed
        assert await sums(database) == [(3, other.process.pid)]
        assert other.metric("job_lease_expired_total", kind="add") == 1
        assert other.metric("jobs_finished_total", kind="add", outcome="completed") == 1
        assert await failures(database) == []
    print(f"\n10 worker killed at 50 %: lease {LEASE_S:.0f} s, completed once {took_s:.1f} s later")


@pytest.mark.chaos
@pytest.mark.parametrize("wakes", ["while the other works", "after the other is done"])
async def test_10_frozen_worker_changes_nothing_when_it_wakes(
    jobs: ScratchJobs, tmp_path: Path, wakes: str
) -> None:
    database, settings = jobs
    with two_workers(settings, tmp_path) as workers:
        job_id = await enqueue(database, 1, 2, seconds=4)
        holder, other = await wait_until_half_done(database, workers)
        (engine,) = holder.engine_pids()
        holder.send(signal.SIGSTOP)
        if wakes == "while the other works":
            os.kill(engine, signal.SIGSTOP)
            await wait_for_row(database, "SELECT 1 FROM scratch_jobs WHERE retry_count = 1")
            os.kill(engine, signal.SIGCONT)
            holder.send(signal.SIGCONT)
            assert await wait_until_ended(database, job_id) == ("completed", None, 1)
        else:
            assert await wait_until_ended(database, job_id) == ("completed", None, 1)
            holder.send(signal.SIGCONT)
        lost = await wait_until(
            lambda: holder.metric("jobs_finished_total", kind="add", outcome="lease_lost")
        )
        assert lost == 1
        assert holder.metric("jobs_finished_total", kind="add", outcome="completed") == 0
        assert await sums(database) == [(3, other.process.pid)]
        assert await wait_until_ended(database, job_id) == ("completed", None, 1)
        assert await failures(database) == []
    print(
        f"\n10 worker frozen past its lease, woken {wakes}: completed once, by the other; "
        f"leases lost {lost:.0f}"
    )


@pytest.mark.chaos
async def test_10_worker_frozen_while_it_completes_releases_the_row(
    jobs: ScratchJobs, tmp_path: Path
) -> None:
    database, settings = jobs
    completing = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
        "AND state = 'idle in transaction' AND query LIKE 'INSERT INTO sums%'"
    )
    with two_workers(settings, tmp_path, finish_s=3) as workers:
        job_id = await enqueue(database, 1, 2, seconds=4)
        holder, other = await wait_until_half_done(database, workers)
        await wait_for_row(database, completing)
        holder.send(signal.SIGSTOP)
        frozen = time.monotonic()
        assert await wait_until_ended(database, job_id) == ("completed", None, 1)
        took_s = time.monotonic() - frozen
        holder.send(signal.SIGCONT)
        await wait_until(lambda: holder.metric("job_fenced_completions_total", kind="add"))
        assert await sums(database) == [(3, other.process.pid)]
        assert await failures(database) == []
    print(
        f"\n10 worker frozen inside its last transaction: completed once by the other, {took_s:.0f} s later"
    )


@pytest.mark.chaos
async def test_10_two_workers_do_each_job_once(jobs: ScratchJobs, tmp_path: Path) -> None:
    database, settings = jobs
    with two_workers(settings, tmp_path) as workers:
        job_ids = [await enqueue(database, number, seconds=0.05) for number in range(100)]
        all_done = "SELECT count(*) FROM scratch_jobs WHERE status <> 'completed' HAVING count(*) = 0"
        await wait_for_row(database, all_done)
        done = await rows(database, "SELECT job_id, count(*), min(pid) FROM sums GROUP BY job_id")
        assert {job_id for job_id, *_ in done} == set(job_ids)
        assert {count for _, count, _ in done} == {1}
        shares = [sum(pid == worker.process.pid for *_, pid in done) for worker in workers]
    print(f"\n10 two workers, 100 jobs: each completed once, {shares[0]} and {shares[1]}")


@pytest.mark.parametrize(
    ("fault", "reason", "limits"),
    [
        ("crash", "engine_died", {}),
        ("die", "engine_died", {}),
        ("exhaust memory", "out_of_memory", {}),
        pytest.param("hang", "silent", {"engine_silence": "PT8S"}, marks=pytest.mark.chaos),
        pytest.param("spin", "timeout", {"job_timeout": "PT20S"}, marks=pytest.mark.chaos),
    ],
)
async def test_11_engine_fails_for_good_at_the_third_attempt(
    stack: Stack, fault: str, reason: str, limits: dict[str, str]
) -> None:
    dead_jobs = ("job_dead_total", {"kind": "add", "reason": reason})
    before = REGISTRY.get_sample_value(*dead_jobs) or 0
    async with scratch_database(stack, **limits) as (database, settings), running_workers(database, settings):
        bad = await enqueue(database, 1, fault=fault)
        good = await enqueue(database, 1, 2)
        assert (await wait_until_ended(database, good))[0] == "completed"
        assert await wait_until_ended(database, bad) == ("failed", reason, 2)
        events = await failures(database)
        assert [(each["attempt"], each["final"], each["reason"]) for each in events] == [
            (1, False, reason),
            (2, False, reason),
            (3, True, reason),
        ]
        assert (REGISTRY.get_sample_value(*dead_jobs) or 0) - before == 1
        later = await enqueue(database, 3)
        assert (await wait_until_ended(database, later))[0] == "completed"
    print(f"\n11 engine fault {fault}: failed after 3 attempts with {reason}: {events[-1]['message']}")


async def test_11_files_of_a_dead_engine_are_removed_and_an_engine_dies_with_its_worker(
    jobs: ScratchJobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, settings = jobs

    async def engine_file() -> Path:
        return await wait_until(lambda: next(iter(tmp_path.glob(f"{FOLDER_PREFIX}*/tmp*")), None))

    with worker_process(settings, tmp_path) as worker:
        await enqueue(database, 1, fault="leave files")
        first = await engine_file()
        (engine,) = worker.engine_pids()
        assert oom_score(engine) == 500
        os.kill(engine, signal.SIGKILL)
        await wait_until(lambda: not first.parent.exists())

        second = await engine_file()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        remove_leftovers()
        assert second.exists()
        (engine,) = worker.engine_pids()
        worker.send(signal.SIGKILL)
        await wait_until(lambda: not is_running(engine), timeout_s=5)
        worker.process.wait(10)
        remove_leftovers()
        assert not engine_folders(tmp_path)
    print(
        "\n11 engine killed: its files are removed at once; "
        "worker killed: its engine dies too, its files are removed at the next start"
    )


@pytest.mark.chaos
async def test_15_worker_an_hour_behind_keeps_leases_and_order(jobs: ScratchJobs, tmp_path: Path) -> None:
    database, settings = jobs
    flag = tmp_path / "wrong"
    clock = {"PYTHONPATH": str(Path(__file__).parents[1] / "support" / "clock"), "WRONG_CLOCK": str(flag)}
    with worker_process(settings, tmp_path, environment=clock) as wrong:
        long = await enqueue(database, 1, seconds=3 * LEASE_S)
        await wait_for_row(database, "SELECT 1 FROM scratch_jobs WHERE progress >= 0.3")
        flag.touch()
        with worker_process(settings, tmp_path) as right:
            assert await wait_until_ended(database, long) == ("completed", None, 0)
            assert await sums(database) == [(1, wrong.process.pid)]
            right.send(signal.SIGKILL)

        await enqueue(database, 0, seconds=4)
        await wait_for_row(database, "SELECT 1 FROM scratch_jobs WHERE status = 'processing'")
        late = [await enqueue(database, number, owner="late") for number in range(3)]
        early = await enqueue(database, 5, owner="early")
        failing = await enqueue(database, 1, fault="raise", owner="failing")
        urgent = await enqueue(database, 9, priority=5, owner="late")
        assert await wait_until_ended(database, failing) == ("failed", "RuntimeError", 2)
        assert [(await wait_until_ended(database, job_id))[0] for job_id in late] == ["completed"] * 3
        done = "SELECT id FROM scratch_jobs WHERE status = 'completed' ORDER BY started_at"
        started = [job_id for (job_id,) in await rows(database, done)]
        order = [started.index(job_id) for job_id in (urgent, late[0], early, late[1], late[2])]
        assert order == sorted(order)

        lost = await enqueue(database, 2, seconds=4)
        await wait_for_row(database, f"SELECT 1 FROM scratch_jobs WHERE id = '{lost}' AND progress >= 0.3")
        last_event = "SELECT created_at, headers FROM outbox ORDER BY seq DESC LIMIT 1"
        ((written_at, headers),) = await rows(database, last_event)
        behind_s = (written_at - datetime.fromisoformat(dict(headers)["ce_time"])).total_seconds()
        assert 3590 < behind_s < 3660
        wrong.send(signal.SIGKILL)
        killed = time.monotonic()
    with worker_process(settings, tmp_path) as right:
        started_s = time.monotonic() - killed
        assert await wait_until_ended(database, lost) == ("completed", None, 1)
        took_s = time.monotonic() - killed
        assert took_s < max(LEASE_S, started_s) + 30
    figures = f"no lease lost, order kept; killed, its job completed {took_s:.1f} s later"
    print(f"\n15 worker {behind_s:.0f} s behind: {figures}")


@pytest.mark.chaos
@pytest.mark.parametrize("full", ["object store", "temporary files"])
async def test_14_full_disk_is_reported_and_the_retry_succeeds(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, correlation_id: str, full: str
) -> None:
    recording = write_noise(tmp_path / "noise.wav", seconds=20)
    with small_disk(tmp_path / "disk", kib=200) as resize:
        settings = stack.settings(Service.INGEST, tmp_path)
        if full == "object store":
            settings["object_store_url"] = (tmp_path / "disk" / "objects").as_uri()
        else:
            monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "disk"))
        async with running(create_ingest(settings)):
            await stack.publish(IngestRequested(uri=str(recording)), correlation_id=correlation_id)
            failed = await collect(stack, correlation_id, JobFailed, 3)
            assert [(each.attempt, each.final) for each in failed] == [(1, False), (2, False), (3, True)]
            assert {each.reason for each in failed} == {"storage_full"}
            (rejected,) = await collect(stack, correlation_id, MediaRejected)
            assert rejected.reason == "storage_full"
            assert not [path for path in (tmp_path / "disk").rglob("*") if path.is_file()]

            resize(20_000)
            job_id = rejected.job.job_id
            retry = JobRetryRequested(media_id=rejected.media_id, job_id=job_id, service=Service.INGEST)
            await stack.publish(retry, correlation_id=correlation_id)
            (ready,) = await collect(stack, correlation_id, MediaReady)
            objects = ObjectStore(str(settings["object_store_url"]))
            with objects.as_file(ready.media.rendition_uri) as rendition:
                assert rendition.stat().st_size == 44 + 20 * 32_000
    print(f"\n14 no space for the {full}: 3 attempts, {rejected.reason}: {rejected.message} Retried: done")


@pytest.mark.chaos
@pytest.mark.parametrize("damage", ["missing", "truncated"])
async def test_14_missing_or_truncated_object_is_reported_and_the_retry_succeeds(
    stack: Stack, tmp_path: Path, correlation_id: str, damage: str
) -> None:
    recording = write_noise(tmp_path / "noise.wav", seconds=6)
    objects = ObjectStore(str(stack.settings(Service.INGEST, tmp_path)["object_store_url"]))
    async with running(create_ingest(stack.settings(Service.INGEST, tmp_path))):
        request = IngestRequested(uri=str(recording), profile=Profile.AUTO)
        await stack.publish(request, correlation_id=correlation_id)
        (ready,) = await collect(stack, correlation_id, MediaReady)
    rendition = objects.local_path(ready.media.rendition_uri)
    assert rendition is not None
    services = {
        Service.ANALYSIS: (recording, analysis_app, AnalysisSettings, MusicAnalyzed),
        Service.TRANSCRIPTION: (rendition, transcription_app, TranscriptionSettings, TranscriptionCompleted),
        Service.DIARIZATION: (rendition, diarization_app, DiarizationSettings, DiarizationCompleted),
        Service.HIGHLIGHTS: (rendition, highlights_app, HighlightsSettings, HighlightsCompleted),
    }
    reasons = {}
    for service, (file, create_app, settings, result) in services.items():
        own_id, content = f"{correlation_id}-{service}", file.read_bytes()
        file.unlink()
        if damage == "truncated":
            file.write_bytes(content[: len(content) // 2])
        async with running(create_app(settings(**stack.settings(service, tmp_path)))):
            await stack.publish(ready, correlation_id=own_id)
            (failed,) = await collect(stack, own_id, JobFailed)
            assert (failed.service, failed.final, failed.attempt) == (service, True, 1)
            reasons[service] = failed.reason
            file.write_bytes(content)
            retry = JobRetryRequested(media_id=failed.media_id, job_id=failed.job_id, service=service)
            await stack.publish(retry, correlation_id=own_id)
            (done,) = await collect(stack, own_id, result)
            assert done.job.attempt == 2
    print(f"\n14 {damage}: " + ", ".join(f"{service} {reason}" for service, reason in reasons.items()))
    object_reason = "missing_object" if damage == "missing" else "truncated"
    assert reasons == dict.fromkeys(services, object_reason) | {Service.ANALYSIS: damage}
