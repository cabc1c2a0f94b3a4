"""Recordings of earlier releases can be processed again: the migrations remember their tasks."""

import asyncio
import json
from uuid import uuid4

import asyncpg
import pytest
from tests.support.stack import ROOT, Stack

from phonograph_events import Service
from phonograph_runtime import migrations

from .test_contracts_databases import empty_database

BEFORE = {
    Service.ANALYSIS: ("0005", "analysis"),
    Service.TRANSCRIPTION: ("0005", "transcribe"),
    Service.DIARIZATION: ("0005", "diarize"),
    Service.TRACKLIST: ("0005", "tracklist"),
    Service.HIGHLIGHTS: ("0004", "silence"),
}


@pytest.mark.parametrize("service", sorted(BEFORE))
async def test_tasks_of_earlier_jobs_are_remembered(stack: Stack, service: Service) -> None:
    revision, kind = BEFORE[service]
    folder = ROOT / "migrations" / service.value
    first, second = uuid4(), uuid4()
    jobs = [
        (first, kind, {"media": {"name": "first"}}),
        (second, kind, {"media": {"name": "second"}}),
        (second, "other", {"media": {"name": "other"}}),
    ]
    expected = {first: jobs[0][2], second: jobs[1][2]}
    if service is Service.HIGHLIGHTS:
        for version in (1, 3):
            task = {"media": {"name": "second"}, "result_id": "r", "version": version, "transcript_uri": "u"}
            jobs.append((second, "segments", task))
        expected[second] |= {"transcript": {"result_id": "r", "version": 3, "uri": "u"}}
    async with empty_database(stack, service) as url:
        await asyncio.to_thread(migrations.upgrade, url, folder, revision)
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        await connection.executemany(
            f"INSERT INTO {service.role}_jobs (id, media_file_id, kind, task) VALUES ($1, $2, $3, $4)",
            [(uuid4(), media_id, job, json.dumps(task)) for media_id, job, task in jobs],
        )
        await asyncio.to_thread(migrations.upgrade, url, folder)
        rows = await connection.fetch("SELECT media_file_id, task FROM recording_tasks")
        await connection.close()
    assert {row["media_file_id"]: json.loads(row["task"]) for row in rows} == expected
