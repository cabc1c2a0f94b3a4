"""Results that replace older ones: the graph keeps the newest version, in whatever order they arrive."""

from collections.abc import Awaitable, Callable
from itertools import permutations
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from neo4j import AsyncDriver

from phonograph_events import (
    DiarizationCompleted,
    Envelope,
    Result,
    SpeakerSummary,
    TracklistCompleted,
    envelope,
)
from phonograph_events.examples import EXAMPLES

Apply = Callable[..., Awaitable[None]]


def named(name: str) -> UUID:
    return uuid5(NAMESPACE_URL, name)


def diarization(version: int, *labels: str) -> Envelope:
    return result(
        DiarizationCompleted,
        version,
        meeting_id=named(f"meeting {version}"),
        speakers=[SpeakerSummary(speaker_id=named(label), label=label, seconds=1.0) for label in labels],
    )


def tracklist(version: int, tracklist_id: UUID | None) -> Envelope:
    return result(TracklistCompleted, version, tracklist_id=tracklist_id)


def result(kind: type[Result], version: int, **changes: Any) -> Envelope:
    """Return the example of a result as a version of its own job."""
    (example,) = (event for event in EXAMPLES if isinstance(event, kind))
    own = example.job.model_copy(
        update={"job_id": named(f"job {kind.__name__} {version}"), "requested": {"speakers": version}}
    )
    return envelope(example.model_copy(update={"job": own, **changes}), source="test", version=version)


async def ask(driver: AsyncDriver, query: str) -> list[Any]:
    return [row.values()[0] for row in (await driver.execute_query(query)).records]


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_newest_speakers_speak_in_the_recording(
    driver: AsyncDriver, apply: Apply, order: tuple[int, ...]
) -> None:
    """Older meetings keep their speakers; no order of arrival brings them back into the recording."""
    events = [diarization(1, "A", "B"), diarization(2, "C"), diarization(3, "D", "E")]
    for offset, number in enumerate(order):
        await apply([events[number]], first=offset)
    speaking = await ask(
        driver, "MATCH (s:Speaker)-[:SPEAKS_IN]->(:Recording) RETURN s.label AS l ORDER BY l"
    )
    assert speaking == ["D", "E"]
    known = "MATCH (d:Diarization)-[:HAS_SPEAKER]->(s) RETURN d.version + s.label AS l ORDER BY l"
    assert await ask(driver, known) == ["1A", "1B", "2C", "3D", "3E"]
    versions = "MATCH (j:Job)-[:WORKS_ON]->(:Recording) RETURN j.version + j.requested AS v ORDER BY v"
    assert await ask(driver, versions) == [f'{n}{{"speakers": {n}}}' for n in (1, 2, 3)]


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_newest_tracklist_is_the_only_one(
    driver: AsyncDriver, apply: Apply, order: tuple[int, ...]
) -> None:
    events = [tracklist(1, named("first")), tracklist(3, named("third")), tracklist(2, None)]
    for offset, number in enumerate(order):
        await apply([events[number]], first=offset)
    query = "MATCH (r:Recording)-[:HAS_TRACKLIST]->(t:Tracklist) RETURN [t.id, r.tracklist_id, t.version]"
    assert await ask(driver, query) == [[str(named("third"))] * 2 + [3]]
    assert await ask(driver, "MATCH (t:Tracklist) RETURN count(t)") == [1]
    await apply([tracklist(4, None)], first=9)
    assert await ask(driver, "MATCH (t:Tracklist) RETURN count(t)") == [0]
