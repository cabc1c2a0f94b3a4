"""The whole service on real servers: silence first, topics and clips when the words are known."""

import asyncio
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine
from tests.support.stack import Stack, running

from phonograph_events import (
    Envelope,
    HighlightsCompleted,
    JobFailed,
    JobStatus,
    JobSummary,
    MediaReady,
    MediaRef,
    Service,
    Stream,
    TranscriptionCompleted,
    uuid7,
)
from phonograph_events.documents import HighlightsDocument, TranscriptDocument, TranscriptSegment
from phonograph_highlights.config import Settings
from phonograph_highlights.domain.highlights import job_id
from phonograph_highlights.domain.status import RecordingStatus, canonical, recording_status
from phonograph_highlights.factory import inventory
from phonograph_highlights.main import create_app
from phonograph_runtime.app import ServiceApp

RATE_HZ = 16_000
JOB = JobSummary(job_id=uuid4(), service="test")
TABLES = (
    "jobs",
    "transcripts",
    "silence_regions",
    "layout_analysis",
    "content_segments",
    "clips",
    "processing_logs",
)
PROGRESS = "SELECT status, current_stage, progress_percent FROM jobs WHERE job_id = :o"
TOPICS = ("dough flour oven butter yeast recipe crust", "senate emperor legion province caesar army consul")


def lecture(*, lines: int = 10) -> list[TranscriptSegment]:
    """Two topics; each line lasts 3.2 s and is followed by a pause of 0.8 s."""
    return [
        TranscriptSegment(start=4.0 * i, end=4.0 * i + 3.2, text=TOPICS[2 * i // (2 * lines)], confidence=0.8)
        for i in range(2 * lines)
    ]


def record(path: Path, said: Sequence[TranscriptSegment]) -> Path:
    samples = np.zeros(round((said[-1].end + 1) * RATE_HZ), "<i2")
    noise = np.random.default_rng(1).integers(-8000, 8000, samples.size).astype("<i2")
    for line in said:
        spoken = slice(round(line.start * RATE_HZ), round(line.end * RATE_HZ))
        samples[spoken] = noise[spoken]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())
    return path


def media_of(app: ServiceApp, path: Path, duration_s: float, **changes: Any) -> MediaRef:
    """A WAV of ours is its own rendition."""
    values = {
        "media_id": uuid7(),
        "uri": path.as_uri(),
        "file_name": path.name,
        "file_size": path.stat().st_size,
        "kind": "audio",
        "mime_type": "audio/wav",
        "duration_s": duration_s,
        "file_hash": "0" * 64,
        "secondary_hash": "0" * 32,
        "content_fp": "pcm16k1:0",
        "rendition_uri": app.objects.put(f"renditions/{uuid4()}.wav", path),
    }
    return MediaRef.model_validate(values | changes)


def ready(media: MediaRef) -> MediaReady:
    return MediaReady(
        media_id=media.media_id, media=media, container="wav", audio=Stream(codec="pcm_s16le"), job=JOB
    )


def transcribed(
    app: ServiceApp,
    media: MediaRef,
    said: Sequence[TranscriptSegment],
    *,
    version: int = 1,
    level: str = "v1",
) -> TranscriptionCompleted:
    document = TranscriptDocument(
        pipeline_version=level, engine="test", model="t", language="en", text="", segments=list(said)
    )
    uri = app.objects.put(f"transcripts/{uuid4()}.json", document.model_dump_json().encode())
    return TranscriptionCompleted(
        media_id=media.media_id,
        media=media,
        job=JOB,
        document_uri=uri,
        result_id=uuid7(),
        pipeline_version=level,
        version=version,
        word_count=len(said),
        segment_count=len(said),
    )


def stages(found: list[Envelope], media: MediaRef, stage: str) -> list[Envelope]:
    return [
        event
        for event in found
        if isinstance(event.data, HighlightsCompleted)
        and (event.data.media_id, event.data.stage) == (media.media_id, stage)
    ]


async def select(app: ServiceApp, query: str, **values: Any) -> list[tuple[Any, ...]]:
    async with app.database.transaction() as transaction:
        return [tuple(row) for row in await transaction.session.execute(text(query), values)]


def service(stack: Stack, folder: Path) -> ServiceApp:
    return create_app(Settings(**stack.settings(Service.HIGHLIGHTS, folder)))


async def test_silence_comes_first_and_everything_when_the_words_are_known(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """L-01, L-03, L-04, L-09 to L-12, L-18, L-22, C-20: every delivery comes twice and counts once."""
    app, said = service(stack, tmp_path), lecture()
    media = media_of(app, record(tmp_path / "talk.wav", said), said[-1].end + 1)
    owner = job_id(media.media_id)
    async with running(app):
        request = await stack.publish(ready(media), correlation_id=correlation_id)
        await stack.send(request.to_record())
        found = await stack.collect(
            lambda events: bool(stages(events, media, "silence")), correlation_id=correlation_id
        )
        (first,) = stages(found, media, "silence")
        assert first.aggregateversion == 1
        assert first.data.segments == first.data.clips == []
        assert (first.data.silence_region_count, first.data.job.engine) == (20, "ffmpeg")
        waiting = await select(
            app, "SELECT status, current_stage, progress_percent FROM jobs WHERE job_id = :o", o=owner
        )
        assert waiting == [("running", "transcription", 50.0)]

        words = await stack.publish(transcribed(app, media, said), correlation_id=correlation_id)
        await stack.send(words.to_record())
        await stack.publish(
            transcribed(app, media, said, level="v4", version=2), correlation_id=correlation_id
        )
        last = media_of(app, record(tmp_path / "last.wav", said[:1]), 5)
        await stack.publish(transcribed(app, last, said[:1]), correlation_id=correlation_id)
        found = await stack.collect(
            lambda events: bool(stages(events, last, "segments") and stages(events, media, "segments")),
            correlation_id=correlation_id,
        )
        (second,) = stages(found, media, "segments")
        async with app.database.transaction() as transaction:
            held = await inventory(transaction)
        result = second.data
        assert (second.aggregateversion, result.job.engine, result.job.reason) == (2, "tfidf", None)
        assert len(result.segments) == len(result.clips) == 2
        document = HighlightsDocument.model_validate_json(await app.objects.get_async(result.document_uri))
        assert document.clips == result.clips
        assert document.segments == result.segments
        assert {segment.segment_id for segment in result.segments} <= held["segment"].keys()
        assert {clip.clip_id for clip in result.clips} <= held["clip"].keys()
        assert len(document.silence_regions) == result.silence_region_count == 20
        for clip in result.clips:
            assert clip.uri.endswith(f"results/{owner}/{clip.clip_id}.m4a")
            assert b"-->" in await app.objects.get_async(clip.subtitle_uri)
            assert (await app.objects.get_async(clip.vtt_uri)).startswith(b"WEBVTT")

        done = await select(
            app, "SELECT status, current_stage, progress_percent FROM jobs WHERE job_id = :o", o=owner
        )
        assert done == [("completed", "complete", 100.0)]
        rows = await select(
            app,
            "SELECT c.clip_id, c.title, s.topic, c.importance_score = s.importance_score, segment_order"
            " FROM clips c JOIN content_segments s ON s.segment_id = c.content_segment_id"
            " WHERE c.job_id = :o ORDER BY clip_order",
            o=owner,
        )
        assert rows == [
            (clip.clip_id, clip.title, clip.title, True, order) for order, clip in enumerate(result.clips, 1)
        ]
        transcript = await select(
            app, "SELECT text, confidence FROM transcripts WHERE job_id = :o ORDER BY start_time", o=owner
        )
        assert transcript == [(line.text, 0.8) for line in said]
        timeline = await select(
            app,
            "SELECT stage, status FROM processing_logs WHERE job_id = :o ORDER BY created_at, id",
            o=owner,
        )
        assert timeline == [
            ("silence_detection", "completed"),
            ("silence_detection", "completed"),
            ("segmentation", "completed"),
            ("compilation", "completed"),
            ("complete", "completed"),
        ]
        jobs = await select(
            app,
            "SELECT kind, status FROM highlights_jobs WHERE media_file_id = :m ORDER BY kind",
            m=media.media_id,
        )
        assert jobs == [("segments", "completed"), ("silence", "completed")]

        await select(app, "DELETE FROM jobs WHERE job_id = :o RETURNING 1", o=owner)
        for table in TABLES:
            left = await select(app, f"SELECT count(*) FROM {table} WHERE job_id = :o", o=owner)
            assert left == [(0,)], f"L-16: {table}"


async def test_words_that_come_before_the_file_lose_nothing_and_an_older_transcript_changes_nothing(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    app, said = service(stack, tmp_path), lecture(lines=2)
    media = media_of(app, record(tmp_path / "talk.wav", said), said[-1].end + 1)
    async with running(app):
        await stack.publish(transcribed(app, media, said, version=2), correlation_id=correlation_id)
        found = await stack.collect(
            lambda events: bool(stages(events, media, "segments")), correlation_id=correlation_id
        )
        (result,) = stages(found, media, "segments")
        assert result.data.job.reason == "too_short"
        assert (result.data.silence_region_count, len(result.data.segments), len(result.data.clips)) == (
            4,
            1,
            1,
        )

        await stack.publish(transcribed(app, media, said[:1], version=1), correlation_id=correlation_id)
        await stack.publish(ready(media), correlation_id=correlation_id)
        await stack.publish(transcribed(app, media, [], version=3), correlation_id=correlation_id)
        found = await stack.collect(
            lambda events: (
                len(stages(events, media, "segments")) == 2 and bool(stages(events, media, "silence"))
            ),
            correlation_id=correlation_id,
        )
        late = stages(found, media, "silence")[0]
        newer = stages(found, media, "segments")[-1]
        assert (late.aggregateversion, result.aggregateversion, newer.aggregateversion) == (1, 2, 3)
        assert (newer.data.job.reason, newer.data.segments, newer.data.clips) == ("no_speech", [], [])
        assert newer.data.silence_region_count == 4
        kept = await select(app, "SELECT status FROM jobs WHERE job_id = :o", o=job_id(media.media_id))
        assert kept == [("completed",)]


async def test_a_profile_without_highlights_starts_nothing_and_a_lost_rendition_is_told(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    app, said = service(stack, tmp_path), lecture(lines=1)
    path = record(tmp_path / "talk.wav", said)
    music = media_of(app, path, 9, profile="music")
    lost = media_of(app, path, 9, rendition_uri=app.objects.uri("renditions/none.wav"))
    async with running(app):
        unwanted = await stack.publish(ready(music), correlation_id=correlation_id)
        await stack.publish(ready(lost), correlation_id=correlation_id)
        found = await stack.collect(
            lambda events: any(isinstance(event.data, JobFailed) for event in events),
            correlation_id=correlation_id,
        )
        (failure,) = [event.data for event in found if isinstance(event.data, JobFailed)]
        assert (failure.media_id, failure.kind, failure.final) == (lost.media_id, "silence", True)
        async with asyncio.timeout(30):
            while not await select(app, "SELECT 1 FROM inbox WHERE event_id = :id", id=unwanted.id):
                await asyncio.sleep(0.1)
        failed = await select(
            app, "SELECT status, current_stage FROM jobs WHERE job_id = :o", o=job_id(lost.media_id)
        )
        assert failed == [("failed", "silence_detection")]
        assert not await select(app, "SELECT 1 FROM jobs WHERE job_id = :o", o=job_id(music.media_id))


async def test_the_tables_are_those_of_the_source_document(stack: Stack) -> None:
    """C-19: seven tables, 86 columns, 7 foreign keys. C-07: every one of those columns has an index."""
    engine = create_async_engine(stack.database_url(Service.HIGHLIGHTS))
    try:
        async with engine.connect() as connection:
            columns = await connection.execute(
                text(
                    "SELECT table_name, count(*) AS columns FROM information_schema.columns"
                    " WHERE table_schema = 'highlights' AND table_name = ANY(:tables) GROUP BY table_name"
                ),
                {"tables": list(TABLES)},
            )
            counts = {row.table_name: row.columns for row in columns}
            keys = await connection.execute(
                text(
                    "SELECT conrelid::regclass::text, conkey[1], confdeltype,"
                    " EXISTS (SELECT 1 FROM pg_index WHERE indrelid = conrelid AND indkey[0] = conkey[1])"
                    " FROM pg_constraint WHERE contype = 'f' AND connamespace = 'highlights'::regnamespace"
                )
            )
            foreign = keys.all()
    finally:
        await engine.dispose()
    assert counts == dict(zip(TABLES, (19, 9, 9, 10, 13, 16, 10), strict=True))
    assert sum(counts.values()) == 86
    assert len(foreign) == 7
    assert all(indexed for *_, indexed in foreign)


async def test_other_services_cannot_read_what_was_found(stack: Stack) -> None:
    engine = create_async_engine(stack.database_url(Service.TRANSCRIPTION))
    try:
        async with engine.connect() as connection:
            with pytest.raises(ProgrammingError, match="permission denied"):
                await connection.execute(text("SELECT * FROM highlights.clips"))
    finally:
        await engine.dispose()


def test_status_words_go_to_the_common_ones_and_back() -> None:
    """Every status of a lecture job has a common one and maps back from it (L-02, C-10)."""
    assert [canonical(status) for status in RecordingStatus] == [
        JobStatus.PENDING,
        JobStatus.PROCESSING,
        JobStatus.COMPLETED,
        JobStatus.FAILED,
    ]
    assert all(recording_status(canonical(status)) is status for status in RecordingStatus)
    assert recording_status(JobStatus.RETRYING) is RecordingStatus.QUEUED
    assert job_id(UUID(int=7)).removeprefix("job_") == UUID(int=7).hex
