"""Workers that die or freeze, engines that misbehave, stores without room, clocks that go wrong."""

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
from tests.support.scratch import ScratchSettings, enqueue, rows, scratch_database, until_ended
from tests.support.stack import Stack, running, skip_backlog
from tests.support.system import SAMPLES
from tests.support.worker import WorkerProcess, children, worker_process, working

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
from phonograph_runtime.objects import ObjectStore
from phonograph_runtime.worker import FOLDER_PREFIX, remove_leftovers
from phonograph_transcription.config import Settings as TranscriptionSettings
from phonograph_transcription.main import create_app as transcription_app

LEASE_S = 6.0
E = TypeVar("E", bound=Event)
Jobs = tuple[Database, ScratchSettings]


@pytest.fixture
async def jobs(stack: Stack) -> AsyncIterator[Jobs]:
    """An empty job table with a short lease."""
    async with scratch_database(stack, lease=f"PT{LEASE_S}S", retry_delay="PT0.2S") as made:
        yield made


@contextmanager
def two_workers(settings: ScratchSettings, folder: Path, **told: Any) -> Iterator[list[WorkerProcess]]:
    """Two worker processes, ready."""
    with ExitStack() as stack:
        yield [stack.enter_context(worker_process(settings, folder, **told)) for _ in range(2)]


async def until(true: Callable[[], Any], *, timeout_s: float = 60) -> Any:
    """The first answer that is true."""
    async with asyncio.timeout(timeout_s):
        while not (answer := true()):
            await asyncio.sleep(0.05)
    return answer


async def until_found(database: Database, query: str, *, timeout_s: float = 120) -> Any:
    """The first row of a query once there is one."""
    async with asyncio.timeout(timeout_s):
        while not (found := await rows(database, query)):
            await asyncio.sleep(0.05)
    return found[0]


async def half_done(database: Database, workers: list[WorkerProcess]) -> tuple[WorkerProcess, WorkerProcess]:
    """Wait until the one job is half done; who has it, and who has not."""
    await until_found(database, "SELECT 1 FROM scratch_jobs WHERE progress >= 0.5")
    holder, other = sorted(workers, key=lambda worker: not worker.engines())
    assert holder.engines()
    assert not other.engines()
    return holder, other


async def sums(database: Database) -> list[tuple[float, int]]:
    return [tuple(row) for row in await rows(database, "SELECT sum, pid FROM sums")]


async def failures(database: Database) -> list[dict[str, Any]]:
    """Bodies of the `job-failed` events, in their order."""
    found = await rows(database, "SELECT value FROM outbox WHERE topic = 'job-failed' ORDER BY seq")
    return [json.loads(value) for (value,) in found]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def folders(where: Path) -> set[Path]:
    return set(where.glob(f"{FOLDER_PREFIX}*"))


def ingest(told: dict[str, Any]) -> ServiceApp:
    return ingest_app(IngestSettings(**told))


def noise(path: Path, *, seconds: float) -> Path:
    """A recording that nobody has seen."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(random.randbytes(int(seconds * 16_000) * 2))
    return path


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Callable[[int], None]]:
    """A file system of its own in a folder; gives what sets its size. Skips where nothing can be mounted."""
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


async def heard(stack: Stack, story: str, wanted: type[E], count: int = 1) -> list[E]:
    """The first events of a type with a correlation id."""

    def those(found: list[Envelope]) -> list[E]:
        return [envelope.data for envelope in found if isinstance(envelope.data, wanted)]

    found = await stack.collect(lambda found: len(those(found)) >= count, correlation_id=story, timeout_s=200)
    return those(found)


@pytest.mark.chaos
async def test_03_stopped_worker_gives_its_job_back(jobs: Jobs, tmp_path: Path) -> None:
    database, settings = jobs
    with worker_process(settings, tmp_path) as worker:
        job_id = await enqueue(database, 1, 2, seconds=600)
        await until_found(database, "SELECT 1 FROM scratch_jobs WHERE status = 'processing'")
        (engine,) = await until(worker.engines)
        stopped = time.monotonic()
        worker.send(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait, 30) == 0
        took_s = time.monotonic() - stopped
        query = f"SELECT status, retry_count, progress, lease_token FROM scratch_jobs WHERE id = '{job_id}'"
        assert await rows(database, query) == [("pending", 0, 0.0, None)]
        assert not is_running(engine)
        assert not folders(tmp_path)
    print(f"\n03 worker stopped in the middle of a job: exit after {took_s:.1f} s, the job is back")


@pytest.mark.chaos
async def test_03_stopped_service_gives_its_job_back(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    make_rendition(SAMPLES / "talk.ogg", tmp_path / "talk.wav")
    speech = read_rendition_pcm(tmp_path / "talk.wav")
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(speech * 10 + random.randbytes(2_000))
    async with running(ingest(stack.settings(Service.INGEST, tmp_path))):
        asked = IngestRequested(uri=str(tmp_path / "long.wav"), profile=Profile.SPEECH)
        await stack.publish(asked, correlation_id=correlation_id)
        (ready,) = await heard(stack, correlation_id, MediaReady)

    told = stack.settings(Service.TRANSCRIPTION, tmp_path)
    await skip_backlog(transcription_app(TranscriptionSettings(**told)))
    variables = {f"TRANSCRIPTION_{name.upper()}": str(value) for name, value in told.items()}
    database = Database(TranscriptionSettings(**told), source="transcription")
    job = f"FROM transcription_jobs WHERE media_file_id = '{ready.media_id}'"

    def start() -> "subprocess.Popen[bytes]":
        command = stack.project.service_command(Service.TRANSCRIPTION)
        with (tmp_path / "service.log").open("ab") as log:
            return subprocess.Popen([command], env={**os.environ, **variables}, stderr=log)

    service = start()
    try:
        await stack.publish(ready, correlation_id=correlation_id)
        await until_found(database, f"SELECT 1 {job} AND progress > 0")
        (engine,) = children(service.pid)
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
        await until_found(database, f"SELECT 1 {job} AND status = 'processing' AND retry_count = 0")
    finally:
        service.kill()
        await asyncio.to_thread(service.wait, 30)
        await database.aclose()
    print(f"\n03 transcription stopped in the middle of a job: exit after {took_s:.1f} s, the job is back")


@pytest.mark.chaos
async def test_10_killed_worker_leaves_its_job_to_another(jobs: Jobs, tmp_path: Path) -> None:
    database, settings = jobs
    with two_workers(settings, tmp_path) as workers:
        job_id = await enqueue(database, 1, 2, seconds=4)
        holder, other = await half_done(database, workers)
        (engine,) = holder.engines()
        holder.send(signal.SIGKILL)
        killed = time.monotonic()
        await until(lambda: not is_running(engine), timeout_s=5)
        assert await until_ended(database, job_id) == ("completed", None, 1)
        took_s = time.monotonic() - killed
        assert await sums(database) == [(3, other.process.pid)]
        assert other.metric("job_lease_expired_total", kind="add") == 1
        assert other.metric("jobs_finished_total", kind="add", outcome="completed") == 1
        assert await failures(database) == []
    print(f"\n10 worker killed at 50 %: lease {LEASE_S:.0f} s, completed once {took_s:.1f} s later")


@pytest.mark.chaos
@pytest.mark.parametrize("wakes", ["while the other works", "when all is done"])
async def test_10_frozen_worker_changes_nothing_when_it_wakes(jobs: Jobs, tmp_path: Path, wakes: str) -> None:
    database, settings = jobs
    with two_workers(settings, tmp_path) as workers:
        job_id = await enqueue(database, 1, 2, seconds=4)
        holder, other = await half_done(database, workers)
        (engine,) = holder.engines()
        holder.send(signal.SIGSTOP)
        if wakes == "while the other works":
            os.kill(engine, signal.SIGSTOP)
            await until_found(database, "SELECT 1 FROM scratch_jobs WHERE retry_count = 1")
            os.kill(engine, signal.SIGCONT)
            holder.send(signal.SIGCONT)
            assert await until_ended(database, job_id) == ("completed", None, 1)
        else:
            assert await until_ended(database, job_id) == ("completed", None, 1)
            holder.send(signal.SIGCONT)
        lost = await until(lambda: holder.metric("jobs_finished_total", kind="add", outcome="lease_lost"))
        assert lost == 1
        assert holder.metric("jobs_finished_total", kind="add", outcome="completed") == 0
        assert await sums(database) == [(3, other.process.pid)]
        assert await until_ended(database, job_id) == ("completed", None, 1)
        assert await failures(database) == []
    print(
        f"\n10 worker frozen past its lease, woken {wakes}: done once, by the other; leases lost {lost:.0f}"
    )


@pytest.mark.chaos
async def test_10_worker_frozen_while_it_finishes_gives_the_row_back(jobs: Jobs, tmp_path: Path) -> None:
    database, settings = jobs
    finishing = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
        "AND state = 'idle in transaction' AND query LIKE 'INSERT INTO sums%'"
    )
    with two_workers(settings, tmp_path, finish_s=3) as workers:
        job_id = await enqueue(database, 1, 2, seconds=4)
        holder, other = await half_done(database, workers)
        await until_found(database, finishing)
        holder.send(signal.SIGSTOP)
        frozen = time.monotonic()
        assert await until_ended(database, job_id) == ("completed", None, 1)
        took_s = time.monotonic() - frozen
        holder.send(signal.SIGCONT)
        await until(lambda: holder.metric("job_fenced_completions_total", kind="add"))
        assert await sums(database) == [(3, other.process.pid)]
        assert await failures(database) == []
    print(
        f"\n10 worker frozen inside its last transaction: completed once by the other, {took_s:.0f} s later"
    )


@pytest.mark.chaos
async def test_10_two_workers_do_each_job_once(jobs: Jobs, tmp_path: Path) -> None:
    database, settings = jobs
    with two_workers(settings, tmp_path) as workers:
        wanted = [await enqueue(database, number, seconds=0.05) for number in range(100)]
        waiting = "SELECT count(*) FROM scratch_jobs WHERE status <> 'completed' HAVING count(*) = 0"
        await until_found(database, waiting)
        done = await rows(database, "SELECT job_id, count(*), min(pid) FROM sums GROUP BY job_id")
        assert {job_id for job_id, *_ in done} == set(wanted)
        assert {count for _, count, _ in done} == {1}
        shares = [sum(pid == worker.process.pid for *_, pid in done) for worker in workers]
    print(f"\n10 two workers, 100 jobs: each done once, {shares[0]} and {shares[1]}")


@pytest.mark.parametrize(
    ("fault", "reason", "patience"),
    [
        ("crash", "engine_died", {}),
        ("die", "engine_died", {}),
        ("eat memory", "out_of_memory", {}),
        pytest.param("hang", "silent", {"engine_silence": "PT8S"}, marks=pytest.mark.chaos),
        pytest.param("spin", "timeout", {"job_timeout": "PT20S"}, marks=pytest.mark.chaos),
    ],
)
async def test_11_engine_fails_for_good_at_the_third_attempt(
    stack: Stack, fault: str, reason: str, patience: dict[str, str]
) -> None:
    dead = ("job_dead_total", {"kind": "add", "reason": reason})
    before = REGISTRY.get_sample_value(*dead) or 0
    async with scratch_database(stack, **patience) as (database, settings), working(database, settings):
        bad = await enqueue(database, 1, fault=fault)
        good = await enqueue(database, 1, 2)
        assert (await until_ended(database, good))[0] == "completed"
        assert await until_ended(database, bad) == ("failed", reason, 2)
        told = await failures(database)
        assert [(each["attempt"], each["final"], each["reason"]) for each in told] == [
            (1, False, reason),
            (2, False, reason),
            (3, True, reason),
        ]
        assert (REGISTRY.get_sample_value(*dead) or 0) - before == 1
        again = await enqueue(database, 3)
        assert (await until_ended(database, again))[0] == "completed"
    print(f"\n11 engine told to {fault}: failed after 3 attempts with {reason}: {told[-1]['message']}")


async def test_11_engine_takes_its_files_with_it_and_dies_with_its_worker(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, settings = jobs

    async def littered() -> Path:
        return await until(lambda: next(iter(tmp_path.glob(f"{FOLDER_PREFIX}*/tmp*")), None))

    with worker_process(settings, tmp_path) as worker:
        await enqueue(database, 1, fault="litter")
        first = await littered()
        (engine,) = worker.engines()
        assert oom_score(engine) == 500
        os.kill(engine, signal.SIGKILL)
        await until(lambda: not first.parent.exists())

        second = await littered()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        remove_leftovers()
        assert second.exists()
        (engine,) = worker.engines()
        worker.send(signal.SIGKILL)
        await until(lambda: not is_running(engine), timeout_s=5)
        worker.process.wait(10)
        remove_leftovers()
        assert not folders(tmp_path)
    print(
        "\n11 engine killed: its files go with it; worker killed: its engine too, its files at the next start"
    )


@pytest.mark.chaos
async def test_15_worker_an_hour_behind_keeps_leases_and_order(jobs: Jobs, tmp_path: Path) -> None:
    database, settings = jobs
    flag = tmp_path / "wrong"
    clock = {"PYTHONPATH": str(Path(__file__).parents[1] / "support" / "clock"), "WRONG_CLOCK": str(flag)}
    with worker_process(settings, tmp_path, environment=clock) as wrong:
        long = await enqueue(database, 1, seconds=3 * LEASE_S)
        await until_found(database, "SELECT 1 FROM scratch_jobs WHERE progress >= 0.3")
        flag.touch()
        with worker_process(settings, tmp_path) as right:
            assert await until_ended(database, long) == ("completed", None, 0)
            assert await sums(database) == [(1, wrong.process.pid)]
            right.send(signal.SIGKILL)

        await enqueue(database, 0, seconds=4)
        await until_found(database, "SELECT 1 FROM scratch_jobs WHERE status = 'processing'")
        late = [await enqueue(database, number, owner="late") for number in range(3)]
        early = await enqueue(database, 5, owner="early")
        unlucky = await enqueue(database, 1, fault="bad luck", owner="unlucky")
        urgent = await enqueue(database, 9, priority=5, owner="late")
        assert await until_ended(database, unlucky) == ("failed", "RuntimeError", 2)
        assert [(await until_ended(database, job_id))[0] for job_id in late] == ["completed"] * 3
        done = "SELECT id FROM scratch_jobs WHERE status = 'completed' ORDER BY started_at"
        places = [job_id for (job_id,) in await rows(database, done)]
        order = [places.index(job_id) for job_id in (urgent, late[0], early, late[1], late[2])]
        assert order == sorted(order)

        lost = await enqueue(database, 2, seconds=4)
        await until_found(database, f"SELECT 1 FROM scratch_jobs WHERE id = '{lost}' AND progress >= 0.3")
        behind = "SELECT created_at, headers FROM outbox ORDER BY seq DESC LIMIT 1"
        ((written_at, headers),) = await rows(database, behind)
        hour_s = (written_at - datetime.fromisoformat(dict(headers)["ce_time"])).total_seconds()
        assert 3590 < hour_s < 3660
        wrong.send(signal.SIGKILL)
        killed = time.monotonic()
    with worker_process(settings, tmp_path) as right:
        started_s = time.monotonic() - killed
        assert await until_ended(database, lost) == ("completed", None, 1)
        took_s = time.monotonic() - killed
        assert took_s < max(LEASE_S, started_s) + 30
    figures = f"no lease lost, order kept; killed, its job done {took_s:.1f} s later"
    print(f"\n15 worker {hour_s:.0f} s behind: {figures}")


@pytest.mark.chaos
@pytest.mark.parametrize("full", ["object store", "temporary files"])
async def test_14_full_disk_is_said_and_the_retry_works(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, correlation_id: str, full: str
) -> None:
    recording = noise(tmp_path / "noise.wav", seconds=20)
    with small_disk(tmp_path / "disk", kib=200) as resize:
        told = stack.settings(Service.INGEST, tmp_path)
        if full == "object store":
            told["object_store_url"] = (tmp_path / "disk" / "objects").as_uri()
        else:
            monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "disk"))
        async with running(ingest(told)):
            await stack.publish(IngestRequested(uri=str(recording)), correlation_id=correlation_id)
            failed = await heard(stack, correlation_id, JobFailed, 3)
            assert [(each.attempt, each.final) for each in failed] == [(1, False), (2, False), (3, True)]
            assert {each.reason for each in failed} == {"storage_full"}
            (rejected,) = await heard(stack, correlation_id, MediaRejected)
            assert rejected.reason == "storage_full"
            assert not [path for path in (tmp_path / "disk").rglob("*") if path.is_file()]

            resize(20_000)
            job_id = rejected.job.job_id
            retry = JobRetryRequested(media_id=rejected.media_id, job_id=job_id, service=Service.INGEST)
            await stack.publish(retry, correlation_id=correlation_id)
            (ready,) = await heard(stack, correlation_id, MediaReady)
            with ObjectStore(str(told["object_store_url"])).as_file(ready.media.rendition_uri) as rendition:
                assert rendition.stat().st_size == 44 + 20 * 32_000
    print(f"\n14 no room for the {full}: 3 attempts, {rejected.reason}: {rejected.message} Retried: done")


@pytest.mark.chaos
@pytest.mark.parametrize("damage", ["missing", "truncated"])
async def test_14_object_gone_or_cut_off_is_said_and_the_retry_works(
    stack: Stack, tmp_path: Path, correlation_id: str, damage: str
) -> None:
    recording = noise(tmp_path / "noise.wav", seconds=6)
    objects = ObjectStore(str(stack.settings(Service.INGEST, tmp_path)["object_store_url"]))
    async with running(ingest(stack.settings(Service.INGEST, tmp_path))):
        asked = IngestRequested(uri=str(recording), profile=Profile.AUTO)
        await stack.publish(asked, correlation_id=correlation_id)
        (ready,) = await heard(stack, correlation_id, MediaReady)
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
        story, whole = f"{correlation_id}-{service}", file.read_bytes()
        file.unlink()
        if damage == "truncated":
            file.write_bytes(whole[: len(whole) // 2])
        async with running(create_app(settings(**stack.settings(service, tmp_path)))):
            await stack.publish(ready, correlation_id=story)
            (failed,) = await heard(stack, story, JobFailed)
            assert (failed.service, failed.final, failed.attempt) == (service, True, 1)
            reasons[service] = failed.reason
            file.write_bytes(whole)
            retry = JobRetryRequested(media_id=failed.media_id, job_id=failed.job_id, service=service)
            await stack.publish(retry, correlation_id=story)
            (done,) = await heard(stack, story, result)
            assert done.job.attempt == 2
    print(f"\n14 {damage}: " + ", ".join(f"{service} {reason}" for service, reason in reasons.items()))
    lost = "missing_object" if damage == "missing" else "truncated"
    assert reasons == dict.fromkeys(services, lost) | {Service.ANALYSIS: damage}
