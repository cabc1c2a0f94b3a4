"""The service on real servers: silence first, topics and clips when the transcript arrives."""

import asyncio
import wave
from collections.abc import Sequence
from dataclasses import dataclass
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
    SpeakerSummary,
    Stream,
    TranscriptionCompleted,
    uuid7,
)
from phonograph_events.documents import HighlightsDocument, TranscriptDocument, TranscriptSegment
from phonograph_highlights.config import Settings
from phonograph_highlights.domain.highlights import recording_job_id
from phonograph_highlights.domain.status import RecordingStatus
from phonograph_highlights.factory import inventory
from phonograph_highlights.main import create_app
from phonograph_runtime.app import ServiceApp
from phonograph_runtime.objects import ObjectStore

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
PROGRESS = "SELECT status, current_stage, progress_percent FROM jobs WHERE job_id = :id"
TOPICS = ("dough flour oven butter yeast recipe crust", "senate emperor legion province caesar army consul")
JOB_STATUSES = {
    RecordingStatus.QUEUED: JobStatus.PENDING,
    RecordingStatus.RUNNING: JobStatus.PROCESSING,
    RecordingStatus.COMPLETED: JobStatus.COMPLETED,
    RecordingStatus.FAILED: JobStatus.FAILED,
}


@dataclass(frozen=True)
class ProcessedLecture:
    """A lecture that the service has completed, and what it published."""

    stack: Stack
    objects: ObjectStore
    media: MediaRef
    lines: list[TranscriptSegment]
    progress_without_transcript: list[tuple[Any, ...]]
    silence: Envelope
    segments: Envelope
    inventory: dict[str, dict[str, int]]

    @property
    def result(self) -> HighlightsCompleted:
        return self.segments.data

    async def select(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query with the parameter `:id`, the id of the recording's row in `jobs`."""
        return await select(self.stack, query, id=recording_job_id(self.media.media_id))


def talk(*, lines: int = 10) -> list[TranscriptSegment]:
    """Return lines on two topics; each lasts 3.2 s and is followed by a pause of 0.8 s."""
    return [
        TranscriptSegment(start=4.0 * i, end=4.0 * i + 3.2, text=TOPICS[2 * i // (2 * lines)], confidence=0.8)
        for i in range(2 * lines)
    ]


def record(path: Path, lines: Sequence[TranscriptSegment]) -> Path:
    samples = np.zeros(round((lines[-1].end + 1) * RATE_HZ), "<i2")
    noise = np.random.default_rng(1).integers(-8000, 8000, samples.size).astype("<i2")
    for line in lines:
        spoken = slice(round(line.start * RATE_HZ), round(line.end * RATE_HZ))
        samples[spoken] = noise[spoken]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())
    return path


def media_of(app: ServiceApp, path: Path, duration_s: float, **changes: Any) -> MediaRef:
    """Return the reference of a WAV file that is its own rendition."""
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
    lines: Sequence[TranscriptSegment],
    *,
    version: int = 1,
    level: str = "v1",
) -> TranscriptionCompleted:
    document = TranscriptDocument(
        pipeline_version=level, engine="test", model="t", language="en", text="", segments=list(lines)
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
        word_count=len(lines),
        segment_count=len(lines),
    )


def highlights_of(events: list[Envelope], media: MediaRef, stage: str) -> list[Envelope]:
    return [
        event
        for event in events
        if isinstance(event.data, HighlightsCompleted)
        and (event.data.media_id, event.data.stage) == (media.media_id, stage)
    ]


async def select(stack: Stack, query: str, **values: Any) -> list[tuple[Any, ...]]:
    engine = create_async_engine(stack.database_url(Service.HIGHLIGHTS))
    try:
        async with engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(text(query), values)]
    finally:
        await engine.dispose()


def service(stack: Stack, folder: Path) -> ServiceApp:
    return create_app(Settings(**stack.settings(Service.HIGHLIGHTS, folder)))


@pytest.fixture(scope="module")
async def lecture(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> ProcessedLecture:
    """A lecture with two topics; each of its events was delivered twice, and a v4 transcript followed."""
    folder, correlation_id = tmp_path_factory.mktemp("lecture"), str(uuid4())
    app, lines = service(stack, folder), talk()
    media = media_of(app, record(folder / "talk.wav", lines), lines[-1].end + 1)
    async with running(app):
        request = await stack.publish(ready(media), correlation_id=correlation_id)
        await stack.send(request.to_record())
        await stack.collect(
            lambda events: bool(highlights_of(events, media, "silence")), correlation_id=correlation_id
        )
        progress = await select(stack, PROGRESS, id=recording_job_id(media.media_id))

        transcript = await stack.publish(transcribed(app, media, lines), correlation_id=correlation_id)
        await stack.send(transcript.to_record())
        await stack.publish(
            transcribed(app, media, lines, level="v4", version=2), correlation_id=correlation_id
        )
        # When a later recording is complete, so are all events before it.
        last = media_of(app, record(folder / "last.wav", lines[:1]), 5)
        await stack.publish(transcribed(app, last, lines[:1]), correlation_id=correlation_id)
        events = await stack.collect(
            lambda events: bool(
                highlights_of(events, last, "segments") and highlights_of(events, media, "segments")
            ),
            correlation_id=correlation_id,
        )
        async with app.database.transaction() as transaction:
            stored = await inventory(transaction)
    (silence,) = highlights_of(events, media, "silence")
    (segments,) = highlights_of(events, media, "segments")
    return ProcessedLecture(stack, app.objects, media, lines, progress, silence, segments, stored)


def test_silence_is_published_before_the_transcript_arrives(lecture: ProcessedLecture) -> None:
    """The first stage is version 1 and moves the recording to the stage `transcription` (L-01)."""
    silence = lecture.silence
    assert silence.aggregateversion == 1
    assert silence.data.segments == silence.data.clips == []
    assert (silence.data.silence_region_count, silence.data.job.engine) == (20, "ffmpeg")
    assert lecture.progress_without_transcript == [("running", "transcription", 50.0)]


async def test_a_transcript_completes_the_recording(lecture: ProcessedLecture) -> None:
    """The second stage is version 2, with one clip for each topic (L-01)."""
    result = lecture.result
    assert (lecture.segments.aggregateversion, result.job.engine, result.job.reason) == (2, "tfidf", None)
    assert len(result.segments) == len(result.clips) == 2
    assert await lecture.select(PROGRESS) == [("completed", "complete", 100.0)]


async def test_the_document_contains_what_the_event_reports(lecture: ProcessedLecture) -> None:
    result = lecture.result
    document = HighlightsDocument.model_validate_json(await lecture.objects.get_async(result.document_uri))
    assert document.clips == result.clips
    assert document.segments == result.segments
    assert len(document.silence_regions) == result.silence_region_count == 20


def test_the_inventory_contains_all_segments_and_clips(lecture: ProcessedLecture) -> None:
    segment_ids = {segment.segment_id for segment in lecture.result.segments}
    clip_ids = {clip.clip_id for clip in lecture.result.clips}
    assert segment_ids <= lecture.inventory["segment"].keys()
    assert clip_ids <= lecture.inventory["clip"].keys()


async def test_each_clip_is_stored_with_its_subtitles(lecture: ProcessedLecture) -> None:
    """Keys of clips are `results/{job_id}/{clip_id}` (L-22)."""
    folder = f"results/{recording_job_id(lecture.media.media_id)}"
    for clip in lecture.result.clips:
        assert clip.uri.endswith(f"{folder}/{clip.clip_id}.m4a")
        assert b"-->" in await lecture.objects.get_async(clip.subtitle_uri)
        assert (await lecture.objects.get_async(clip.vtt_uri)).startswith(b"WEBVTT")


async def test_each_content_segment_has_one_clip(lecture: ProcessedLecture) -> None:
    """Rows of `clips` and `content_segments` belong together in pairs (L-09 to L-11, C-20)."""
    rows = await lecture.select(
        "SELECT c.clip_id, c.title, s.topic, c.importance_score = s.importance_score, segment_order"
        " FROM clips c JOIN content_segments s ON s.segment_id = c.content_segment_id"
        " WHERE c.job_id = :id ORDER BY clip_order"
    )
    assert rows == [
        (clip.clip_id, clip.title, clip.title, True, order)
        for order, clip in enumerate(lecture.result.clips, 1)
    ]


async def test_the_transcript_is_stored_with_the_highlights(lecture: ProcessedLecture) -> None:
    """Rows of `transcripts` are the segments of the transcript (L-03, L-18)."""
    transcript = await lecture.select(
        "SELECT text, confidence FROM transcripts WHERE job_id = :id ORDER BY start_time"
    )
    assert transcript == [(line.text, 0.8) for line in lecture.lines]


async def test_events_delivered_twice_take_effect_once(lecture: ProcessedLecture) -> None:
    """Each stage is logged once for each job, and each job exists once (L-12, L-18)."""
    stages = await lecture.select(
        "SELECT stage, status FROM processing_logs WHERE job_id = :id ORDER BY created_at, id"
    )
    assert stages == [
        ("silence_detection", "completed"),
        ("silence_detection", "completed"),
        ("segmentation", "completed"),
        ("compilation", "completed"),
        ("complete", "completed"),
    ]
    jobs = await select(
        lecture.stack,
        "SELECT kind, status FROM highlights_jobs WHERE media_file_id = :media_id ORDER BY kind",
        media_id=lecture.media.media_id,
    )
    assert jobs == [("segments", "completed"), ("silence", "completed")]


@pytest.mark.parametrize("first", ["v1", "v4"])
async def test_speakers_are_added_whichever_transcript_comes_first(
    first: str, stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    """Rows of `transcripts` have the ids of speakers, which lead to people, and so have segments (L-03)."""
    app, lines = service(stack, tmp_path), talk(lines=2)
    media = media_of(app, record(tmp_path / "talk.wav", lines), lines[-1].end + 1)
    one, other = (SpeakerSummary(speaker_id=uuid7(), label=label, seconds=6.4) for label in ("S1", "S2"))
    labels = ("S2", "S1", "S2", None)
    spoken = [line.model_copy(update={"speaker": label}) for line, label in zip(lines, labels, strict=True)]
    v1 = transcribed(app, media, lines)
    v4 = transcribed(app, media, spoken, level="v4", version=2).model_copy(
        update={"parent_result_id": v1.result_id, "meeting_id": uuid7(), "speakers": [one, other]}
    )
    async with running(app):
        await stack.publish(v1 if first == "v1" else v4, correlation_id=correlation_id)
        if first == "v1":
            await stack.collect(
                lambda events: bool(highlights_of(events, media, "segments")), correlation_id=correlation_id
            )
        await stack.publish(v4 if first == "v1" else v1, correlation_id=correlation_id)
        events = await stack.collect(
            lambda events: bool(highlights_of(events, media, "speakers")), correlation_id=correlation_id
        )
    (before,), (after,) = (highlights_of(events, media, stage) for stage in ("segments", "speakers"))
    assert (before.aggregateversion, after.aggregateversion) == (2, 3)
    assert [each.speaker_ids for each in before.data.segments] == [[]]
    assert [each.speaker_ids for each in after.data.segments] == [[other.speaker_id, one.speaker_id]]
    assert after.data.clips == before.data.clips
    assert (after.data.job.engine, after.data.job.reason) == ("tfidf", "too_short")
    document = HighlightsDocument.model_validate_json(await app.objects.get_async(after.data.document_uri))
    assert document.segments == after.data.segments
    stored = await select(
        stack,
        "SELECT text, speaker_id FROM transcripts WHERE job_id = :id ORDER BY start_time",
        id=recording_job_id(media.media_id),
    )
    ids = {"S1": str(one.speaker_id), "S2": str(other.speaker_id)}
    assert stored == [(line.text, ids.get(label)) for line, label in zip(lines, labels, strict=True)]


async def test_the_rows_of_a_recording_are_deleted_with_it(lecture: ProcessedLecture) -> None:
    """L-04, L-16: no table keeps rows of a deleted recording. The transaction is rolled back."""
    job_id = recording_job_id(lecture.media.media_id)
    engine = create_async_engine(lecture.stack.database_url(Service.HIGHLIGHTS))
    try:
        async with engine.connect() as connection:
            deleted = await connection.execute(text("DELETE FROM jobs WHERE job_id = :id"), {"id": job_id})
            assert deleted.rowcount == 1
            for table in TABLES:
                rows = await connection.execute(
                    text(f"SELECT count(*) FROM {table} WHERE job_id = :id"), {"id": job_id}
                )
                assert rows.scalar_one() == 0, f"L-16: {table}"
    finally:
        await engine.dispose()


async def test_a_transcript_may_arrive_before_the_recording_and_an_older_one_is_ignored(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    app, lines = service(stack, tmp_path), talk(lines=2)
    media = media_of(app, record(tmp_path / "talk.wav", lines), lines[-1].end + 1)
    async with running(app):
        await stack.publish(transcribed(app, media, lines, version=2), correlation_id=correlation_id)
        events = await stack.collect(
            lambda events: bool(highlights_of(events, media, "segments")), correlation_id=correlation_id
        )
        (first,) = highlights_of(events, media, "segments")
        assert first.data.job.reason == "too_short"
        assert first.data.silence_region_count == 4
        assert (len(first.data.segments), len(first.data.clips)) == (1, 1)

        await stack.publish(transcribed(app, media, lines[:1], version=1), correlation_id=correlation_id)
        await stack.publish(ready(media), correlation_id=correlation_id)
        await stack.publish(transcribed(app, media, [], version=3), correlation_id=correlation_id)
        events = await stack.collect(
            lambda events: (
                len(highlights_of(events, media, "segments")) == 2
                and bool(highlights_of(events, media, "silence"))
            ),
            correlation_id=correlation_id,
        )
        silence = highlights_of(events, media, "silence")[0]
        newer = highlights_of(events, media, "segments")[-1]
        assert (silence.aggregateversion, first.aggregateversion, newer.aggregateversion) == (1, 2, 3)
        assert (newer.data.job.reason, newer.data.segments, newer.data.clips) == ("no_speech", [], [])
        assert newer.data.silence_region_count == 4
        status = await select(
            stack, "SELECT status FROM jobs WHERE job_id = :id", id=recording_job_id(media.media_id)
        )
        assert status == [("completed",)]


async def test_a_profile_without_highlights_starts_nothing_and_a_missing_rendition_is_a_failure(
    stack: Stack, tmp_path: Path, correlation_id: str
) -> None:
    app, lines = service(stack, tmp_path), talk(lines=1)
    path = record(tmp_path / "talk.wav", lines)
    music = media_of(app, path, 9, profile="music")
    damaged = media_of(app, path, 9, rendition_uri=app.objects.uri("renditions/none.wav"))
    async with running(app):
        unwanted = await stack.publish(ready(music), correlation_id=correlation_id)
        await stack.publish(ready(damaged), correlation_id=correlation_id)
        events = await stack.collect(
            lambda events: any(isinstance(event.data, JobFailed) for event in events),
            correlation_id=correlation_id,
        )
        (failure,) = [event.data for event in events if isinstance(event.data, JobFailed)]
        assert (failure.media_id, failure.kind, failure.final) == (damaged.media_id, "silence", True)
        async with asyncio.timeout(30):
            while not await select(stack, "SELECT 1 FROM inbox WHERE event_id = :id", id=unwanted.id):
                await asyncio.sleep(0.1)
        status = "SELECT status, current_stage FROM jobs WHERE job_id = :id"
        assert await select(stack, status, id=recording_job_id(damaged.media_id)) == [
            ("failed", "silence_detection")
        ]
        assert not await select(stack, status, id=recording_job_id(music.media_id))


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
            foreign_keys = keys.all()
    finally:
        await engine.dispose()
    assert counts == dict(zip(TABLES, (19, 9, 9, 10, 13, 16, 10), strict=True))
    assert sum(counts.values()) == 86
    assert len(foreign_keys) == 7
    assert all(indexed for *_, indexed in foreign_keys)


async def test_other_services_cannot_read_the_tables(stack: Stack) -> None:
    engine = create_async_engine(stack.database_url(Service.TRANSCRIPTION))
    try:
        async with engine.connect() as connection:
            with pytest.raises(ProgrammingError, match="permission denied"):
                await connection.execute(text("SELECT * FROM highlights.clips"))
    finally:
        await engine.dispose()


def to_recording_status(status: JobStatus) -> RecordingStatus:
    """Return the status of a recording whose job has a status; between two attempts it is queued."""
    recording_statuses = {job_status: own for own, job_status in JOB_STATUSES.items()}
    return recording_statuses.get(status, RecordingStatus.QUEUED)


def test_every_recording_status_corresponds_to_a_job_status() -> None:
    """Every status of a lecture job has a common one and maps back from it (L-02, C-10)."""
    assert [JOB_STATUSES[status] for status in RecordingStatus] == [
        JobStatus.PENDING,
        JobStatus.PROCESSING,
        JobStatus.COMPLETED,
        JobStatus.FAILED,
    ]
    assert all(to_recording_status(JOB_STATUSES[status]) is status for status in RecordingStatus)
    assert to_recording_status(JobStatus.RETRYING) is RecordingStatus.QUEUED


def test_the_job_id_of_a_recording_contains_its_uuid() -> None:
    """Lecture tables refer to a recording by a text id that contains a UUID (C-17)."""
    assert recording_job_id(UUID(int=7)).removeprefix("job_") == UUID(int=7).hex
