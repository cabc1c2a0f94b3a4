"""The samples through the whole system: seven services process them, and the commands show the results."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import jiwer
import pysubs2
import pytest
from tests.support.models import RequireModel
from tests.support.system import COMMAND, SAMPLES, System

TRUTH = json.loads((SAMPLES / "truth.json").read_text(encoding="utf-8"))
GOOD = ["groove.mp3", "lecture.mp4", "mix.mp3", "talk.ogg"]
REASONS = {
    "empty.mp3": "empty",
    "letter.mp3": "not_media",
    "noise.mp3": "not_media",
    "mute.mp4": "no_audio",
    "truncated.mp4": "truncated",
}
SHAPE = {
    "media": "media_id file_name kind mime_type duration_s file_hash content_fp status message tags warnings",
    "music": "bpm bpm_confidence bpm_candidates key scale key_strength loudness_lufs danceability"
    " tempo_needs_review beats_per_bar camelot open_key tuning_hz loudness_range_lu true_peak_dbtp onset_rate"
    " energy tempo_sections key_sections",
    "transcript": "pipeline_version engine model language languages text warnings segments",
    "accuracy": "accuracy accuracy_source accuracy_estimate",
    "speakers": "engine count turns exclusive warnings people",
    "tracklist": "source_type tracks warnings",
    "rename": "proposed_filename reason confidence",
    "highlights": "silence_regions segments clips",
}


def local(uri: str) -> Path:
    return Path(urlsplit(uri).path)


def words(text: str) -> str:
    text = text.replace("\n", " ").replace("200", "two hundred").replace("300", "three hundred")
    return "".join(letter for letter in text.lower() if letter.isalnum() or letter in " '")


@pytest.mark.parametrize("name", GOOD)
def test_every_service_processes_every_sample(ingested_samples: dict[str, Any], name: str) -> None:
    assert ingested_samples[name]["status"] == "ready"
    states = {service: mark["status"] for service, mark in ingested_samples[name]["services"].items()}
    assert set(states) == {"ingest", "analysis", "transcription", "diarization", "tracklist", "highlights"}
    assert set(states.values()) == {"done"}


@pytest.mark.parametrize("name", sorted(REASONS))
def test_broken_file_is_rejected_with_a_reason_and_a_message(
    ingested_samples: dict[str, Any], system: System, name: str
) -> None:
    assert ingested_samples[name]["status"] == "rejected"
    assert ingested_samples[name]["reason"] == REASONS[name]
    assert ingested_samples[name]["message"].endswith(".")
    shown = system.show(SAMPLES / "rotten" / name)
    assert shown["media"]["status"] == "rejected"
    assert shown["jobs"][0]["reason"] == REASONS[name]
    assert shown["transcript"] is None


@pytest.mark.parametrize("name", GOOD)
def test_show_has_the_documented_shape(ingested_samples: dict[str, Any], system: System, name: str) -> None:
    shown = system.show(SAMPLES / name)
    assert list(shown) == [*SHAPE, "jobs", "places", "in_progress"]
    for section, keys in SHAPE.items():
        if shown[section] is not None:
            assert list(shown[section]) == keys.split(), section
    assert {job["service"] for job in shown["jobs"]} == set(ingested_samples[name]["services"])
    for job in shown["jobs"]:
        assert set(job) == {"service", "status", "reason", "engine", "seconds"}
        assert job["status"] == "completed"
    assert shown["media"]["duration_s"] == pytest.approx(TRUTH[name]["duration_s"], abs=0.2)


def test_groove_has_its_tempo_its_key_and_a_rename_proposal(
    ingested_samples: dict[str, Any], system: System
) -> None:
    shown, truth = system.show(SAMPLES / "groove.mp3"), TRUTH["groove.mp3"]
    assert shown["music"]["bpm"] == pytest.approx(truth["bpm"], rel=0.02)
    assert (shown["music"]["key"], shown["music"]["scale"]) == (truth["key"], truth["scale"])
    assert shown["media"]["kind"] == "audio", "cover art does not make a file a video"
    assert truth["tags"]["artist"] in shown["rename"]["proposed_filename"]
    assert truth["tags"]["title"] in shown["rename"]["proposed_filename"]


def test_talk_is_transcribed_with_its_two_speakers(ingested_samples: dict[str, Any], system: System) -> None:
    shown, truth = system.show(SAMPLES / "talk.ogg"), TRUTH["talk.ogg"]
    assert shown["speakers"]["count"] == truth["speakers"]
    assert shown["transcript"]["pipeline_version"] == "v4"
    speakers = {segment["speaker"] for segment in shown["transcript"]["segments"]}
    assert len(speakers - {None}) == truth["speakers"]
    for segment in shown["transcript"]["segments"]:
        assert {word["speaker"] for word in segment["words"]} == {segment["speaker"]}
        assert set(segment["words"][0]) == {"word", "start", "end", "confidence", "speaker", "is_spaced"}
    assert shown["music"]["bpm"] is None


@pytest.mark.parametrize(("name", "max_error_rate"), [("talk.ogg", 0.0), ("lecture.mp4", 0.01)])
def test_default_engine_writes_what_is_said(
    ingested_samples: dict[str, Any],
    system: System,
    require_model: RequireModel,
    name: str,
    max_error_rate: float,
) -> None:
    require_model("base")
    transcript = system.show(SAMPLES / name)["transcript"]
    assert (transcript["engine"], transcript["model"]) == ("faster-whisper", "base")
    assert (transcript["language"], transcript["warnings"]) == ("en", [])
    text = transcript["text"]
    assert jiwer.wer(words(TRUTH[name]["text"]), words(text)) <= max_error_rate
    assert text[0].isupper()
    assert text.endswith(".")


def test_lecture_has_segments_and_clips_with_subtitles_and_thumbnails(
    ingested_samples: dict[str, Any], system: System
) -> None:
    highlights = system.show(SAMPLES / "lecture.mp4")["highlights"]
    assert len(highlights["segments"]) >= 2
    assert len(highlights["clips"]) == len(highlights["segments"])
    assert "both" in {region["type"] for region in highlights["silence_regions"]}
    for clip in highlights["clips"]:
        with av.open(str(local(clip["uri"]))) as container:
            assert container.streams.video
            assert container.duration / 1e6 == pytest.approx(clip["end"] - clip["start"], abs=0.5)
        subtitles = pysubs2.load(str(local(clip["subtitle_uri"])))
        assert len(subtitles) > 0
        assert subtitles[-1].end / 1000 <= clip["end"] - clip["start"] + 0.5
        assert local(clip["thumbnail_uri"]).read_bytes().startswith(b"\xff\xd8")


def test_voice_that_is_named_in_the_talk_is_recognized_in_the_lecture(
    ingested_samples: dict[str, Any], system: System
) -> None:
    """One of the voices of the talk gives the lecture, too; the other does not."""
    for label, name in (("S1", "Ada"), ("S2", "Eve")):
        named = system("speakers", "name", SAMPLES / "talk.ogg", label, name)
        assert named.code == 0, named.out + named.err
    try:
        talk = system.show(SAMPLES / "talk.ogg")["transcript"]["segments"]
        assert {segment["speaker"] for segment in talk} == {"Ada", "Eve"}
        (suggested,) = system("speakers", "list", SAMPLES / "lecture.mp4", "--json").json["speakers"]
        assert (suggested["label"], suggested["state"], suggested["name"]) == ("S1", "suggested", "Ada")
        confirmed = system("speakers", "confirm", SAMPLES / "lecture.mp4", "S1")
        assert confirmed.code == 0, confirmed.out + confirmed.err
        shown = system.show(SAMPLES / "lecture.mp4")
        assert {segment["speaker"] for segment in shown["transcript"]["segments"]} == {"Ada"}
        assert {*map(tuple, (each["speakers"] for each in shown["highlights"]["segments"]))} == {("Ada",)}
    finally:
        for name in ("Ada", "Eve"):
            assert system("people", "forget", name, "--yes").code == 0
    (speaker,) = system("speakers", "list", SAMPLES / "lecture.mp4", "--json").json["speakers"]
    assert (speaker["state"], speaker["name"]) == ("unknown", None)


def test_mix_has_the_tracks_of_its_cue_sheet(ingested_samples: dict[str, Any], system: System) -> None:
    tracklist, truth = system.show(SAMPLES / "mix.mp3")["tracklist"], TRUTH["mix.mp3"]
    assert tracklist["source_type"] == "cue_file"
    assert [track["title"] for track in tracklist["tracks"]] == [track["title"] for track in truth["tracks"]]
    starts = [track["start_time"] for track in tracklist["tracks"]]
    assert starts == pytest.approx([track["start_time"] for track in truth["tracks"]], abs=0.02)


@pytest.mark.parametrize(
    ("name", "form", "beginning"),
    [
        ("talk.ogg", "srt", "1\n00:00:0"),
        ("talk.ogg", "vtt", "WEBVTT"),
        ("talk.ogg", "txt", "S1: "),
        ("talk.ogg", "md", "# talk.ogg"),
        ("talk.ogg", "rttm", "SPEAKER talk 1 "),
        ("talk.ogg", "json", "{"),
        ("mix.mp3", "cue", 'FILE "mix.mp3" MP3'),
    ],
)
def test_export_writes_what_other_programs_read(
    ingested_samples: dict[str, Any], system: System, name: str, form: str, beginning: str, tmp_path: Path
) -> None:
    target = tmp_path / f"out.{form}"
    assert system("export", SAMPLES / name, "--format", form, "-o", target).code == 0
    assert target.read_text(encoding="utf-8").startswith(beginning)


def test_repeated_files_are_duplicates_and_cause_no_jobs(
    ingested_samples: dict[str, Any], system: System
) -> None:
    before = system("jobs", "list", "--json").json["jobs"]
    nodes = system("graph", "check", "--json").json["counts"]
    again = system.ingest(*[SAMPLES / name for name in GOOD])
    for path, file in again.items():
        assert file["status"] == "duplicate"
        assert file["media_id"] == ingested_samples[Path(path).name]["media_id"]
    after = system("jobs", "list", "--json").json["jobs"]
    results = [[job for job in jobs if job["service"] != "ingest"] for jobs in (before, after)]
    assert len(results[0]) == len(results[1])
    assert system("graph", "check", "--json").json["counts"] == nodes


def test_same_sound_in_another_container_is_a_duplicate_of_the_first(
    ingested_samples: dict[str, Any], system: System, tmp_path: Path
) -> None:
    first, second = tmp_path / "tone.wav", tmp_path / "tone.flac"
    for path in (first, second):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("pcm_s16le" if path.suffix == ".wav" else "flac", rate=44_100)
            stream.layout = "mono"
            for number in range(100):
                samples = [(index * (number + 3) * 37) % 20_000 - 10_000 for index in range(1024)]
                frame = av.AudioFrame(format="s16", layout="mono", samples=1024)
                frame.planes[0].update(
                    b"".join(value.to_bytes(2, "little", signed=True) for value in samples)
                )
                frame.sample_rate, frame.pts = 44_100, number * 1024
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    media_id = system.ingest(first, profile="music")[str(first)]["media_id"]
    copy = system.ingest(second, profile="music")[str(second)]
    assert (copy["status"], copy["reason"], copy["media_id"]) == ("duplicate", "same_sound", media_id)


def test_graph_agrees_with_the_services_and_is_the_same_after_a_rebuild(
    ingested_samples: dict[str, Any], system: System
) -> None:
    check = system("graph", "check", "--json")
    assert (check.code, check.json["differences"], check.json["silent"]) == (0, [], []), check.err
    before = {name: system.show(SAMPLES / name) for name in GOOD}
    assert system("graph", "rebuild").code == 0
    assert {name: system.show(SAMPLES / name) for name in GOOD} == before
    assert system("graph", "check").code == 0


def test_parked_event_can_be_shown_replayed_and_dropped(
    ingested_samples: dict[str, Any], system: System
) -> None:
    project = system.project
    servers = project.stack.addresses().kafka_bootstrap_servers
    code = f"""
import asyncio
from phonograph_cli import kafka
from phonograph_events import Record

async def send() -> None:
    async with kafka.connect({servers!r}) as client:
        await client.send([Record("ingest-requested", b"k", b"rubbish", [("ce_id", b"x")])])

asyncio.run(send())
"""
    subprocess.run([str(Path(COMMAND).parent / "python"), "-c", code], check=True)
    deadline = time.monotonic() + 30
    while not (parked := _dead_letters(system)) and time.monotonic() < deadline:
        time.sleep(0.3)
    assert parked[0]["service"] == "ingest"
    assert parked[0]["reason"] == "not_cloudevents"
    assert system("dlq", "show", parked[0]["id"], "--json").json["body"] == "rubbish"
    assert system("dlq", "replay", parked[0]["id"]).code == 1
    (again,) = _dead_letters(system)
    assert again["id"] != parked[0]["id"], "a replay that fails is parked as a new dead letter"
    assert system("dlq", "drop", again["id"], "--yes").code == 0
    assert _dead_letters(system) == []


def _dead_letters(system: System) -> list[Any]:
    """Return the dead letters of this test."""
    dead_letters = system("dlq", "list", "--json").json["dead_letters"]
    return [dead_letter for dead_letter in dead_letters if dead_letter["body"] == "rubbish"]


def test_failed_job_is_retried_on_request(
    ingested_samples: dict[str, Any], system: System, tmp_path: Path
) -> None:
    """The file is removed before it is analyzed, and restored after the job has failed."""
    pid, path = system.pid("analysis"), tmp_path / "groove.mp3"
    assert pid is not None
    earlier = {job["id"] for job in _analysis_jobs(system, "failed")}
    os.kill(pid, signal.SIGKILL)
    path.write_bytes((SAMPLES / "groove.mp3").read_bytes())
    assert system("ingest", path, "--profile", "music", "--owner", "other").code == 0
    deadline = time.monotonic() + 60
    while system("show", path, "--json").code != 0 and time.monotonic() < deadline:
        time.sleep(0.3)
    path.unlink()
    assert system("up").code == 0
    while not (failed := _analysis_jobs(system, "failed", earlier)) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert failed[0]["reason"] == "missing"
    path.write_bytes((SAMPLES / "groove.mp3").read_bytes())
    assert system("jobs", "retry", failed[0]["id"]).code == 0
    while _analysis_jobs(system, "failed", earlier) and time.monotonic() < deadline:
        time.sleep(0.5)
    while system.show(path)["music"] is None and time.monotonic() < deadline:
        time.sleep(0.5)
    assert system.show(path)["music"]["key"] == "A"


def _analysis_jobs(system: System, status: str, without: Collection[str] = ()) -> list[Any]:
    jobs = system("jobs", "list", "--status", status, "--json").json["jobs"]
    return [job for job in jobs if job["service"] == "analysis" and job["id"] not in without]


def test_producer_of_the_documentation_works(ingested_samples: dict[str, Any], system: System) -> None:
    text = (SAMPLES.parents[1] / "docs" / "producing-events.md").read_text(encoding="utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    servers = system.project.stack.addresses().kafka_bootstrap_servers
    python = str(Path(COMMAND).parent / "python")
    subprocess.run([python, "-c", code.replace("127.0.0.1:9092", servers)], check=True, timeout=60)
    deadline = time.monotonic() + 60
    while system("show", "/music/Night Drive.mp3").code != 0 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert system.show("/music/Night Drive.mp3")["jobs"][0]["reason"] == "missing"


def test_killed_service_loses_nothing(
    ingested_samples: dict[str, Any], system: System, tmp_path: Path
) -> None:
    """Services are killed at work and started again: their leases expire, and the next attempts succeed."""
    copy = tmp_path / "again.wav"
    with av.open(str(SAMPLES / "talk.ogg")) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream("pcm_s16le", rate=22_050)
        stream.layout = "mono"
        resampler = av.AudioResampler("s16", "mono", 22_050)
        for frame in source.decode(audio=0):
            for resampled in resampler.resample(frame):
                target.mux(stream.encode(resampled))
        target.mux(stream.encode(None))
    requested = system("ingest", copy, "--profile", "speech", "--json")
    assert requested.code == 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not _is_transcribing(system):
        time.sleep(0.2)
    for name in ("transcription", "diarization"):
        pid = system.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    assert system("status").code == 3
    assert system("up").code == 0
    assert system("status").code == 0
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        shown = system("show", copy, "--json")
        if shown.code == 0 and (shown.json["transcript"] or {}).get("pipeline_version") == "v4":
            break
        time.sleep(1)
    assert shown.json["speakers"]["count"] == 2
    assert shown.json["transcript"]["pipeline_version"] == "v4"


def _is_transcribing(system: System) -> bool:
    jobs = system("jobs", "list", "--status", "processing", "--json").json["jobs"]
    return any(job["service"] == "transcription" for job in jobs)


def test_exit_code_is_2_for_wrong_usage_and_1_for_an_unknown_recording(system: System) -> None:
    assert system("ingest").code == 2
    assert system("events", "no-such-topic").code == 2
    assert system("export", "x", "--format", "doc").code == 2
    assert system("show", "/no/such/file.mp3").code == 1


def test_exit_code_is_3_without_a_running_stack(system: System, tmp_path: Path) -> None:
    environment = dict(system.project.environment) | {"PHONOGRAPH_HOME": str(tmp_path)}
    for arguments in (["show", "x"], ["ingest", "x"], ["status"], ["events", "media-ready"], ["dlq", "list"]):
        run = subprocess.run([COMMAND, *arguments], env=environment, capture_output=True, check=False)
        assert run.returncode == 3, arguments
