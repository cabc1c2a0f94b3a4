"""A person from the first name to the last trace, by the commands that a user types."""

import base64
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from neo4j import AsyncDriver
from tests.support import graph, voices
from tests.support.stack import Stack, running
from tests.support.system import CommandResult, run_command

from phonograph_cli.project import Project
from phonograph_diarization import factory
from phonograph_diarization.config import Settings as DiarizationSettings
from phonograph_diarization.main import create_app as create_diarization
from phonograph_events import (
    TOPICS,
    DiarizationCompleted,
    HighlightsCompleted,
    JobSummary,
    MediaRef,
    PersonChanged,
    PersonRequestAnswered,
    Service,
    SpeakerNamingRequested,
    SpeakersIdentified,
    SpeakerSummary,
    TranscriptionCompleted,
    dead_letter_topic,
    uuid7,
)
from phonograph_events.documents import (
    ContentSegment,
    HighlightsDocument,
    TranscriptDocument,
    TranscriptSegment,
)
from phonograph_graph_sync.main import create_app as create_graph_sync
from phonograph_runtime.objects import ObjectStore

ANN, BOB = 1, 2
"""Voices."""


@dataclass
class Library:
    """Recordings, their speakers, and the commands of a user."""

    stack: Stack
    folder: Path
    driver: AsyncDriver
    correlation_id: str
    owner: str

    @property
    def objects(self) -> ObjectStore:
        return ObjectStore((self.folder / "objects").as_uri())

    async def run(self, *arguments: str) -> CommandResult:
        """Run `phonograph` on the object store of this test."""
        environment = dict(self.stack.project.environment)
        environment["PHONOGRAPH_OBJECT_STORE"] = self.objects.url
        return await run_command(Project(self.stack.project.root, environment), *arguments)

    async def ok(self, *arguments: str) -> CommandResult:
        result = await self.run(*arguments)
        assert result.code == 0, result.out + result.err
        return result

    async def person(self, command: str, *arguments: str) -> CommandResult:
        """Run a command about a person of the owner."""
        return await self.ok("people", command, *arguments, "--owner", self.owner)

    async def record(self, *speakers: int) -> MediaRef:
        """Diarize a recording, and give it a transcript in which each turn says its number."""
        media = voices.record(self.folder, speakers, owner=self.owner)
        await self.stack.publish(voices.ready(media), correlation_id=self.correlation_id)
        found = await self.stack.collect(
            lambda events: any(
                isinstance(event.data, DiarizationCompleted) and event.data.media_id == media.media_id
                for event in events
            ),
            correlation_id=self.correlation_id,
        )
        (done,) = (
            event.data
            for event in found
            if isinstance(event.data, DiarizationCompleted) and event.data.media_id == media.media_id
        )
        labels = {voice: f"S{n}" for n, voice in enumerate(dict.fromkeys(speakers), 1)}
        await self.transcribe(media, done, [labels[voice] for voice in speakers])
        topics = [TranscriptionCompleted.TOPIC, DiarizationCompleted.TOPIC, HighlightsCompleted.TOPIC]
        await graph.wait_until_mirrored(self.stack, topics)
        return media

    async def transcribe(self, media: MediaRef, done: DiarizationCompleted, labels: list[str]) -> None:
        segments = [
            TranscriptSegment(start=n, end=n + 1, text=f"number {n}", speaker=label)
            for n, label in enumerate(labels)
        ]
        document = TranscriptDocument(
            pipeline_version="v4", engine="test", model="m", language="en", text="", segments=segments
        )
        speakers = [
            SpeakerSummary(speaker_id=each.speaker_id, label=each.label, seconds=each.seconds)
            for each in done.speakers
        ]
        topics = [
            ContentSegment(
                start=0,
                end=len(labels),
                title="Numbers",
                importance_score=1,
                speaker_ids=[each.speaker_id for each in speakers],
            )
        ]
        highlights = HighlightsDocument(segments=topics)
        common: dict[str, Any] = {"media_id": media.media_id, "media": media}
        for event in (
            TranscriptionCompleted(
                **common,
                job=JobSummary(job_id=uuid7(), service=Service.TRANSCRIPTION),
                document_uri=self.put(document.model_dump_json()),
                result_id=uuid7(),
                pipeline_version="v4",
                version=2,
                word_count=2,
                segment_count=len(segments),
                meeting_id=done.meeting_id,
                speakers=speakers,
            ),
            HighlightsCompleted(
                **common,
                job=JobSummary(job_id=uuid7(), service=Service.HIGHLIGHTS),
                document_uri=self.put(highlights.model_dump_json()),
                stage="segments",
                silence_region_count=0,
                segments=topics,
            ),
        ):
            await self.stack.publish(event, correlation_id=self.correlation_id)

    def put(self, content: str) -> str:
        return self.objects.put(f"results/{uuid4()}.json", content.encode())

    async def show(self, media: MediaRef) -> Any:
        return (await self.ok("show", str(media.media_id), "--json")).json

    async def spoken_by(self, media: MediaRef) -> list[str]:
        """Return who says each segment of the transcript."""
        return [segment["speaker"] for segment in (await self.show(media))["transcript"]["segments"]]

    async def dump(self) -> list[tuple[str, bytes]]:
        """Return everything that is stored: each row, node, edge and object with where it is."""
        found: list[tuple[str, bytes]] = []
        connection = await asyncpg.connect(self.stack.addresses.postgres_url)
        try:
            tables = await connection.fetch(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY($1)",
                [service.role for service in Service],
            )
            assert {"inbox", "outbox", "dead_letters", "speakers"} <= {row["tablename"] for row in tables}
            for schema, table in tables:
                for row in await connection.fetch(f"SELECT * FROM {schema}.{table}"):
                    values = [each if isinstance(each, bytes) else str(each).encode() for each in row]
                    found.append((f"{schema}.{table}", b"\x00".join(values)))
        finally:
            await connection.close()
        found += [("graph", line.encode()) for line in await graph.dump(self.driver)]
        objects = self.folder / "objects"
        found += [(str(path), path.read_bytes()) for path in objects.rglob("*") if path.is_file()]
        return found

    async def places_of(self, *traces: bytes) -> set[str]:
        """Return where any of these bytes are stored."""
        return {place for place, content in await self.dump() if any(trace in content for trace in traces)}


@pytest.fixture
async def library(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, correlation_id: str
) -> AsyncIterator[Library]:
    monkeypatch.setattr(factory, "create_engine", voices.create_engine)
    diarization = create_diarization(DiarizationSettings(**stack.settings(Service.DIARIZATION, tmp_path)))
    graph_sync = create_graph_sync(graph.settings(stack, tmp_path))
    async with graph.empty_graph(stack) as driver:
        await clear_offsets(stack)
        async with running(diarization), running(graph_sync):
            yield Library(stack, tmp_path, driver, correlation_id, f"owner-{uuid4()}")
        await clear_offsets(stack)


async def clear_offsets(stack: Stack) -> None:
    """Let graph-sync take the empty graph for a new one."""
    connection = await asyncpg.connect(stack.addresses.postgres_url)
    await connection.execute("DELETE FROM graph_sync.sync_state")
    await connection.close()


async def test_a_person_is_named_suggested_confirmed_renamed_merged_and_split(library: Library) -> None:
    """Names appear in transcript, subtitles and highlights, and change in all of them after the fact."""
    first, second = await library.record(ANN, BOB, ANN), await library.record(BOB, ANN)
    named = await library.ok("speakers", "name", str(first.media_id), "S1", "Ann Lee", "--by", "editor")
    assert "S1 is Ann Lee. Changed in 2 recordings." in named.out
    assert await library.spoken_by(first) == ["Ann Lee", "S2", "Ann Lee"]
    shown = await library.show(first)
    assert [segment["speaker_label"] for segment in shown["transcript"]["segments"]] == ["S1", "S2", "S1"]
    assert shown["highlights"]["segments"][0]["speakers"] == ["Ann Lee", "S2"]
    assert [(each["label"], each["state"], each["name"]) for each in shown["speakers"]["people"]] == [
        ("S1", "confirmed", "Ann Lee"),
        ("S2", "unknown", None),
    ]
    for name in ("srt", "vtt", "txt", "md"):
        assert "Ann Lee" in (await library.ok("export", str(first.media_id), "--format", name)).out

    # A suggestion is no name.
    assert await library.spoken_by(second) == ["S1", "S2"]
    assert "S2 may be Ann Lee (" in (await library.ok("show", str(second.media_id))).out
    (open_,) = (await library.ok("speakers", "list", "--owner", library.owner, "--json")).json["speakers"]
    assert (open_["media_id"], open_["label"], open_["name"]) == (str(second.media_id), "S2", "Ann Lee")
    assert open_["score"] > 0.9
    unasked = await library.run("speakers", "confirm", str(second.media_id), "S1")
    assert (unasked.code, unasked.err.startswith("No person is suggested for S1.")) == (1, True)
    await library.ok("speakers", "confirm", str(second.media_id), "s2")
    assert await library.spoken_by(second) == ["S1", "Ann Lee"]

    await library.person("name", "Ann Lee", "Ann B. Lee")
    assert await library.spoken_by(second) == ["S1", "Ann B. Lee"]
    await library.ok("speakers", "name", str(first.media_id), "S2", "Bob")
    refused = await library.run("people", "merge", "Bob", "Ann B. Lee", "--owner", library.owner)
    assert (refused.code, "Both people speak in 1 recordings" in refused.out) == (1, True)

    third = await library.record(BOB)
    await library.ok("speakers", "name", str(third.media_id), "S1", "Robert")
    await library.person("merge", "Robert", "Bob")
    assert await library.spoken_by(third) == ["Bob"]
    await library.person("split", "Bob", str(third.media_id), "--as", "Robert")
    assert (await library.spoken_by(third), await library.spoken_by(first)) == (
        ["Robert"],
        ["Ann B. Lee", "Bob", "Ann B. Lee"],
    )
    people = (await library.person("list", "--json")).json["people"]
    assert [(each["name"], each["recordings"], each["voiceprints"]) for each in people] == [
        ("Ann B. Lee", 2, 2),
        ("Bob", 1, 1),
        ("Robert", 1, 1),
    ]
    shown = (await library.person("show", "Ann B. Lee", "--json")).json
    assert [(each["file_name"], each["decided_by"] is not None) for each in shown["speakers"]] == [
        (first.file_name, True),
        (second.file_name, True),
    ]
    stranger = await library.run("people", "show", "Ann B. Lee")
    assert (stranger.code, "There is no person" in stranger.err) == (2, True)


async def test_nothing_of_a_forgotten_person_is_left(library: Library) -> None:
    """A full dump of all tables, the graph and the object store has neither the name nor a voiceprint."""
    name = f"Zenobia {uuid4().hex}"
    first, second = await library.record(ANN, BOB), await library.record(ANN)
    await library.ok("speakers", "name", str(first.media_id), "S1", name)
    await library.ok("speakers", "name", str(first.media_id), "S2", "Bob")
    exported = json.loads((await library.person("export", name)).out)
    assert (exported["name"], exported["consent"]) == (name, True)
    assert sorted((each["state"], each["label"]) for each in exported["speakers"]) == [
        ("confirmed", "S1"),
        ("suggested", "S1"),
    ]
    vectors = {each["vector"].encode() for each in [*exported["voiceprints"], *exported["speakers"]]}
    assert len(vectors) == 2
    assert not list((library.folder / "objects").glob("people/*/*")), "the export was left in the store"
    await park_events_of(library, name)

    assert await library.places_of(name.encode()) == {
        "diarization.user_profiles",
        "diarization.speaker_profiles",
        "diarization.outbox",
        "diarization.dead_letters",
        "graph_sync.dead_letters",
        "graph",
    }
    assert {"diarization.speakers", "diarization.speaker_profiles"} <= await library.places_of(*vectors)

    confirmation = await library.run("people", "forget", name, "--owner", library.owner)
    assert (confirmation.code, "--yes" in confirmation.err) == (2, True)
    forgotten = await library.person("forget", name, "--yes")
    assert name not in forgotten.out

    assert await library.places_of(name.encode(), *vectors, *raw(vectors)) == set()
    assert await library.spoken_by(first) == ["S1", "Bob"]
    events = await library.stack.collect(
        lambda found: any(isinstance(each.data, PersonRequestAnswered) for each in found),
        correlation_id=await last_correlation(library),
    )
    assert {PersonChanged, SpeakersIdentified} <= {type(each.data) for each in events}
    assert not [each for each in events if name in each.model_dump_json()]
    # A later recording of the same voice knows nothing of the person.
    third = await library.record(ANN)
    assert [each["state"] for each in (await library.show(third))["speakers"]["people"]] == ["unknown"]
    assert [each["state"] for each in (await library.show(second))["speakers"]["people"]] == ["unknown"]
    again = await library.run("people", "forget", name, "--owner", library.owner, "--yes")
    assert again.code == 2


def raw(vectors: Iterable[bytes]) -> list[bytes]:
    """Return the bytes of voiceprints that are base64."""
    return [base64.b64decode(vector) for vector in vectors]


async def park_events_of(library: Library, name: str) -> None:
    """Let two services park an event with the name, as if they could not have processed it."""
    park = (
        'INSERT INTO {}.dead_letters (id, topic, partition, "offset", key, value, headers, reason, error, '
        "attempts) VALUES (gen_random_uuid(), $1, 99, 1, $2, $3, '[]', 'test', 'test', 1)"
    )
    connection = await asyncpg.connect(library.stack.addresses.postgres_url)
    try:
        row = await connection.fetchrow(
            "SELECT key, value FROM diarization.outbox WHERE topic = 'person-changed' "
            "AND position($1::bytea IN value) > 0",
            name.encode(),
        )
        await connection.execute(park.format("graph_sync"), PersonChanged.TOPIC, row["key"], row["value"])
        request = json.dumps({"name": name}).encode()
        await connection.execute(park.format("diarization"), SpeakerNamingRequested.TOPIC, b"", request)
    finally:
        await connection.close()


async def last_correlation(library: Library) -> str:
    """Return the correlation id of the last decision about a person."""
    connection = await asyncpg.connect(library.stack.addresses.postgres_url)
    try:
        headers = await connection.fetchval(
            "SELECT headers FROM diarization.outbox WHERE topic = 'person-changed' ORDER BY seq DESC LIMIT 1"
        )
    finally:
        await connection.close()
    return dict(json.loads(headers))["ce_correlationid"]


async def test_commands_about_unknown_things_end_with_a_sentence(library: Library) -> None:
    media = await library.record(ANN)
    answers = [
        await library.run(*arguments)
        for arguments in (
            ("speakers", "name", str(media.media_id), "S9", "Ann"),
            ("speakers", "name", "/nowhere.wav", "S1", "Ann"),
            ("people", "forget", "Zed", "--yes"),
            ("speakers", "name", str(media.media_id), "S1", " "),
            ("speakers", "name", str(media.media_id), "S1", ""),
            ("people", "show", "0198"),
        )
    ]
    assert [answer.code for answer in answers] == [2, 1, 2, 1, 2, 2]
    sentences = [answer.out + answer.err for answer in answers]
    assert sentences[0] == "The recording has no speaker 'S9'; there are: S1.\n"
    assert "is unknown" in sentences[1]
    assert sentences[2].startswith("There is no person Zed.")
    assert ["A name has 1 to 255 characters" in sentence for sentence in sentences[3:5]] == [True, True]
    assert sentences[5] == "There is no person 0198. See: phonograph people list\n"


def test_names_are_on_a_topic_that_keeps_the_newest_event_only() -> None:
    config, dead_letters = TOPICS[PersonChanged.TOPIC].configs
    assert (config.cleanup, config.config["max.compaction.lag.ms"]) == ("compact", "86400000")
    assert dead_letters.name == dead_letter_topic(PersonChanged.TOPIC)
