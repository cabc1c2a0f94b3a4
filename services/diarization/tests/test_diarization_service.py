"""The whole service on real servers, from the event of a new recording to its speakers."""

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from tests.support.models import RequireModel
from tests.support.stack import Stack, running
from tests.support.system import SAMPLES
from tests.support.voices import media_of as media

from phonograph_diarization.config import Settings
from phonograph_diarization.domain.engines import EngineChoice
from phonograph_diarization.domain.voices import decode_vector
from phonograph_diarization.inference import pyannote
from phonograph_diarization.main import create_app
from phonograph_events import (
    DiarizationCompleted,
    Envelope,
    Event,
    JobFailed,
    JobSummary,
    MediaReady,
    MediaRef,
    Options,
    Service,
    Stream,
    uuid7,
)
from phonograph_media import make_rendition, read_rendition
from phonograph_runtime.app import ServiceApp

from .support.rttm import from_rttm

JOB = JobSummary(job_id=uuid4(), service="test")


def ready(file: MediaRef) -> MediaReady:
    return MediaReady(media_id=file.media_id, media=file, container="wav", audio=Stream(codec="pcm"), job=JOB)


def events_of(events: list[Envelope], kind: type[Event], file: MediaRef) -> list[Any]:
    return [
        event.data
        for event in events
        if isinstance(event.data, kind) and event.data.media_id == file.media_id
    ]


async def select(app: ServiceApp, query: str, **values: Any) -> list[tuple[Any, ...]]:
    async with app.database.transaction() as transaction:
        return [tuple(row) for row in await transaction.session.execute(text(query), values)]


async def execute(app: ServiceApp, statement: str, **values: Any) -> None:
    async with app.database.transaction() as transaction:
        await transaction.session.execute(text(statement), values)


def settings(stack: Stack, folder: Path, engine: EngineChoice = EngineChoice.SILERO_MFCC) -> Settings:
    """Return settings with the engine that hears synthetic voices, and without models."""
    return Settings(**stack.settings(Service.DIARIZATION, folder), engine=engine, models=folder / "no-models")


async def test_from_file_to_meeting_speakers_and_rttm(
    talk: Any, stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """One meeting has two speakers; the same event twice is one job (M-02, M-03, M-05, M-07, M-12)."""
    file = media(tmp_path, talk(("low", 5), ("high", 5), ("low", 5))[0])
    app = create_app(settings(stack, tmp_path))
    async with running(app):
        request = await stack.publish(ready(file), correlation_id=correlation_id)
        await stack.send(request.to_record())
        await stack.publish(ready(file), correlation_id=correlation_id)
        found = await stack.collect(
            lambda events: bool(events_of(events, DiarizationCompleted, file)), correlation_id=correlation_id
        )
        (done,) = events_of(found, DiarizationCompleted, file)
        assert (done.speaker_count, done.turn_count, done.job.reason) == (2, 3, None)
        assert (done.job.engine, done.job.service) == ("silero-mfcc", "diarization")
        assert [speaker.label for speaker in done.speakers] == ["S1", "S2"]
        assert [speaker.user_profile_id for speaker in done.speakers] == [None, None]
        document = json.loads(await app.objects.get_async(done.document_uri))
        assert [turn["speaker"] for turn in document["turns"]] == ["S1", "S2", "S1"]
        rttm = from_rttm((await app.objects.get_async(done.rttm_uri)).decode())
        assert len(rttm[str(file.media_id)]) == 3

        meetings = await select(
            app,
            "SELECT id, version, status, speaker_count, started_at <= finished_at FROM meetings "
            "WHERE file_id = :id",
            id=file.media_id,
        )
        assert meetings == [(done.meeting_id, 1, "completed", 2, True)]
        speakers = await select(
            app,
            "SELECT id, cluster_id, embedding, dim FROM speakers WHERE meeting_id = :id ORDER BY cluster_id",
            id=done.meeting_id,
        )
        assert [row[:2] for row in speakers] == [(s.speaker_id, s.label) for s in done.speakers]
        assert [decode_vector(row[2]).size for row in speakers] == [38, 38] == [row[3] for row in speakers]
        artifacts = await select(
            app, "SELECT type FROM artifacts WHERE meeting_id = :id ORDER BY type", id=done.meeting_id
        )
        assert artifacts == [("speakers.json",), ("turns.rttm",)]
        jobs = await select(
            app, "SELECT status FROM diarization_jobs WHERE media_file_id = :id", id=file.media_id
        )
        assert jobs == [("completed",)]


async def test_silence_completes_with_a_reason_and_bad_requests_fail(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """Silence is a result with a reason, contradicting options fail the job, music is not diarized."""
    silence = media(tmp_path, np.zeros(32_000))
    invalid = media(tmp_path, np.zeros(32_000), options=Options(min_speakers=3, max_speakers=2))
    music = media(tmp_path, np.zeros(32_000), profile="music")
    async with running(create_app(settings(stack, tmp_path))) as app:
        for file in (music, invalid, silence):
            await stack.publish(ready(file), correlation_id=correlation_id)
        found = await stack.collect(
            lambda events: bool(
                events_of(events, DiarizationCompleted, silence) and events_of(events, JobFailed, invalid)
            ),
            correlation_id=correlation_id,
        )
        (done,) = events_of(found, DiarizationCompleted, silence)
        assert (done.speaker_count, done.turn_count, done.speakers, done.rttm_uri) == (0, 0, [], None)
        assert done.job.reason == "no_speech"
        (failure,) = events_of(found, JobFailed, invalid)
        assert (failure.reason, failure.final) == ("bad_options", True)
        states = await select(
            app,
            "SELECT status, reason FROM meetings WHERE file_id = ANY(:ids) ORDER BY status",
            ids=[silence.media_id, invalid.media_id, music.media_id],
        )
        assert states == [("completed", "no_speech"), ("failed", "bad_options")]


@pytest.mark.skipif(pyannote.is_installed(), reason="pyannote.audio is installed")
async def test_a_result_without_the_default_models_has_a_warning(
    talk: Any, stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """The event and the document name the engine that replaced the default one, and the missing model."""
    file = media(tmp_path, talk(("low", 5), ("high", 5))[0])
    async with running(create_app(settings(stack, tmp_path, EngineChoice.AUTO))) as app:
        await stack.publish(ready(file), correlation_id=correlation_id)
        found = await stack.collect(
            lambda events: bool(events_of(events, DiarizationCompleted, file)), correlation_id=correlation_id
        )
        (done,) = events_of(found, DiarizationCompleted, file)
        assert (done.job.engine, done.warnings) == ("silero-mfcc", ["engine_fallback"])
        document = json.loads(await app.objects.get_async(done.document_uri))
    (warning,) = document["warnings"]
    assert warning["code"] == "engine_fallback"
    assert "segmentation-3.0" in warning["message"]


async def test_the_sample_talk_is_diarized_by_the_default_engine(
    require_model: RequireModel, stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    models, _ = (require_model(name).parent for name in ("segmentation-3.0", "ge2e"))
    make_rendition(SAMPLES / "talk.ogg", tmp_path / "talk.wav")
    file = media(tmp_path, read_rendition(tmp_path / "talk.wav"))
    chosen = settings(stack, tmp_path, EngineChoice.SEGMENTATION_GE2E).model_copy(update={"models": models})
    async with running(create_app(chosen)) as app:
        await stack.publish(ready(file), correlation_id=correlation_id)
        found = await stack.collect(
            lambda events: bool(events_of(events, DiarizationCompleted, file)), correlation_id=correlation_id
        )
        (done,) = events_of(found, DiarizationCompleted, file)
        assert (done.job.engine, done.job.model) == ("segmentation-ge2e", "segmentation-3.0+ge2e-v1")
        assert (done.speaker_count, done.turn_count, done.warnings) == (2, 7, [])
        document = json.loads(await app.objects.get_async(done.document_uri))
        assert document["exclusive"] == document["turns"]
        voiceprints = await select(
            app, "SELECT model_id, dim FROM speakers WHERE meeting_id = :id", id=done.meeting_id
        )
        assert voiceprints == [("ge2e-v1", 256)] * 2


async def test_a_recording_has_at_most_one_open_meeting(stack: Stack, tmp_path: Path) -> None:
    """At most one meeting of a recording is open, and a cache entry needs no expiry (C-22, C-27)."""
    app = create_app(settings(stack, tmp_path))
    file = uuid7()
    meeting = "INSERT INTO meetings (id, file_id, version, status) VALUES (:id, :file, :version, :status)"
    try:
        await execute(app, "INSERT INTO files (id, sha256) VALUES (:id, 'x')", id=file)
        for version, status in ((1, "completed"), (2, "failed"), (3, "pending")):
            await execute(app, meeting, id=uuid7(), file=file, version=version, status=status)
        with pytest.raises(IntegrityError, match="uq_meetings_file_id_open"):
            await execute(app, meeting, id=uuid7(), file=file, version=4, status="processing")
        with pytest.raises(IntegrityError, match="ck_meetings_status"):
            await execute(app, meeting, id=uuid7(), file=file, version=4, status="done")
        await execute(app, "DELETE FROM files WHERE id = :id", id=file)
        assert await select(app, "SELECT 1 FROM meetings WHERE file_id = :id", id=file) == []
        await execute(app, "INSERT INTO cache (key, value) VALUES (:key, '{}')", key=str(file))
        assert await select(app, "SELECT ttl FROM cache WHERE key = :key", key=str(file)) == [(None,)]
    finally:
        await asyncio.shield(app.database.aclose())
