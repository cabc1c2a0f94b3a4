"""People in the graph: who speaks where, by which name, and nothing of those who are forgotten."""

from collections.abc import Awaitable, Callable
from typing import Any

from neo4j import AsyncDriver
from sqlalchemy import text

from phonograph_events import Envelope, PersonChanged, envelope, uuid7
from phonograph_graph_sync.factory import ProcessContext

Apply = Callable[..., Awaitable[None]]
Dump = Callable[[], Awaitable[list[str]]]


async def ask(driver: AsyncDriver, query: str) -> list[dict[str, Any]]:
    return [dict(record) for record in (await driver.execute_query(query)).records]


async def test_speakers_and_recordings_lead_to_people_under_their_newest_names(
    driver: AsyncDriver, apply: Apply, story: list[Envelope]
) -> None:
    """T0-31: a transcript leads to its speakers, and these to people."""
    await apply(story)
    assert await ask(
        driver,
        "MATCH (r:Recording)<-[:SPEAKS_IN]-(s:Speaker)-[e:IDENTIFIED_AS]->(p:Person) "
        "RETURN s.label AS label, s.identity AS identity, e.state AS state, p.name AS name",
    ) == [{"label": "SPEAKER_00", "identity": "confirmed", "state": "confirmed", "name": "Robert"}]
    assert await ask(
        driver,
        "MATCH (r:Recording)-[:SPOKEN_BY]->(p:Person) RETURN r.file_name AS file, p.name AS name",
    ) == [{"file": "talk one.flac", "name": "Robert"}]


async def test_forgotten_person_remains_as_an_id_only(
    driver: AsyncDriver, apply: Apply, dump: Dump, story: list[Envelope]
) -> None:
    await apply(story)
    assert not [line for line in await dump() if "Ann" in line]
    gone = await ask(
        driver, "MATCH (p:Person {status: 'forgotten'}) RETURN properties(p) AS p, COUNT { (p)--() } AS edges"
    )
    assert [row["edges"] for row in gone] == [0]
    assert "name" not in gone[0]["p"]


async def test_dead_letters_of_a_forgotten_person_are_erased(apply: Apply, context: ProcessContext) -> None:
    """They contain the name; those of other people stay."""
    person, other = uuid7(), uuid7()
    add = (
        'INSERT INTO dead_letters (id, topic, partition, "offset", key, value, headers, reason, error, '
        "attempts) VALUES (gen_random_uuid(), 'person-changed', 0, :offset, :key, 'Ann', '[]', 'x', 'x', 1)"
    )
    async with context.database.transaction() as transaction:
        for offset, key in enumerate((person, other)):
            await transaction.session.execute(text(add), {"offset": offset, "key": str(key).encode()})
    forgotten = PersonChanged(person_id=person, decision="forgotten", changed_by="editor")
    await apply([envelope(forgotten, source="test", version=2)])
    async with context.database.transaction() as transaction:
        found = await transaction.session.execute(
            text("DELETE FROM dead_letters WHERE key = ANY(:keys) RETURNING key"),
            {"keys": [str(person).encode(), str(other).encode()]},
        )
        assert [row.key for row in found] == [str(other).encode()]
