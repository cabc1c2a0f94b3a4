"""The transcription service on real servers: from `media-ready` to v1, with `diarization-completed` to v4."""

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from tests.support.stack import Stack, running

from phonograph_events import (
    DiarizationCompleted,
    Envelope,
    InventoryReported,
    InventoryRequested,
    JobFailed,
    JobSummary,
    MediaReady,
    MediaRef,
    PipelineVersion,
    Service,
    SpeakerSummary,
    Stream,
    TranscriptionCompleted,
    uuid7,
)
from phonograph_events.documents import SpeakersDocument, TranscriptDocument, Turn
from phonograph_media import make_rendition
from phonograph_runtime.database import Database
from phonograph_runtime.objects import ObjectStore
from phonograph_transcription.config import Settings
from phonograph_transcription.domain.results import Diarization, StoredTranscript, TranscriptionResult
from phonograph_transcription.domain.tasks import TranscribeTask
from phonograph_transcription.domain.transcript import Segment, Transcript, Word
from phonograph_transcription.main import create_app
from phonograph_transcription.storage.tables import SqlTranscriptionJob
from phonograph_transcription.storage.transcripts import SqlTranscriptStore

TALK = Path(__file__).parents[3] / "tests" / "samples" / "talk.ogg"
TALK_S = 8.9
"""End of the second voice, which begins at 5.3 s."""
SENTENCES = (
    "Good morning, and thank you for coming. Let us talk about the new school.",
    "I have read the plan, and I think that the building is too small.",
)
"""What each voice says."""


@dataclass(frozen=True)
class Scenario:
    """The servers, the objects and the correlation id of one test."""

    stack: Stack
    folder: Path
    correlation_id: str
    models: Path
    """Folder of the models; without `base` in it pocketsphinx is used."""

    @property
    def settings(self) -> Settings:
        values = self.stack.settings(Service.TRANSCRIPTION, self.folder)
        return Settings(**values, models=self.models)

    @property
    def objects(self) -> ObjectStore:
        return ObjectStore(self.settings.object_store_url)

    @asynccontextmanager
    async def service(self):
        async with running(create_app(self.settings)) as app:
            yield app

    def ready(self, source: Path | None, **changes: object) -> MediaReady:
        """Return the event of an ingested recording; without `source` it has no rendition."""
        media_id = uuid7()
        uri = self.objects.uri("nothing.wav")
        if source is not None:
            make_rendition(source, self.folder / "rendition.wav")
            uri = self.objects.put(f"renditions/{media_id}.wav", self.folder / "rendition.wav")
        media = MediaRef.model_validate(
            {
                "media_id": media_id,
                "uri": "file:///somewhere/talk.ogg",
                "file_name": "talk.ogg",
                "file_size": 1,
                "kind": "audio",
                "mime_type": "audio/ogg",
                "duration_s": TALK_S,
                "file_hash": "0" * 64,
                "secondary_hash": "0" * 32,
                "content_fp": "pcm16k1:0",
                "rendition_uri": uri,
            }
            | changes
        )
        return MediaReady(
            media_id=media_id,
            media=media,
            container="ogg",
            audio=Stream(codec="vorbis"),
            job=JobSummary(job_id=uuid7(), service=Service.INGEST),
        )

    def diarized(self, media: MediaRef, *turns: tuple[float, float, str]) -> DiarizationCompleted:
        """Return the event of a finished diarization; without turns it has no document."""
        document = SpeakersDocument(
            engine="test", count=2, turns=[Turn(start=s, end=e, speaker=who) for s, e, who in turns]
        )
        key = f"results/{media.media_id}/diarization/{uuid4()}.json"
        uri = self.objects.put(key, document.model_dump_json().encode()) if turns else None
        return DiarizationCompleted(
            media_id=media.media_id,
            media=media,
            job=JobSummary(job_id=uuid7(), service=Service.DIARIZATION, engine="test"),
            document_uri=uri,
            meeting_id=uuid7(),
            speaker_count=len({turn[2] for turn in turns}),
            turn_count=len(turns),
            speakers=[
                SpeakerSummary(speaker_id=uuid7(), label=label, seconds=4, user_profile_id=uuid7())
                for label in sorted({turn[2] for turn in turns})
            ],
        )

    async def publish(self, event) -> Envelope:
        return await self.stack.publish(event, correlation_id=self.correlation_id)

    async def results(self, *wanted: tuple[MediaReady, str]) -> list[Envelope]:
        """Return the transcripts published so far, once all wanted pairs of recording and level exist."""
        pairs = {(ready.media_id, level) for ready, level in wanted}
        events = await self.stack.collect(
            lambda found: pairs <= {(e.data.media_id, e.data.pipeline_version) for e in transcripts(found)},
            correlation_id=self.correlation_id,
            timeout_s=120,
        )
        return transcripts(events)

    async def rows(self, query: str, **values: object) -> list:
        database = Database(self.settings, source="transcription")
        try:
            async with database.engine.connect() as connection:
                return list((await connection.execute(text(query), values)).all())
        finally:
            await database.aclose()


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def transcripts(events: list[Envelope]) -> list[Envelope]:
    return [event for event in events if isinstance(event.data, TranscriptionCompleted)]


@pytest.fixture
def scenario(stack, tmp_path, correlation_id) -> Scenario:
    return Scenario(stack, tmp_path, correlation_id, tmp_path / "models")


@pytest.fixture
def default_scenario(stack, tmp_path, correlation_id, require_model) -> Scenario:
    """A scenario with the default engine."""
    return Scenario(stack, tmp_path, correlation_id, require_model("base").parent)


@pytest.fixture
def talk(tmp_path) -> Path:
    return wav(tmp_path / "talk.wav", sample_of_talk(tmp_path))


def sample_of_talk(folder: Path) -> np.ndarray:
    from phonograph_media import read_rendition

    make_rendition(TALK, folder / "whole.wav")
    return read_rendition(folder / "whole.wav")[: int(TALK_S * 16_000)]


def wav(path: Path, samples: np.ndarray) -> Path:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


async def test_speech_becomes_a_transcript_and_with_speakers_a_second_version(default_scenario, talk):
    """Speech is stored as v1 and, with speakers, as its child v4; the old view shows both.

    Shows T0-09, T0-20, T0-44, T1-10, T1-11, T1-12, T1-14, C-02, C-04 and C-05.
    """
    scenario = default_scenario
    ready = scenario.ready(talk)
    quiet = scenario.ready(wav(scenario.folder / "quiet.wav", np.zeros(16_000)))
    diarized = scenario.diarized(ready.media, (0.4, 5.0, "SPEAKER_00"), (5.2, 8.9, "SPEAKER_01"))
    async with scenario.service():
        sent = await scenario.publish(ready)
        await scenario.stack.send(sent.to_record())
        await scenario.publish(ready)
        (first,) = await scenario.results((ready, "v1"))
        sent = await scenario.publish(diarized)
        await scenario.stack.send(sent.to_record())
        await scenario.publish(diarized)
        await scenario.results((ready, "v4"))
        await scenario.publish(quiet)
        events = await scenario.results((quiet, "v1"))

    v1, v4 = [event for event in events if event.data.media_id == ready.media_id]
    assert v1 == first
    assert (v1.aggregateversion, v1.data.version, v1.data.parent_result_id) == (1, 1, None)
    assert (v1.data.job.engine, v1.data.job.model, v1.data.job.reason) == ("faster-whisper", "base", None)
    assert (v1.data.language, v1.data.warnings, v1.data.speaker_count) == ("en", [], None)
    assert v1.data.job.seconds > 0
    assert words_of(v1.data.preview) == words_of(" ".join(SENTENCES))
    assert (v1.data.preview[:5], v1.data.preview[-1]) == ("Good ", ".")

    assert (v4.aggregateversion, v4.data.version) == (2, 2)
    assert v4.data.parent_result_id == v1.data.result_id
    assert (v4.data.speaker_count, v4.data.word_count) == (2, v1.data.word_count)
    assert v4.data.job.job_id != v1.data.job.job_id
    speakers = [(each.speaker_id, each.label) for each in diarized.speakers]
    assert (v1.data.meeting_id, v1.data.speakers) == (None, [])
    assert v4.data.meeting_id == diarized.meeting_id
    assert [(each.speaker_id, each.label) for each in v4.data.speakers] == speakers
    assert [each.user_profile_id for each in v4.data.speakers] == [None, None]
    (meeting,) = await scenario.rows(
        "SELECT diarization_content -> 'meeting' ->> 'meeting_id',"
        " jsonb_path_query_array(diarization_content, '$.meeting.speakers[*].speaker_id')"
        " FROM transcription_results WHERE id = :id",
        id=v4.data.result_id,
    )
    assert tuple(meeting) == (str(diarized.meeting_id), [str(speaker_id) for speaker_id, _ in speakers])

    plain = TranscriptDocument.model_validate_json(scenario.objects.get(v1.data.document_uri))
    spoken = TranscriptDocument.model_validate_json(scenario.objects.get(v4.data.document_uri))
    assert {segment.speaker for segment in plain.segments} == {None}
    by_speaker = groupby(spoken.segments, lambda segment: segment.speaker)
    said = [
        (speaker, words_of(" ".join(segment.text for segment in segments)))
        for speaker, segments in by_speaker
    ]
    assert said == [("SPEAKER_00", words_of(SENTENCES[0])), ("SPEAKER_01", words_of(SENTENCES[1]))]
    assert (spoken.pipeline_version, spoken.engine, spoken.language) == ("v4", "faster-whisper", "en")
    assert [[w.word, w.start] for s in spoken.segments for w in s.words] == [
        [w.word, w.start] for s in plain.segments for w in s.words
    ]

    stored = await scenario.rows(
        "SELECT pipeline_version, version, parent_result_id, word_count, speaker_count, model_used,"
        " content ->> 'language', jsonb_array_length(segments),"
        " diarization_content -> 'turns' -> 0 ->> 'speaker', processing_time > 0, accuracy,"
        " accuracy_estimate BETWEEN 0 AND 1, model_config ->> 'model'"
        " FROM transcription_results WHERE media_file_id = :id ORDER BY version",
        id=ready.media_id,
    )
    words, segments = v1.data.word_count, len(plain.segments)
    common = (True, None, True, "base")
    assert [tuple(row) for row in stored] == [
        ("v1", 1, None, words, None, "base", "en", segments, None, *common),
        ("v4", 2, v1.data.result_id, words, 2, "base", "en", len(spoken.segments), "SPEAKER_00", *common),
    ]
    ((content,),) = await scenario.rows(
        "SELECT content FROM transcription_results WHERE media_file_id = :id AND version = 1",
        id=ready.media_id,
    )
    assert content == {
        "text": plain.text,
        "language": "en",
        "languages": ["en"],
        "segments": [
            {
                "id": number,
                "start": segment.start,
                "end": segment.end,
                "text": segment.text,
                "confidence": segment.confidence,
                "speaker": None,
                "language": "en",
            }
            for number, segment in enumerate(plain.segments)
        ],
    }
    old = await scenario.rows(
        "SELECT version, text_content, quality_warnings FROM transcripts WHERE media_file_id = :id"
        " ORDER BY created_at",
        id=ready.media_id,
    )
    assert [tuple(row) for row in old] == [
        ("v1", plain.text, []),
        ("v4", spoken.text, []),
    ]


async def test_without_the_model_pocketsphinx_is_used_and_every_version_says_so(scenario, talk):
    ready = scenario.ready(talk)
    diarized = scenario.diarized(ready.media, (0.4, 5.0, "SPEAKER_00"), (5.2, 8.9, "SPEAKER_01"))
    async with scenario.service():
        await scenario.publish(diarized)
        await scenario.publish(ready)
        v1, v4 = await scenario.results((ready, "v1"), (ready, "v4"))
    for event in (v1, v4):
        assert (event.data.job.engine, event.data.job.model) == ("pocketsphinx", "en-us")
        assert event.data.warnings == ["engine_fallback"]
    assert "the new school" in v1.data.preview
    document = TranscriptDocument.model_validate_json(scenario.objects.get(v4.data.document_uri))
    assert [segment.speaker for segment in document.segments] == ["SPEAKER_00", "SPEAKER_01"]
    assert document.segments[1].text.startswith("i ")
    (message,) = [warning.message for warning in document.warnings]
    assert "phonograph models fetch base" in message
    (row,) = await scenario.rows(
        "SELECT quality_warnings FROM transcripts WHERE media_file_id = :id AND version = 'v4'",
        id=ready.media_id,
    )
    assert row[0] == ["engine_fallback"]


async def test_a_diarization_that_arrives_first_waits_for_the_transcript(scenario, talk):
    ready = scenario.ready(talk)
    newer = scenario.diarized(ready.media, (0.0, 9.0, "SPEAKER_00"))
    older = newer.model_copy(
        update={"job": newer.job.model_copy(update={"job_id": UUID(int=1)}), "document_uri": None}
    )
    async with scenario.service():
        await scenario.publish(newer)
        last = await scenario.publish(older)
        async with asyncio.timeout(30):
            while not await scenario.rows("SELECT 1 FROM inbox WHERE event_id = :id", id=last.id):
                await asyncio.sleep(0.1)
        await scenario.publish(ready)
        v1, v4 = await scenario.results((ready, "v1"), (ready, "v4"))
        again = scenario.diarized(ready.media, (0.0, 5.0, "SPEAKER_00"), (5.2, 9.0, "SPEAKER_01"))
        await scenario.publish(again)
        events = await scenario.stack.collect(
            lambda found: len(transcripts(found)) == 3, correlation_id=scenario.correlation_id
        )
    third = transcripts(events)[2]
    assert (v1.data.pipeline_version, v4.data.pipeline_version) == ("v1", "v4")
    assert (v4.data.speaker_count, third.data.speaker_count) == (1, 2)
    assert (third.data.parent_result_id, third.data.version) == (v1.data.result_id, 3)


async def test_silence_completes_with_a_reason_and_music_is_not_transcribed(scenario):
    quiet = scenario.ready(wav(scenario.folder / "quiet.wav", np.zeros(32_000)))
    music = scenario.ready(None, profile="music")
    async with scenario.service() as app:
        ignored = await scenario.publish(music)
        await scenario.publish(quiet)
        await scenario.publish(scenario.diarized(quiet.media))
        v1, v4 = await scenario.results((quiet, "v1"), (quiet, "v4"))
        check_id = uuid4()
        await scenario.publish(InventoryRequested(media_id=UUID(int=0), check_id=check_id))
        events = await scenario.stack.collect(
            lambda found: any(isinstance(event.data, InventoryReported) for event in found),
            correlation_id=scenario.correlation_id,
        )
        inventory = await app.objects.get_async(events[-1].data.document_uri)
    for event in (v1, v4):
        assert (event.data.job.reason, event.data.preview, event.data.word_count) == ("no_speech", "", 0)
        document = TranscriptDocument.model_validate_json(scenario.objects.get(event.data.document_uri))
        assert (document.text, document.segments) == ("", [])
        assert str(event.data.result_id) in inventory.decode()
    assert v4.data.speaker_count == 0
    assert await scenario.rows("SELECT 1 FROM inbox WHERE event_id = :id", id=ignored.id)
    assert not await scenario.rows(
        "SELECT 1 FROM transcription_jobs WHERE media_file_id = :id", id=music.media_id
    )


async def test_a_missing_rendition_fails_at_once_with_a_reason(scenario):
    ready = scenario.ready(None)
    async with scenario.service():
        await scenario.publish(ready)
        events = await scenario.stack.collect(
            lambda found: isinstance(found[-1].data, JobFailed), correlation_id=scenario.correlation_id
        )
    failure = events[-1].data
    assert (failure.reason, failure.final, failure.attempt) == ("missing_object", True, 1)


@pytest.fixture
async def database(scenario):
    opened = Database(scenario.settings, source="transcription", job_table=SqlTranscriptionJob)
    yield opened
    await opened.aclose()


async def make_result(database: Database, media: MediaRef) -> TranscriptionResult:
    """Return a v1 whose job is in the table, and is not executed."""
    async with database.transaction() as transaction:
        await transaction.enqueue(
            "test",
            TranscribeTask(media=media),
            media=media,
            dedupe_key=str(uuid4()),
            extra_priority=-1000,
        )
        await transaction.flush()
        finish = text(
            "UPDATE transcription_jobs SET status = 'completed'"
            " WHERE media_file_id = :id AND status = 'pending' RETURNING id"
        )
        job_id = await transaction.session.scalar(finish, {"id": media.media_id})
    words = (Word("hi", 0, 1, 0.9),)
    transcript = Transcript("e", "m", "en", 0.8, (Segment(0, 1, "hi", words, 0.9),))
    stored = StoredTranscript(transcript, "file:///transcript.json", {"model": "m"})
    return TranscriptionResult(uuid7(), media.media_id, job_id, PipelineVersion.V1, None, stored, 1.0)


async def test_a_transcript_and_a_diarization_at_the_same_time_see_each_other(scenario, database):
    media = scenario.ready(None).media
    result = await make_result(database, media)
    diarization = Diarization(media, uuid7(), "test", "file:///turns.json")

    async def save_diarization():
        async with database.transaction() as transaction:
            return await SqlTranscriptStore(transaction.session).save_diarization(diarization)

    async with database.transaction() as transaction:
        first = await SqlTranscriptStore(transaction.session).add(result)
        second = asyncio.create_task(save_diarization())
        await asyncio.sleep(0.5)
        assert not second.done()
    assert first.diarization is None
    inputs = await second
    assert inputs.transcript.result_id == result.id
    assert inputs.transcript.language_probability == 0.8
    assert inputs.diarization == diarization


async def test_concurrent_results_of_one_recording_have_consecutive_versions(scenario, database):
    media = scenario.ready(None).media
    results = [await make_result(database, media) for _ in range(4)]

    async def add(result: TranscriptionResult) -> int:
        async with database.transaction() as transaction:
            return (await SqlTranscriptStore(transaction.session).add(result)).version

    assert sorted(await asyncio.gather(*map(add, results))) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE transcription_results SET pipeline_version = 'v5' WHERE id = :id",
        "UPDATE transcription_results SET pipeline_version = 'v4' WHERE id = :id",
        "UPDATE transcription_results SET speaker_count = -1 WHERE id = :id",
        "UPDATE transcription_results SET version = 0 WHERE id = :id",
        "INSERT INTO exports (id, transcript_id, format, file_path) VALUES (:id, :id, 'doc', 'x')",
        "INSERT INTO v2_processing_jobs (id, transcript_id, job_type, progress) VALUES (:id, :id, 'x', 1.1)",
        "INSERT INTO v2_processing_jobs (id, transcript_id, job_type, status) VALUES (:id, :id, 'x', 'odd')",
        "DELETE FROM transcription_jobs WHERE id = (SELECT job_id FROM transcription_results WHERE id = :id)",
    ],
)
async def test_the_database_rejects_invalid_values(scenario, database, change):
    """Constraints reject invalid values (T0-11, T0-18, T0-41, T0-45, T0-46, C-03, C-04)."""
    result = await make_result(database, scenario.ready(None).media)
    async with database.transaction() as transaction:
        await SqlTranscriptStore(transaction.session).add(result)
    with pytest.raises(IntegrityError):
        async with database.transaction() as transaction:
            await transaction.session.execute(text(change), {"id": result.id})


async def test_rows_that_refer_to_a_result_are_deleted_with_it(scenario, database):
    """Exports and further jobs are deleted with their transcript (C-03, T0-11)."""
    result = await make_result(database, scenario.ready(None).media)
    async with database.transaction() as transaction:
        await SqlTranscriptStore(transaction.session).add(result)
        for statement in (
            "INSERT INTO exports (id, transcript_id, format, file_path) VALUES (:id, :id, 'srt', 'x')",
            "INSERT INTO v2_processing_jobs (id, transcript_id, job_type) VALUES (:id, :id, 'enhancement')",
            "DELETE FROM transcription_results WHERE id = :id",
        ):
            await transaction.session.execute(text(statement), {"id": result.id})
    assert not await scenario.rows("SELECT 1 FROM exports WHERE id = :id", id=result.id)
    assert not await scenario.rows("SELECT 1 FROM v2_processing_jobs WHERE id = :id", id=result.id)
    assert await scenario.rows(
        "SELECT 1 FROM transcript_halves WHERE media_file_id = :id AND result_id IS NULL", id=result.media_id
    )
