"""Operating the whole system: cancel jobs, check topics, replay events to a service, compare the graph."""

import random
import time
import wave
from pathlib import Path
from typing import Any

import av
import pytest
from tests.support.system import SAMPLES, System


@pytest.fixture(scope="module")
def noise(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ingested recording, which is no duplicate of any other."""
    path = tmp_path_factory.mktemp("operating") / "noise.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(random.Random(str(path)).randbytes(8_000 * 2 * 4))
    assert system.ingest(path, profile="music")[str(path)]["status"] == "ready"
    return path


def write_long_talk(path: Path) -> Path:
    """Write speech that takes much longer to transcribe than two commands take."""
    with av.open(str(path), "w") as target:
        stream = target.add_stream("pcm_s16le", rate=16_000)
        stream.layout = "mono"
        for _ in range(30):
            resampler = av.AudioResampler("s16", "mono", 16_000)
            with av.open(str(SAMPLES / "talk.ogg")) as source:
                for frame in source.decode(audio=0):
                    for resampled in resampler.resample(frame):
                        resampled.pts = None
                        target.mux(stream.encode(resampled))
        target.mux(stream.encode(None))
    return path


def wait_for_job(system: System, path: Path, service: str, *statuses: str) -> Any:
    """Wait until a service has a job of a file with one of the statuses, and return the job."""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        for job in system("jobs", "list", "--service", service, "--json").json["jobs"]:
            if job["file_name"] == path.name and job["status"] in statuses:
                return job
        time.sleep(0.5)
    raise TimeoutError(f"no {service} job of {path.name} is {' or '.join(statuses)}")


@pytest.mark.timeout(600)
def test_running_job_can_be_cancelled_and_its_history_shows_it(system: System, tmp_path: Path) -> None:
    path = write_long_talk(tmp_path / "long.wav")
    assert system("ingest", path, "--profile", "speech").code == 0
    job = wait_for_job(system, path, "transcription", "processing")
    unconfirmed = system("jobs", "cancel", job["id"])
    assert (unconfirmed.code, "--yes" in unconfirmed.err) == (2, True)
    cancelled = system("jobs", "cancel", job["id"][:-4], "--yes")
    assert (cancelled.code, "cancelled in attempt" in cancelled.out) == (0, True), cancelled
    ended = wait_for_job(system, path, "transcription", "failed")
    assert (ended["id"], ended["reason"]) == (job["id"], "cancelled")
    again = system("jobs", "cancel", job["id"], "--yes")
    assert (again.code, "is finished" in again.err) == (1, True)

    shown = system("jobs", "show", job["id"], "--json").json
    assert (shown["id"], shown["file_name"], shown["status"]) == (job["id"], path.name, "failed")
    history = [event["what"] for event in shown["history"]]
    assert history[0].startswith("attempt 1: started")
    assert "cancellation requested" in history
    assert history[-1] == "cancelled in attempt 1"
    assert "cancelled in attempt 1" in system("jobs", "show", job["id"]).out

    retried = system("jobs", "retry", job["id"], "--json")
    assert (retried.code, retried.json["ok"]) == (0, True)
    assert system("jobs", "show", "no-such-job").code == 2
    second = wait_for_job(system, path, "transcription", "processing", "completed")
    if second["status"] == "processing":
        system("jobs", "cancel", second["id"], "--yes")


def test_topics_match_their_configuration(system: System) -> None:
    checked = system("topics", "check", "--json")
    assert (checked.code, checked.json["differences"]) == (0, [])


def test_events_replayed_to_a_service_have_no_second_effect(system: System, noise: Path) -> None:
    before = system.show(noise)
    jobs = len(system("jobs", "list", "--service", "analysis", "--json").json["jobs"])
    pid = system.pid("analysis")
    replayed = system(
        "replay", "media-ready", "--from", "beginning", "--service", "analysis", "--yes", "--json"
    )
    assert replayed.code == 0, replayed.err
    (outcome,) = replayed.json["services"]
    assert (outcome["events"] > 0, outcome["left"]) == (True, 0)
    assert system.pid("analysis") not in {None, pid}
    assert system("status").code == 0
    assert len(system("jobs", "list", "--service", "analysis", "--json").json["jobs"]) == jobs
    assert system.show(noise) == before


def test_graph_check_finds_no_difference_while_files_are_processed(
    system: System, noise: Path, tmp_path: Path
) -> None:
    for number in range(6):
        copy = tmp_path / f"{number}.wav"
        copy.write_bytes(noise.read_bytes() + bytes([number]) * 40)
        assert system("ingest", copy, "--profile", "music").code == 0
    checked = system("graph", "check", "--json")
    assert (checked.code, checked.json["differences"], checked.json["behind"]) == (0, [], 0), checked.err
