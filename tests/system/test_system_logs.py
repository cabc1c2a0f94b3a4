"""The logs of a real run: JSON, and each line says what it is about."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.system import SAMPLES, System

from phonograph_events import Service

USE_CASES = {
    Service.INGEST: "media registered",
    Service.ANALYSIS: "analysis stored",
    Service.TRANSCRIPTION: "transcript stored",
    Service.DIARIZATION: "diarization stored",
    Service.TRACKLIST: "tracklist stored",
    Service.HIGHLIGHTS: "highlights stored",
    Service.GRAPH_SYNC: "event mirrored",
}
"""The line with the outcome of each service's main use case."""


def log_lines(system: System, service: Service) -> list[dict[str, Any]]:
    """Return the log of a service, whose every line must be a JSON object."""
    path = system.project.home / "logs" / f"{service.value}.log"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def story(ingested_samples: dict[str, Any], system: System) -> dict[Service, list[dict[str, Any]]]:
    """The lines about one recording, by service."""
    media_id = ingested_samples["talk.ogg"]["media_id"]
    return {
        service: [line for line in log_lines(system, service) if line.get("media_id") == media_id]
        for service in Service
    }


@pytest.mark.parametrize("service", Service)
def test_every_line_is_json_with_time_level_service_and_text(
    ingested_samples: dict[str, Any], system: System, service: Service
) -> None:
    lines = log_lines(system, service)
    assert lines
    for line in lines:
        assert {"timestamp", "level", "service", "event"} <= line.keys(), line
        assert line["service"] == service.value


@pytest.mark.parametrize("service", Service)
def test_outcome_of_the_use_case_is_one_line(
    story: dict[Service, list[dict[str, Any]]], service: Service
) -> None:
    outcomes = [line for line in story[service] if line["event"] == USE_CASES[service]]
    assert outcomes
    for line in outcomes:
        assert line["level"] == "info"
        assert line["event_id"]


@pytest.mark.parametrize("service", sorted(set(Service) - {Service.GRAPH_SYNC}))
def test_jobs_of_a_recording_start_and_complete(
    story: dict[Service, list[dict[str, Any]]], service: Service
) -> None:
    jobs = {line["job_id"] for line in story[service] if "job_id" in line}
    assert jobs
    for job_id in jobs:
        lines = [line for line in story[service] if line.get("job_id") == job_id]
        assert lines[0]["event"] == "job started"
        assert lines[-1]["event"] == "job completed"
        assert {line["kind"] for line in lines} == {lines[0]["kind"]}
        assert {line["attempt"] for line in lines} == {1}


def test_lines_of_an_event_carry_its_place_on_kafka(story: dict[Service, list[dict[str, Any]]]) -> None:
    mirrored = [line for line in story[Service.GRAPH_SYNC] if line["event"] == "event mirrored"]
    assert {line["topic"] for line in mirrored} >= {"media-ready", "transcription-completed"}
    for line in mirrored:
        assert isinstance(line["partition"], int)
        assert isinstance(line["offset"], int)


def test_engine_logs_as_json_with_the_job_that_it_works_on(
    system: System, ingested_samples: dict[str, Any]
) -> None:
    lines = log_lines(system, Service.TRANSCRIPTION)
    loaded = [line for line in lines if line["event"] == "engine loaded"]
    assert loaded
    for line in loaded:
        assert {"job_id", "media_id", "event_id", "engine", "model"} <= line.keys()


def test_parked_record_is_logged_with_its_place_and_reason(
    ingested_samples: dict[str, Any], system: System
) -> None:
    rejected = ingested_samples[Path(SAMPLES / "rotten" / "noise.mp3").name]
    lines = [line for line in log_lines(system, Service.INGEST) if line["event"] == "media rejected"]
    assert rejected["reason"] in {line["reason"] for line in lines}
