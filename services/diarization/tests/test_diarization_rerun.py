"""Running the diarization again on real servers: several meetings of one recording."""

from pathlib import Path
from typing import Any

from tests.support.stack import Stack, running
from tests.support.voices import media_of as media

from phonograph_diarization.config import Settings
from phonograph_diarization.main import create_app
from phonograph_events import DiarizationCompleted, Envelope, JobFailed, RerunRequested, Service

from .test_diarization_service import events_of, execute, ready, select

MEETINGS = "SELECT id, version, status, speaker_count FROM meetings WHERE file_id = :id ORDER BY version"
JOBS = "SELECT processing_options, model_config FROM diarization_jobs WHERE media_file_id = :id ORDER BY id"


async def test_each_request_makes_one_meeting_and_older_ones_stay(
    talk: Any, stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """A recording has several meetings, each with the options that were asked (C-22, T1-07, T1-14)."""
    file = media(tmp_path, talk(("low", 5), ("high", 5), ("low", 5))[0])
    # Without the models of the default engine, silero-mfcc is used.
    app = create_app(Settings(**stack.settings(Service.DIARIZATION, tmp_path), models=tmp_path / "models"))

    async def rerun(**options: Any) -> Envelope:
        event = RerunRequested(media_id=file.media_id, service="diarization", **options)
        return await stack.publish(event, correlation_id=correlation_id)

    async def wait_for(kind: type[Any], count: int) -> list[Any]:
        found = await stack.collect(
            lambda events: len(events_of(events, kind, file)) == count, correlation_id=correlation_id
        )
        return events_of(found, kind, file)

    async with running(app):
        await stack.publish(ready(file), correlation_id=correlation_id)
        await wait_for(DiarizationCompleted, 1)
        request = await rerun(speakers=1, engine="silero-mfcc", requested_by="anna")
        await stack.send(request.to_record())
        await wait_for(DiarizationCompleted, 2)
        await rerun(min_speakers=3, max_speakers=2)
        (impossible,) = await wait_for(JobFailed, 1)
        await rerun(max_speakers=5)
        results = await wait_for(DiarizationCompleted, 3)
        meetings = await select(app, MEETINGS, id=file.media_id)
        jobs = await select(app, JOBS, id=file.media_id)
        # A meeting that is open refuses another one.
        await execute(app, "UPDATE meetings SET status = 'processing' WHERE id = :id", id=meetings[0][0])
        await rerun()
        _, refused = await wait_for(JobFailed, 2)
        await rerun(model="small")
        _, _, unsupported = await wait_for(JobFailed, 3)
        assert len(await select(app, MEETINGS, id=file.media_id)) == 4
        for result in results:
            assert await app.objects.get_async(result.document_uri)

    first, second, third = (result.meeting_id for result in results)
    assert [(meeting[1:]) for meeting in meetings] == [
        (1, "completed", 2),
        (2, "completed", 1),
        (3, "failed", None),
        (4, "completed", 2),
    ]
    assert [meeting[0] for meeting in meetings if meeting[2] == "completed"] == [first, second, third]
    used = {"engine": "silero-mfcc", "model": jobs[0][1]["model"]}
    assert jobs == [
        ({}, used | {"min_speakers": 1}),
        (
            {"speakers": 1, "engine": "silero-mfcc", "requested_by": "anna"},
            used | {"min_speakers": 1, "max_speakers": 1},
        ),
        ({"min_speakers": 3, "max_speakers": 2}, {}),
        ({"max_speakers": 5}, used | {"min_speakers": 1, "max_speakers": 5}),
    ]
    assert (impossible.reason, refused.reason, unsupported.reason) == (
        "bad_options",
        "in_progress",
        "bad_options",
    )
