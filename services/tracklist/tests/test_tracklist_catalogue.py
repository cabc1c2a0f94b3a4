"""The catalogue on a real PostgreSQL: what its tables hold and refuse."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from tests.support.stack import Stack

from phonograph_events import Cause, MediaRef, Service, uuid7
from phonograph_runtime.database import Database
from phonograph_tracklist import factory
from phonograph_tracklist.config import Settings
from phonograph_tracklist.domain.metadata import (
    ExtractionMethod,
    MusicFeatures,
    rows_from_music,
    rows_from_tags,
)
from phonograph_tracklist.domain.rename import propose_rename
from phonograph_tracklist.domain.tracklist import SourceType, TrackEntry, Tracklist
from phonograph_tracklist.storage.catalogue import SqlCatalogue
from phonograph_tracklist.storage.tables import SqlTracklistJob


@pytest.fixture
async def database(stack: Stack, tmp_path: Path) -> AsyncIterator[Database]:
    settings = Settings(**stack.settings(Service.TRACKLIST, tmp_path))
    database = Database(settings, source=Service.TRACKLIST, job_table=SqlTracklistJob)
    yield database
    await database.aclose()


def media(**changes: Any) -> MediaRef:
    name = f"{uuid4()}.mp3"
    return MediaRef.model_validate(
        {
            "media_id": uuid7(),
            "uri": f"file:///music/{name}",
            "file_name": name,
            "file_size": 1000,
            "kind": "audio",
            "mime_type": "audio/mpeg",
            "duration_s": 100.5,
            "file_hash": uuid4().hex * 2,
            "secondary_hash": uuid4().hex,
            "content_fp": "pcm16k1:x",
            "rendition_uri": "file:///x.wav",
        }
        | changes
    )


def later() -> UUID:
    """An id of a minute from now."""
    return UUID(int=uuid7().int + (60_000 << 80))


def tracklist(title: str) -> Tracklist:
    return Tracklist(SourceType.CUE_FILE, title, "DJ", (TrackEntry(1, 0.0, 100.5, "A", "T"),), ())


async def rows(database: Database, query: str, **values: Any) -> list[tuple[Any, ...]]:
    async with database.transaction() as transaction:
        return [tuple(row) for row in await transaction.session.execute(text(query), values)]


async def added(database: Database, recording: MediaRef) -> MediaRef:
    async with database.transaction() as transaction:
        await SqlCatalogue(transaction.session, correlation_id=None).add(recording)
    return recording


async def status(database: Database, recording: MediaRef) -> str:
    found = await rows(database, "SELECT status FROM recordings WHERE id = :id", id=recording.media_id)
    return str(found[0][0])


async def test_recording_row(database: Database) -> None:
    """K-01, K-07: the file as it was read, with the id that joins all rows of a request."""
    recording, correlation = media(uri="file:///music/%D0%9A%20x.mp3", owner=uuid4().hex), uuid4()
    async with database.transaction(Cause("event", str(correlation))) as transaction:
        catalogue = factory._catalogue(transaction)
        await catalogue.add(recording)
        await catalogue.add(recording)
        await catalogue.complete(recording.media_id, datetime(2020, 1, 2, tzinfo=UTC))
    found = await rows(
        database,
        "SELECT file_path, file_hash, secondary_hash, file_size, status, mime_type, last_modified,"
        " correlation_id FROM recordings WHERE id = :id",
        id=recording.media_id,
    )
    assert found == [
        (
            "/music/К x.mp3",
            recording.file_hash,
            recording.secondary_hash,
            1000,
            "completed",
            "audio/mpeg",
            datetime(2020, 1, 2, tzinfo=UTC),
            correlation,
        )
    ]


async def test_correlation_id_that_is_no_uuid(database: Database) -> None:
    async with database.transaction(Cause("event", "order 17")) as transaction:
        recording = media()
        await factory._catalogue(transaction).add(recording)
    found = await rows(
        database, "SELECT correlation_id FROM recordings WHERE id = :id", id=recording.media_id
    )
    assert found == [(None,)]


async def test_younger_file_at_the_same_path(database: Database) -> None:
    """C-13: a path belongs to one recording per owner, whichever event comes first."""
    uri = f"file:///music/{uuid4()}.mp3"
    older, younger, others = media(uri=uri), media(uri=uri, media_id=later()), media(uri=uri, owner="other")
    for recording in (older, younger, others):
        await added(database, recording)
    assert [await status(database, each) for each in (older, younger, others)] == [
        "deleted",
        "pending",
        "pending",
    ]
    uri = f"file:///music/{uuid4()}.mp3"
    older, younger = media(uri=uri), media(uri=uri, media_id=later())
    await added(database, younger)
    await added(database, older)
    async with database.transaction() as transaction:
        await SqlCatalogue(transaction.session, correlation_id=None).complete(older.media_id, None)
    assert [await status(database, each) for each in (older, younger)] == ["deleted", "pending"]


async def test_same_bytes_are_one_recording_per_owner(database: Database) -> None:
    """K-02, C-13: UNIQUE on the hash, null owners included."""
    first = await added(database, media())
    await added(database, media(file_hash=first.file_hash, owner="other"))
    with pytest.raises(IntegrityError, match="uq_recordings_file_hash"):
        await added(database, media(file_hash=first.file_hash))


async def test_very_long_path(database: Database) -> None:
    recording = await added(database, media(uri="file:///" + "坂龍/" * 900 + f"{uuid4()}.mp3"))
    (found,) = await rows(database, "SELECT file_path FROM recordings WHERE id = :id", id=recording.media_id)
    assert found[0].endswith(recording.uri[-40:])


async def test_metadata_is_replaced_by_origin(database: Database) -> None:
    """K-03, C-45, C-48: one row per key; tags and measurements do not touch each other."""
    recording = await added(database, media())
    rounds = [
        (ExtractionMethod.TAG, rows_from_tags({"artist": ["A", "B"], "year": ["1999"], "bpm": ["1"]})),
        (ExtractionMethod.ANALYSIS, rows_from_music(MusicFeatures(bpm=124.5, bpm_confidence=0.5, key="A"))),
        (ExtractionMethod.TAG, rows_from_tags({"artist": ["C"], "lyrics": ["x" * 10_000]})),
        (ExtractionMethod.ANALYSIS, rows_from_music(MusicFeatures(bpm=125.0))),
    ]
    found = []
    for method, facts in rounds:
        async with database.transaction() as transaction:
            catalogue = SqlCatalogue(transaction.session, correlation_id=None)
            await catalogue.replace_metadata(recording.media_id, method, facts)
        found.append(
            await rows(
                database,
                "SELECT key, left(value, 20), value_type FROM metadata WHERE recording_id = :id ORDER BY key",
                id=recording.media_id,
            )
        )
    assert found[1] == [
        ("artist", '["A","B"]', "json"),
        ("bpm", "124.5", "float"),
        ("bpm_confidence", "0.5", "float"),
        ("key", "A", "string"),
        ("tag_bpm", "1", "string"),
        ("year", "1999", "int"),
    ]
    assert found[3] == [
        ("artist", "C", "string"),
        ("bpm", "125.0", "float"),
        ("lyrics", "x" * 20, "string"),
    ]


async def test_older_analysis_is_ignored(database: Database) -> None:
    recording = await added(database, media())
    older, newer = uuid7(), later()
    async with database.transaction() as transaction:
        catalogue = SqlCatalogue(transaction.session, correlation_id=None)
        taken = [await catalogue.take_music(recording.media_id, each) for each in (newer, older, newer)]
    assert taken == [True, False, True]


async def test_one_tracklist_is_current(database: Database) -> None:
    """K-04, C-15, C-41: several tracklists per recording, the last one current."""
    recording = await added(database, media())
    async with database.transaction() as transaction:
        catalogue = SqlCatalogue(transaction.session, correlation_id=None)
        first = await catalogue.add_tracklist(recording, tracklist("First"), ["careful"])
        second = await catalogue.add_tracklist(recording, tracklist("T" * 600), [])
        held = await catalogue.versions()
    found = await rows(
        database,
        "SELECT id, is_current, length(title), artist, source_type, track_count, total_duration,"
        " tracks->0->>'title', metadata->'warnings'->>0 FROM tracklists WHERE recording_id = :id ORDER BY id",
        id=recording.media_id,
    )
    assert found == [
        (first, False, 5, "DJ", "cue_file", 1, 101, "T", "careful"),
        (second, True, 500, "DJ", "cue_file", 1, 101, "T", None),
    ]
    assert str(second) in held["tracklist"]
    assert str(first) not in held["tracklist"]


async def test_proposal_is_made_once(database: Database) -> None:
    """K-05: the same proposal again keeps its id and what was decided on it."""
    recording = await added(database, media())
    proposal = propose_rename("x.mp3", {"artist": ["A"], "title": ["T"]})
    assert proposal is not None
    async with database.transaction() as transaction:
        catalogue = SqlCatalogue(transaction.session, correlation_id=None)
        first = await catalogue.add_proposal(recording.media_id, proposal)
        await transaction.session.execute(
            text("UPDATE rename_proposals SET status = 'rejected' WHERE id = :id"), {"id": first}
        )
        again = await catalogue.add_proposal(recording.media_id, proposal)
    assert again == first
    found = await rows(
        database,
        "SELECT proposed_filename, metadata_used, confidence_score, status FROM rename_proposals"
        " WHERE recording_id = :id",
        id=recording.media_id,
    )
    assert found == [("A - T.mp3", {"artist": "A", "title": "T"}, 0.7, "rejected")]


@pytest.mark.parametrize("name", ["", "я" * 128])
async def test_proposed_names_have_255_bytes(database: Database, name: str) -> None:
    """C-50: the table refuses what no file system takes."""
    recording = await added(database, media())
    insert = (
        "INSERT INTO rename_proposals (id, recording_id, current_filename, proposed_filename)"
        " VALUES (:id, :recording, 'x', :name)"
    )
    with pytest.raises(IntegrityError, match="ck_rename_proposals_proposed_filename"):
        await rows(database, insert, id=uuid4(), recording=recording.media_id, name=name)


async def test_relations(database: Database) -> None:
    """K-06, C-41: facts and proposals go with the recording, a tracklist stays without it."""
    recording = await added(database, media())
    proposal = propose_rename("x.mp3", {"artist": ["A"], "title": ["T"]})
    assert proposal is not None
    async with database.transaction() as transaction:
        catalogue = SqlCatalogue(transaction.session, correlation_id=None)
        facts = rows_from_tags({"artist": ["A"]})
        await catalogue.replace_metadata(recording.media_id, ExtractionMethod.TAG, facts)
        await catalogue.add_proposal(recording.media_id, proposal)
        tracklist_id = await catalogue.add_tracklist(recording, tracklist("Kept"), [])
        await transaction.session.execute(
            text("DELETE FROM recordings WHERE id = :id"), {"id": recording.media_id}
        )
    for table in ("metadata", "rename_proposals"):
        query = f"SELECT 1 FROM {table} WHERE recording_id = :id"
        assert await rows(database, query, id=recording.media_id) == []
    kept = "SELECT title, recording_id FROM tracklists WHERE id = :id"
    assert await rows(database, kept, id=tracklist_id) == [("Kept", None)]


async def test_recording_stats(database: Database) -> None:
    """K-25, C-39: counts by month and status, refreshed while readers read."""
    count = "SELECT coalesce(sum(count), 0)::int FROM recording_stats WHERE status = 'pending'"
    for _ in range(2):
        await added(database, media())
        ((before,),) = await rows(database, count)
        ((actual,),) = await rows(database, "SELECT count(*) FROM recordings WHERE status = 'pending'")
        assert before < actual
        async with database.transaction() as transaction:
            await factory.refresh_stats(transaction)
        assert await rows(database, count) == [(actual,)]


async def test_indexes_of_the_schema(database: Database) -> None:
    """K-02, K-03, K-04, K-05, C-07, C-40: no column is left out, and none indexed twice."""
    found = await rows(
        database,
        "SELECT indexname FROM pg_indexes WHERE schemaname = 'tracklist' AND tablename IN"
        " ('recordings', 'metadata', 'tracklists', 'rename_proposals', 'recording_stats')",
    )
    assert {name for (name,) in found} == {
        "pk_recordings",
        "uq_recordings_file_path",
        "uq_recordings_file_hash",
        "ix_recordings_status",
        "ix_recordings_created_at",
        "pk_metadata",
        "ix_metadata_recording_id",
        "ix_metadata_key",
        "ix_metadata_key_value",
        "uq_metadata_recording_id_key",
        "pk_tracklists",
        "ix_tracklists_recording_id",
        "ix_tracklists_tracks",
        "ix_tracklists_metadata",
        "ix_tracklists_title",
        "ix_tracklists_artist",
        "ix_tracklists_source_type",
        "uq_tracklists_current",
        "pk_rename_proposals",
        "ix_rename_proposals_recording_id",
        "ix_rename_proposals_status",
        "ix_rename_proposals_confidence_score",
        "uq_rename_proposals_recording_id_names",
        "uq_recording_stats_month_status",
    }
