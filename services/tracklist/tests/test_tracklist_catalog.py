"""The catalog on a real PostgreSQL: what its tables store and refuse."""

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
from phonograph_tracklist.handlers import periodic
from phonograph_tracklist.storage.catalog import SqlCatalog
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
    """Return an id from a minute later."""
    return UUID(int=uuid7().int + (60_000 << 80))


def tracklist(title: str) -> Tracklist:
    return Tracklist(SourceType.CUE_FILE, title, "DJ", (TrackEntry(1, 0.0, 100.5, "A", "T"),), ())


async def rows(database: Database, query: str, **values: Any) -> list[tuple[Any, ...]]:
    async with database.transaction() as transaction:
        return [tuple(row) for row in await transaction.session.execute(text(query), values)]


async def added(database: Database, recording: MediaRef) -> MediaRef:
    async with database.transaction() as transaction:
        await SqlCatalog(transaction.session, correlation_id=None).add(recording)
    return recording


async def status(database: Database, recording: MediaRef) -> str:
    found = await rows(database, "SELECT status FROM recordings WHERE id = :id", id=recording.media_id)
    return str(found[0][0])


async def test_recording_has_one_row_with_the_correlation_id(database: Database) -> None:
    """The file is stored as ingest read it, with the id that joins all rows of a request (K-01, K-07)."""
    recording, correlation = media(uri="file:///music/%D0%9A%20x.mp3", owner=uuid4().hex), uuid4()
    async with database.transaction(Cause("event", str(correlation))) as transaction:
        catalog = factory.sql_catalog(transaction)
        await catalog.add(recording)
        await catalog.add(recording)
        await catalog.complete(recording.media_id, datetime(2020, 1, 2, tzinfo=UTC))
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


async def test_correlation_id_that_is_not_a_uuid_is_left_out(database: Database) -> None:
    async with database.transaction(Cause("event", "order 17")) as transaction:
        recording = media()
        await factory.sql_catalog(transaction).add(recording)
    found = await rows(
        database, "SELECT correlation_id FROM recordings WHERE id = :id", id=recording.media_id
    )
    assert found == [(None,)]


async def test_newer_file_at_the_same_path_replaces_the_older_one(database: Database) -> None:
    """A path belongs to one recording per owner, whichever event arrives first (C-13)."""
    uri = f"file:///music/{uuid4()}.mp3"
    older, newer, others = media(uri=uri), media(uri=uri, media_id=later()), media(uri=uri, owner="other")
    for recording in (older, newer, others):
        await added(database, recording)
    assert [await status(database, each) for each in (older, newer, others)] == [
        "deleted",
        "pending",
        "pending",
    ]
    uri = f"file:///music/{uuid4()}.mp3"
    older, newer = media(uri=uri), media(uri=uri, media_id=later())
    await added(database, newer)
    await added(database, older)
    async with database.transaction() as transaction:
        await SqlCatalog(transaction.session, correlation_id=None).complete(older.media_id, None)
    assert [await status(database, each) for each in (older, newer)] == ["deleted", "pending"]


async def test_same_bytes_are_one_recording_per_owner(database: Database) -> None:
    """The hash is unique per owner, and among recordings without an owner (K-02, C-13)."""
    first = await added(database, media())
    await added(database, media(file_hash=first.file_hash, owner="other"))
    with pytest.raises(IntegrityError, match="uq_recordings_file_hash"):
        await added(database, media(file_hash=first.file_hash))


async def test_very_long_path_keeps_its_end(database: Database) -> None:
    recording = await added(database, media(uri="file:///" + "坂龍/" * 900 + f"{uuid4()}.mp3"))
    (found,) = await rows(database, "SELECT file_path FROM recordings WHERE id = :id", id=recording.media_id)
    assert found[0].endswith(recording.uri[-40:])


async def test_path_that_is_not_utf_8_has_replacement_characters(database: Database) -> None:
    name = f"{uuid4()}.mp3"
    recording = await added(database, media(uri=f"file:///music/%FF/{name}"))
    found = await rows(database, "SELECT file_path FROM recordings WHERE id = :id", id=recording.media_id)
    assert found == [(f"/music/\ufffd/{name}",)]


async def test_metadata_is_replaced_by_origin(database: Database) -> None:
    """A key has one row, and tags and measured features do not overwrite each other (K-03, C-45, C-48)."""
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
            catalog = SqlCatalog(transaction.session, correlation_id=None)
            await catalog.replace_metadata(recording.media_id, method, facts)
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
        catalog = SqlCatalog(transaction.session, correlation_id=None)
        claimed = [
            await catalog.claim_newest_analysis(recording.media_id, each) for each in (newer, older, newer)
        ]
    assert claimed == [True, False, True]


async def test_one_tracklist_is_current(database: Database) -> None:
    """A recording may have several tracklists, of which the last one is current (K-04, C-15, C-41)."""
    recording = await added(database, media())
    async with database.transaction() as transaction:
        catalog = SqlCatalog(transaction.session, correlation_id=None)
        first = await catalog.replace_tracklist(recording, tracklist("First"), ["careful"], version=1)
        second = await catalog.replace_tracklist(recording, tracklist("T" * 600), [], version=2)
        versions = await catalog.versions()
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
    assert str(second) in versions["tracklist"]
    assert str(first) not in versions["tracklist"]


async def test_proposal_is_made_once(database: Database) -> None:
    """An equal proposal keeps its id and the decision on it (K-05)."""
    recording = await added(database, media())
    proposal = propose_rename("x.mp3", {"artist": ["A"], "title": ["T"]})
    assert proposal is not None
    async with database.transaction() as transaction:
        catalog = SqlCatalog(transaction.session, correlation_id=None)
        first = await catalog.add_proposal(recording.media_id, proposal)
        await transaction.session.execute(
            text("UPDATE rename_proposals SET status = 'rejected' WHERE id = :id"), {"id": first}
        )
        again = await catalog.add_proposal(recording.media_id, proposal)
    assert again == first
    found = await rows(
        database,
        "SELECT proposed_filename, metadata_used, confidence_score, status FROM rename_proposals"
        " WHERE recording_id = :id",
        id=recording.media_id,
    )
    assert found == [("A - T.mp3", {"artist": "A", "title": "T"}, 0.7, "rejected")]


async def test_name_in_a_folder_is_taken_by_files_and_by_open_proposals(database: Database) -> None:
    """Case does not matter, other folders do not count, and a rejected proposal frees its name (K-05)."""
    folder = f"file:///music/{uuid4()}"
    first = await added(database, media(uri=f"{folder}/1.mp3", file_name="1.mp3"))
    second = media(uri=f"{folder}/2.mp3", file_name="2.mp3")
    elsewhere = media(uri=f"{folder}/sub/1.mp3", file_name="1.mp3")
    same_file = media(uri=first.uri, file_name="1.mp3", owner="other")
    proposal = propose_rename("1.mp3", {"artist": ["A"], "title": ["T"]})
    assert proposal is not None
    async with database.transaction() as transaction:
        catalog = SqlCatalog(transaction.session, correlation_id=None)
        await catalog.add_proposal(first.media_id, proposal)
        asked = [
            await catalog.is_name_taken(recording, name)
            for recording, name in (
                (second, "a - T.MP3"),
                (second, "1.mp3"),
                (second, "A - T (2).mp3"),
                (elsewhere, "A - T.mp3"),
                (same_file, "A - T.mp3"),
                (first, "A - T.mp3"),
            )
        ]
        await transaction.session.execute(
            text("UPDATE rename_proposals SET status = 'rejected' WHERE recording_id = :id"),
            {"id": first.media_id},
        )
        after = await catalog.is_name_taken(second, "A - T.mp3")
    assert (asked, after) == ([True, True, False, False, False, False], False)


@pytest.mark.parametrize("name", ["", "я" * 128])
async def test_proposed_names_have_255_bytes(database: Database, name: str) -> None:
    """The table refuses names that no file system accepts (C-50)."""
    recording = await added(database, media())
    insert = (
        "INSERT INTO rename_proposals (id, recording_id, current_filename, proposed_filename)"
        " VALUES (:id, :recording, 'x', :name)"
    )
    with pytest.raises(IntegrityError, match="ck_rename_proposals_proposed_filename"):
        await rows(database, insert, id=uuid4(), recording=recording.media_id, name=name)


async def test_relations(database: Database) -> None:
    """Facts and proposals are deleted with the recording; its tracklist is kept (K-06, C-41)."""
    recording = await added(database, media())
    proposal = propose_rename("x.mp3", {"artist": ["A"], "title": ["T"]})
    assert proposal is not None
    async with database.transaction() as transaction:
        catalog = SqlCatalog(transaction.session, correlation_id=None)
        facts = rows_from_tags({"artist": ["A"]})
        await catalog.replace_metadata(recording.media_id, ExtractionMethod.TAG, facts)
        await catalog.add_proposal(recording.media_id, proposal)
        tracklist_id = await catalog.replace_tracklist(recording, tracklist("Kept"), [], version=1)
        await transaction.session.execute(
            text("DELETE FROM recordings WHERE id = :id"), {"id": recording.media_id}
        )
    for table in ("metadata", "rename_proposals"):
        query = f"SELECT 1 FROM {table} WHERE recording_id = :id"
        assert await rows(database, query, id=recording.media_id) == []
    kept = "SELECT title, recording_id FROM tracklists WHERE id = :id"
    assert await rows(database, kept, id=tracklist_id) == [("Kept", None)]


async def test_recording_stats(database: Database) -> None:
    """Recordings are counted by month and status; the counts can be refreshed again (K-25, C-39)."""
    count = "SELECT coalesce(sum(count), 0)::int FROM recording_stats WHERE status = 'pending'"
    for _ in range(2):
        await added(database, media())
        ((before,),) = await rows(database, count)
        ((actual,),) = await rows(database, "SELECT count(*) FROM recordings WHERE status = 'pending'")
        assert before < actual
        async with database.transaction() as transaction:
            await periodic.refresh_stats(transaction)
        assert await rows(database, count) == [(actual,)]


async def test_indexes_of_the_schema(database: Database) -> None:
    """Every indexed column of K-02 to K-05 and C-07 has an index, and none has two (C-40)."""
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
        "ix_rename_proposals_proposed_filename",
        "uq_rename_proposals_recording_id_names",
        "uq_recording_stats_month_status",
    }
