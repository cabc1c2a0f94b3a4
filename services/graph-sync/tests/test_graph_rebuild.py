"""The service on real Kafka, and the rebuild of the graph next to it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from neo4j import AsyncDriver
from sqlalchemy import text
from tests.support.graph import wait_until_mirrored
from tests.support.stack import Stack, running

from phonograph_events import Envelope, JobProgressed, Record
from phonograph_graph_sync.commands import rebuild
from phonograph_graph_sync.config import Settings
from phonograph_graph_sync.constants import CONSUMER, REBUILD_LOCK
from phonograph_graph_sync.domain.batches import Partition
from phonograph_graph_sync.exceptions import RebuildError
from phonograph_graph_sync.factory import ProcessContext
from phonograph_graph_sync.main import create_app
from phonograph_runtime.errors import UnavailableError

Dump = Callable[[], Awaitable[list[str]]]
Apply = Callable[..., Awaitable[None]]


async def test_a_rebuild_next_to_the_running_service_produces_the_same_graph(
    stack: Stack,
    settings: Settings,
    driver: AsyncDriver,
    context: ProcessContext,
    dump: Dump,
    story: list[Envelope],
) -> None:
    await rebuild(settings)
    async with running(create_app(settings)):
        await stack.send(*(event.to_record() for event in story))
        await stack.send(Record("media-ready", b"bad", b"{", [("ce_id", b"1")]))
        await wait_until_mirrored(stack, context.topics)
        before = await dump()
        assert any("Delta" in line for line in before)

        done = await rebuild(settings)

        assert await dump() == before
        assert done.events > len(story)
        assert done.nodes + done.edges == len(before)

        later = JobProgressed(
            media_id=uuid4(), job_id=uuid4(), service="analysis", status="processing", progress=0.5
        )
        await stack.publish(later)
        await wait_until_mirrored(stack, context.topics)
        assert any(str(later.job_id) in line for line in await dump())


async def test_a_rebuild_excludes_other_writers_until_it_ends(
    context: ProcessContext, driver: AsyncDriver, apply: Apply, dump: Dump, story: list[Envelope]
) -> None:
    await apply(story[:3])
    await context.graph.begin_rebuild([Partition("media-ready", 0)])
    await context.graph.wipe()
    with pytest.raises(UnavailableError, match="being rebuilt"):
        await apply(story)
    assert await dump() == []

    await context.graph.end_rebuild()
    await apply(story)
    assert len(await dump()) > len(story)


async def test_a_rebuild_waits_for_a_writer_at_work(
    context: ProcessContext, driver: AsyncDriver, apply: Apply, story: list[Envelope]
) -> None:
    """It waits even for one whose partition is new to the graph."""
    await apply([])
    async with driver.session() as session:
        writer = await session.begin_transaction()
        await writer.run(
            "MERGE (:KafkaOffset {consumer: $consumer, topic: 'media-ready', partition: 0, offset: 5})",
            consumer=CONSUMER,
        )
        beginning = asyncio.create_task(context.graph.begin_rebuild([Partition("media-ready", 0)]))
        await asyncio.sleep(1)
        assert not beginning.done()
        await writer.commit()
    await beginning
    assert (await context.graph.prepare())[Partition("media-ready", 0)] == -1


async def test_only_one_rebuild_at_a_time(
    settings: Settings, context: ProcessContext, driver: AsyncDriver
) -> None:
    async with context.database.advisory_lock(REBUILD_LOCK):
        with pytest.raises(RebuildError, match="already"):
            await rebuild(settings)


async def test_an_event_that_neo4j_cannot_hold_is_parked_and_its_neighbours_are_not(
    stack: Stack, settings: Settings, driver: AsyncDriver, context: ProcessContext, story: list[Envelope]
) -> None:
    def progress(**changes: Any) -> JobProgressed:
        fields = {
            "media_id": uuid4(),
            "job_id": uuid4(),
            "service": "analysis",
            "status": "x",
            "progress": 0.5,
        }
        return JobProgressed.model_validate(fields | changes)

    media_id = uuid4()
    good, bad, also_good = progress(media_id=media_id), progress(attempt=2**70, media_id=media_id), progress()
    await rebuild(settings)
    async with running(create_app(settings)):
        for event in (good, bad, also_good):
            await stack.publish(event)
        await wait_until_mirrored(stack, context.topics)

    found = await driver.execute_query("MATCH (j:Job) WHERE j.status = 'x' RETURN collect(j.id) AS ids")
    ids = found.records[0]["ids"]
    assert {str(good.job_id), str(also_good.job_id)} <= set(ids)
    assert str(bad.job_id) not in ids
    async with context.database.transaction() as transaction:
        parked = await transaction.session.execute(
            text("SELECT reason FROM dead_letters WHERE convert_from(value, 'UTF8') LIKE :id"),
            {"id": f"%{bad.job_id}%"},
        )
        assert parked.scalars().all() == ["refused_by_graph"]


async def test_very_long_values_are_stored(
    driver: AsyncDriver, apply: Apply, story: list[Envelope], tmp_path: Path
) -> None:
    """Neo4j refuses to index more than 8 kB: lyrics in a tag, a deep path."""
    cataloged = next(event for event in story if event.data.TOPIC == "tracklist-completed")
    lyrics = {"key": "lyrics", "value": "é" * 4000}
    body = cataloged.data.model_copy(
        update={"metadata": [type(cataloged.data).model_validate_json(
            cataloged.data.model_dump_json()).metadata[0].model_copy(update=lyrics)]}
    )  # fmt: skip
    media = story[1].data.model_dump()
    media["media"]["uri"] = "file:///" + "%E5%90%8D/" * 1300 + "x.mp3"
    found = type(story[1].data).model_validate(media)
    await apply([cataloged.model_copy(update={"data": body}), story[1].model_copy(update={"data": found})])
    assert (await driver.execute_query("MATCH (m:Metadata {key: 'lyrics'}) RETURN count(m)")).records[0][
        0
    ] == 1
    assert (await driver.execute_query("MATCH (l:Location) RETURN count(l)")).records[0][0] == 1
