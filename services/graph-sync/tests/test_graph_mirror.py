"""Events in a real Neo4j, in any order, any number of deliveries and any batches."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from neo4j import AsyncDriver
from sqlalchemy import text
from structlog.testing import capture_logs
from tests.support.graph import received
from tests.support.stack import running

from phonograph_events import Envelope
from phonograph_graph_sync.config import Settings
from phonograph_graph_sync.domain.lag import LagClock
from phonograph_graph_sync.exceptions import LostGraphError
from phonograph_graph_sync.factory import ProcessContext
from phonograph_graph_sync.handlers.events import GraphSink
from phonograph_graph_sync.main import create_app
from phonograph_graph_sync.storage.offsets import SqlOffsetStore
from phonograph_runtime.errors import UnavailableError
from phonograph_runtime.logs import _add_subject

Dump = Callable[[], Awaitable[list[str]]]
Apply = Callable[..., Awaitable[None]]

UNREACHABLE = "bolt://127.0.0.1:9"


async def ask(driver: AsyncDriver, query: str, **parameters: Any) -> list[dict[str, Any]]:
    return [row.data() for row in (await driver.execute_query(query, parameters)).records]


async def test_a_story_has_the_nodes_and_edges_of_the_schema(
    driver: AsyncDriver, apply: Apply, story: list[Envelope]
) -> None:
    """Nodes and edges have the properties of their latest events (K-08 to K-13, C-30, C-37, C-48)."""
    await apply(story)

    recordings = await ask(
        driver,
        "MATCH (r:Recording) RETURN r.file_path AS path, r.status AS status, r.reason AS reason, r.bpm AS bpm"
        " ORDER BY path",
    )
    assert [tuple(row.values()) for row in recordings] == [
        ("/archive/talk one.flac", "ready", None, 122.0),
        ("/music/other one.flac", "deleted", None, None),
        ("/music/rotten.mp3", "rejected", "truncated", None),
    ]
    talk = "MATCH (r:Recording {file_name: 'talk one.flac'})"
    assert await ask(driver, f"{talk}-[e:PERFORMED_BY]->(a) RETURN a.name AS name, e.role AS role") == [
        {"name": "A", "role": "primary"}
    ]
    assert await ask(
        driver, f"{talk}-[e:HAS_GENRE]->(g) RETURN g.name AS name, g.confidence AS c, e.primary AS p"
    ) == [{"name": "House", "c": 0.7, "p": True}]
    keys = await ask(
        driver,
        f"{talk}-[e:IN_KEY]->(k) RETURN k.key + ' ' + k.scale AS key, e.detection_method AS by ORDER BY by",
    )
    assert keys == [{"key": "C major", "by": "analysis engine"}, {"key": "A minor", "by": "tag"}]
    assert await ask(
        driver, "MATCH (a:Album) RETURN a.title AS title, a.artist AS artist, a.release_date AS on"
    ) == [{"title": "Al", "artist": "A feat. B", "on": "1999"}]
    assert await ask(
        driver, "MATCH (c)-[:DERIVED_FROM]->(p) RETURN c.pipeline_version + p.pipeline_version AS v"
    ) == [{"v": "v4v1"}]
    segments = await ask(
        driver,
        f"{talk}-[:HAS_SEGMENT]->(s)-[:ABOUT]->(t) RETURN s.title AS s, collect(t.name) AS t ORDER BY s",
    )
    assert [(row["s"], sorted(row["t"])) for row in segments] == [
        ("Alpha", ["all", "alpha"]),
        ("Delta", ["all", "delta"]),
    ]
    assert await ask(driver, f"{talk}-[:HAS_CLIP]->(c) RETURN c.id AS id ORDER BY id") == [
        {"id": "clip Alpha"},
        {"id": "clip Delta"},
    ]
    places = await ask(
        driver, f"{talk}<-[e:LOCATION_OF]-(l) RETURN l.uri AS uri, e.gone_at IS NOT NULL AS gone ORDER BY uri"
    )
    assert places == [
        {"uri": "file:///archive/talk%20one.flac", "gone": False},
        {"uri": "file:///music/copy.mp3", "gone": False},
        {"uri": "file:///music/talk%20one.flac", "gone": True},
    ]


async def test_jobs_show_their_last_state(driver: AsyncDriver, apply: Apply, story: list[Envelope]) -> None:
    """Progress that arrives late overrides neither an end nor a later attempt."""
    await apply(reversed(story))
    jobs = await ask(
        driver,
        "MATCH (j:Job)-[:WORKS_ON]->() RETURN j.service AS s, j.status AS st, j.reason AS r ORDER BY s, r",
    )
    assert [(row["s"], row["st"], row["r"]) for row in jobs] == [
        ("analysis", "failed", "engine_died"),
        ("analysis", "completed", None),
        ("diarization", "completed", None),
        ("highlights", "completed", None),
        ("highlights", "completed", None),
        ("ingest", "completed", "same_sound"),
        ("ingest", "completed", "truncated"),
        ("ingest", "completed", None),
        ("ingest", "completed", None),
        ("tracklist", "completed", None),
        ("transcription", "completed", None),
        ("transcription", "completed", None),
    ]


async def test_a_second_delivery_changes_nothing(apply: Apply, dump: Dump, story: list[Envelope]) -> None:
    """K-21: neither at the same offsets nor, as after a replayed dead letter, at new ones."""
    await apply(story)
    once = await dump()
    await apply(story)
    assert await dump() == once
    await apply(story, first=1000)
    assert await dump() == once


@pytest.mark.parametrize("size", [1, 7, 500])
@pytest.mark.parametrize("order", ["reversed", "shuffled 1", "shuffled 2", "shuffled 3"])
async def test_the_order_of_events_does_not_matter(
    apply: Apply, dump: Dump, driver: AsyncDriver, story: list[Envelope], order: str, size: int
) -> None:
    await apply(story)
    expected = await dump()
    await driver.execute_query("MATCH (n) DETACH DELETE n")

    events = list(reversed(story))
    if order != "reversed":
        random.Random(order).shuffle(events)
    await apply(events, size=size)

    assert await dump() == expected


async def test_a_node_whose_event_has_not_arrived_is_a_stub(
    driver: AsyncDriver, apply: Apply, story: list[Envelope]
) -> None:
    """v4 before v1, a result before its file: both ends exist, and get their properties later."""
    v4 = next(event for event in story if getattr(event.data, "pipeline_version", None) == "v4")
    await apply([v4])
    query = (
        "MATCH (r:Recording)-[:HAS_TRANSCRIPT]->(c)-[:DERIVED_FROM]->(p)"
        " RETURN r.status AS status, c.pipeline_version AS child, p.pipeline_version AS parent"
    )
    assert await ask(driver, query) == [{"status": None, "child": "v4", "parent": None}]
    await apply(story, first=10)
    assert await ask(driver, query) == [{"status": "ready", "child": "v4", "parent": "v1"}]


async def test_offsets_are_stored_with_the_data(
    driver: AsyncDriver, apply: Apply, context: ProcessContext, story: list[Envelope]
) -> None:
    """Records at or below the stored offset are dropped, whatever they contain."""
    progress = [event for event in story if event.data.TOPIC == "job-progressed"]
    await apply(progress[:1], first=7)
    await apply(progress[1:2], first=7)
    offsets = await ask(driver, "MATCH (k:KafkaOffset) RETURN k.topic AS topic, k.offset AS offset")
    assert offsets == [{"topic": "job-progressed", "offset": 7}]
    assert await ask(driver, "MATCH (j:Job) RETURN j.service AS service") == [{"service": "ingest"}]
    async with context.database.transaction() as transaction:
        stored = await SqlOffsetStore(transaction.session).load()
    assert list(stored.values()) == [7]


async def test_constraints_and_indexes_are_those_of_the_schema(
    driver: AsyncDriver, apply: Apply, story: list[Envelope]
) -> None:
    """Neo4j has the required constraints, and indexes that are online (K-18, K-19, K-20, C-30, C-31)."""
    await apply(story[:1])
    constraints = {row["name"] for row in await ask(driver, "SHOW CONSTRAINTS YIELD name")}
    assert constraints >= {"recording_id", "artist_name", "album_composite", "genre_name", "key_composite"}
    indexes = await ask(driver, "SHOW INDEXES YIELD name, labelsOrTypes AS of, properties AS on, state")
    assert {row["name"] for row in indexes} >= {
        "recording_file_path",
        "recording_hash",
        "metadata_key",
        "metadata_value",
        "artist_normalized",
        "album_title",
        "rel_has_metadata_confidence",
        "rel_performed_by_role",
        "rel_similar_to_score",
        "rel_harmonic_compatible_score",
    }
    assert {"of": ["Genre"], "on": ["name"]} in [{"of": row["of"], "on": row["on"]} for row in indexes]
    assert {row["state"] for row in indexes} == {"ONLINE"}


async def test_a_graph_that_lost_events_is_not_written(
    driver: AsyncDriver, context: ProcessContext, apply: Apply, story: list[Envelope]
) -> None:
    """A process that starts on a lost graph asks for a rebuild instead of hiding the loss."""
    await apply(story)
    await driver.execute_query("MATCH (n) DETACH DELETE n")
    with pytest.raises(LostGraphError, match="graph rebuild") as caught:
        await GraphSink(context).apply([])
    assert isinstance(caught.value, UnavailableError)
    assert caught.value.server == "Neo4j"


async def test_unreachable_neo4j_is_reported_as_such_and_parks_nothing(
    settings: Settings, context: ProcessContext, story: list[Envelope]
) -> None:
    """The log and the readiness probe name Neo4j, never PostgreSQL."""
    before = await parked(context)
    app = create_app(settings.model_copy(update={"neo4j_uri": UNREACHABLE}))
    async with running(app, until=_names_neo4j):
        with capture_logs() as lines, pytest.raises(UnavailableError) as caught:
            await app.consumer.consume([received(story[0], 0).record])
        assert caught.value.server == "Neo4j"
        (line,) = [line for line in lines if line["event"] == "server unavailable"]
        assert line["server"] == "Neo4j"
        failure = await app.readiness_failure()
        assert failure is not None
        assert failure.startswith("Neo4j is unavailable: ")
        assert "PostgreSQL" not in failure
    assert await parked(context) == before


def _names_neo4j(failure: str | None) -> bool:
    return failure is not None and failure.startswith("Neo4j is unavailable: ")


async def parked(context: ProcessContext) -> int:
    """Return the number of dead letters."""
    async with context.database.transaction() as transaction:
        return await transaction.session.scalar(text("SELECT count(*) FROM dead_letters")) or 0


async def test_each_new_event_is_one_line_in_the_log(apply: Apply, story: list[Envelope]) -> None:
    """With its place on Kafka and its recording; a second delivery has no line."""
    with capture_logs(processors=[_add_subject]) as first:
        await apply(story)
    with capture_logs(processors=[_add_subject]) as second:
        await apply(story)
    assert {(line["log_level"], line["event"]) for line in first} == {("info", "event mirrored")}
    assert [(line["event_id"], line["topic"], line["offset"], line["media_id"]) for line in first] == [
        (event.id, event.data.TOPIC, offset, str(event.data.media_id)) for offset, event in enumerate(story)
    ]
    assert second == []


async def test_a_writer_that_waited_for_a_newer_one_does_not_override_it(
    driver: AsyncDriver, apply: Apply, story: list[Envelope]
) -> None:
    """Two processes have events of one file: a value read before the lock must not count."""
    ready = story[1]
    await apply([story[6]])
    async with driver.session() as session:
        newer = await session.begin_transaction()
        await newer.run(
            "MATCH (r:Recording {id: $id}) SET r.kind = 'newer', r.media_order = '9'",
            id=str(ready.data.media_id),
        )
        older = asyncio.create_task(apply([ready]))
        await asyncio.sleep(1)
        assert not older.done()
        await newer.commit()
    await older
    found = await ask(driver, "MATCH (r:Recording) RETURN r.status AS status, r.kind AS kind")
    assert found == [{"status": "ready", "kind": "newer"}]


async def test_two_writers_at_once_lose_nothing(
    settings: Settings,
    driver: AsyncDriver,
    context: ProcessContext,
    dump: Dump,
    apply: Apply,
    story: list[Envelope],
) -> None:
    """Topics are shared among processes: locks, retries after deadlocks, the same graph."""
    await apply(story)
    expected = await dump()
    await driver.execute_query("MATCH (n) DETACH DELETE n")
    await context.clear_offsets()

    other = ProcessContext.create(settings)
    try:
        sinks = [GraphSink(context), GraphSink(other)]

        async def apply_half(sink: GraphSink, half: int) -> None:
            own = [event for event in story if sum(event.data.TOPIC.encode()) % 2 == half]
            for number, event in enumerate(own):
                await sink.apply([received(event, number)])

        await asyncio.gather(*(apply_half(sink, half) for half, sink in enumerate(sinks)))
    finally:
        await other.aclose()
    assert await dump() == expected


async def test_the_graph_lags_while_events_wait(
    settings: Settings,
    context: ProcessContext,
    driver: AsyncDriver,
    story: list[Envelope],
) -> None:
    """From the moment a batch is received until it is in the graph, also across failures."""
    ten_s_ago = time.time() - 10
    sent = received(story[0], 0)
    sent = replace(sent, record=replace(sent.record, timestamp=int(ten_s_ago * 1000)))
    unreachable = ProcessContext.create(settings.model_copy(update={"neo4j_uri": UNREACHABLE}))
    clock = LagClock()
    assert clock.lag_s() == 0
    with pytest.raises(UnavailableError):
        await GraphSink(unreachable, clock).apply([sent])
    await unreachable.aclose()
    assert 10 < clock.lag_s() < 60
    await GraphSink(context, clock).apply([sent])
    assert clock.lag_s() == 0


async def test_stubs_are_counted(
    driver: AsyncDriver, context: ProcessContext, apply: Apply, story: list[Envelope]
) -> None:
    v4 = next(event for event in story if getattr(event.data, "pipeline_version", None) == "v4")
    await apply([v4])
    assert await context.graph.count_stubs() == 2
    await apply(story, first=10)
    assert await context.graph.count_stubs() == 0
