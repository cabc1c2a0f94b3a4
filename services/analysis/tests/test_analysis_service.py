"""The analysis service on real servers: from `media-ready` to `music-analyzed`."""

import asyncio
import wave
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from tests.support.stack import Stack, running

from phonograph_analysis.config import Settings
from phonograph_analysis.main import create_app
from phonograph_events import (
    Envelope,
    JobFailed,
    JobSummary,
    MediaReady,
    MediaRef,
    MusicAnalyzed,
    Service,
    Stream,
    uuid7,
)
from phonograph_events.documents import MusicDocument

RATE_HZ = 44_100


@asynccontextmanager
async def service(stack: Stack, folder: Path):
    async with running(create_app(Settings(**stack.settings(Service.ANALYSIS, folder)))) as app:
        yield app


def groove(duration_s: float = 12.0) -> np.ndarray:
    """Return kicks at 120 BPM over a C major chord."""
    time_s = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    chord = sum(
        np.sin(2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * k * time_s) / k
        for midi in (48, 60, 64, 67, 72)
        for k in (1, 2, 3)
    )
    since_beat_s = time_s % 0.5
    kick = np.sin(2 * np.pi * 60 * since_beat_s) * np.exp(-20 * since_beat_s)
    return 0.03 * chord * (0.4 + np.exp(-6 * since_beat_s)) + 0.5 * kick


def write(path: Path, samples: np.ndarray) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def media_ready(path: Path, *, media_id: UUID | None = None, profile: str = "auto") -> MediaReady:
    media_id = media_id or uuid7()
    media = MediaRef(
        media_id=media_id,
        uri=path.as_uri(),
        file_name=path.name,
        file_size=path.stat().st_size,
        kind="audio",
        mime_type="audio/wav",
        duration_s=12.0,
        file_hash="0" * 64,
        secondary_hash="0" * 32,
        content_fp=f"pcm16k1:{'0' * 64}",
        rendition_uri="file:///nowhere.wav",
        profile=profile,
    )
    return MediaReady(
        media_id=media_id,
        media=media,
        container="wav",
        audio=Stream(codec="pcm_s16le", sample_rate_hz=RATE_HZ, channels=1),
        job=JobSummary(job_id=uuid4(), service=Service.INGEST),
    )


def of_type(event_type, events: list[Envelope]) -> list[Envelope]:
    return [event for event in events if isinstance(event.data, event_type)]


async def rows(stack: Stack, query: str, **values: object) -> list:
    engine = create_async_engine(stack.database_url(Service.ANALYSIS))
    try:
        async with engine.connect() as connection:
            return list((await connection.execute(text(query), values)).all())
    finally:
        await engine.dispose()


async def test_music_is_analyzed_once_and_published_with_its_document(stack, tmp_path, correlation_id):
    event = media_ready(write(tmp_path / "a groove #1.wav", groove()))
    async with service(stack, tmp_path) as app:
        published = await stack.publish(event, correlation_id=correlation_id)
        await stack.send(published.to_record())
        await stack.publish(event, correlation_id=correlation_id)
        events = await stack.collect(
            lambda collected: len(of_type(MusicAnalyzed, collected)) == 1, correlation_id=correlation_id
        )
        last = media_ready(write(tmp_path / "last.wav", np.zeros(RATE_HZ)))
        await stack.publish(last, correlation_id=correlation_id)
        events = await stack.collect(
            lambda collected: (
                {last.media_id} & {each.data.media_id for each in of_type(MusicAnalyzed, collected)}
            ),
            correlation_id=correlation_id,
        )
    (result,) = [each for each in of_type(MusicAnalyzed, events) if each.data.media_id == event.media_id]
    music = result.data
    assert result.aggregateversion == 1
    assert music.bpm == pytest.approx(120, abs=0.5)
    assert music.bpm in music.bpm_candidates
    assert (music.key, music.scale) == ("C", "major")
    assert (music.job.engine, music.job.reason) == ("essentia", None)
    assert music.job.seconds > 0
    document = MusicDocument.model_validate_json(await app.objects.get_async(music.document_uri))
    assert (document.bpm, document.key, document.algorithm_build) == (
        music.bpm,
        "C",
        music.algorithm_build,
    )
    assert len(document.beats) > 15
    stored = await rows(
        stack,
        "SELECT r.id, r.bpm, r.version, r.key_agreed, j.status FROM analysis_results r"
        " JOIN analysis_jobs j ON j.id = r.job_id WHERE r.media_file_id = :id",
        id=event.media_id,
    )
    assert [tuple(row) for row in stored] == [(music.result_id, music.bpm, 1, True, "completed")]


async def test_noise_is_a_result_with_a_reason(stack, tmp_path, correlation_id):
    noise = 0.1 * np.random.default_rng(0).standard_normal(8 * RATE_HZ)
    event = media_ready(write(tmp_path / "noise.wav", np.clip(noise, -1, 1)))
    async with service(stack, tmp_path):
        await stack.publish(event, correlation_id=correlation_id)
        events = await stack.collect(
            lambda collected: of_type(MusicAnalyzed, collected), correlation_id=correlation_id
        )
    (result,) = of_type(MusicAnalyzed, events)
    assert result.data.job.reason == "noise"
    assert (result.data.bpm, result.data.key, result.data.loudness_lufs) == (None, None, None)
    assert result.data.bpm_candidates == []
    assert set(result.data.reasons.values()) == {"noise"}


async def test_a_profile_without_music_requests_no_analysis(stack, tmp_path, correlation_id):
    path = write(tmp_path / "talk.wav", np.zeros(RATE_HZ))
    talk, music = media_ready(path, profile="meeting"), media_ready(path, profile="music")
    async with service(stack, tmp_path):
        talk_envelope = await stack.publish(talk, correlation_id=correlation_id)
        await stack.publish(music, correlation_id=correlation_id)
        await stack.collect(
            lambda collected: of_type(MusicAnalyzed, collected), correlation_id=correlation_id
        )
        async with asyncio.timeout(30):
            while not await rows(stack, "SELECT 1 FROM inbox WHERE event_id = :id", id=talk_envelope.id):
                await asyncio.sleep(0.1)
    assert not await rows(stack, "SELECT 1 FROM analysis_jobs WHERE media_file_id = :id", id=talk.media_id)


async def test_a_file_that_was_deleted_fails_at_once_with_a_reason(stack, tmp_path, correlation_id):
    path = write(tmp_path / "deleted.wav", np.zeros(RATE_HZ))
    event = media_ready(path)
    path.unlink()
    async with service(stack, tmp_path):
        await stack.publish(event, correlation_id=correlation_id)
        events = await stack.collect(
            lambda collected: of_type(JobFailed, collected), correlation_id=correlation_id
        )
    (failure,) = of_type(JobFailed, events)
    assert (failure.data.reason, failure.data.final, failure.data.attempt) == ("missing", True, 1)
    assert "deleted.wav" in failure.data.message
