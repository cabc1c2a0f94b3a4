"""People as the graph holds them, and requests to change them."""

import asyncio
import getpass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from phonograph_cli import offsets
from phonograph_cli.kafka import KafkaClient
from phonograph_events import (
    Event,
    PersonChanged,
    PersonRequestAnswered,
    Service,
    SpeakersIdentified,
)

if TYPE_CHECKING:
    from neo4j import AsyncDriver

Person: TypeAlias = dict[str, Any]
"""A person as `PeopleReader.people` returns it."""
Speaker: TypeAlias = dict[str, Any]
"""A speaker as `PeopleReader.speakers` and its other methods return it."""

ANSWER_TIMEOUT_S = 30.0

_PEOPLE: Final = """
MATCH (p:Person {status: 'active'})
WHERE p.owner = $owner OR ($owner IS NULL AND p.owner IS NULL)
RETURN p.id AS id, p.name AS name, p.owner AS owner, p.consent AS consent,
    p.voiceprint_count AS voiceprints, p.changed_by AS changed_by,
    COUNT { (p)<-[:SPOKEN_BY]-() } AS recordings,
    COUNT { (p)<-[:IDENTIFIED_AS {state: 'suggested'}]-() } AS suggestions
ORDER BY toLower(p.name), p.id
"""
_SPEAKER: Final = """
RETURN s.id AS speaker_id, r.id AS media_id, r.file_name AS file_name, r.owner AS owner, s.label AS label,
    s.seconds AS seconds, coalesce(s.identity, 'unknown') AS state, s.score AS score, p.id AS person_id,
    p.name AS name, s.decided_by AS decided_by, toString(s.decided_at) AS decided_at
ORDER BY r.created_at, r.id, size(s.label), s.label
"""
_SPEAKERS_OF_RECORDING: Final = f"""
MATCH (r:Recording {{id: $id}})-[:HAS_DIARIZATION]->(d)
WITH r, d ORDER BY d.version DESC, d.created_at DESC LIMIT 1
MATCH (d)-[:HAS_SPEAKER]->(s:Speaker)
OPTIONAL MATCH (s)-[:IDENTIFIED_AS]->(p:Person)
{_SPEAKER}
"""
_SPEAKERS_OF_PERSON: Final = f"""
MATCH (p:Person {{id: $id}})<-[:IDENTIFIED_AS]-(s:Speaker)-[:SPEAKS_IN]->(r:Recording)
{_SPEAKER}
"""
_SUGGESTIONS: Final = f"""
MATCH (p:Person {{status: 'active'}})<-[:IDENTIFIED_AS {{state: 'suggested'}}]-(s:Speaker)
    -[:SPEAKS_IN]->(r:Recording)
WHERE p.owner = $owner OR ($owner IS NULL AND p.owner IS NULL)
{_SPEAKER}
"""


class PeopleReader:
    """Reads people and speakers from the graph."""

    def __init__(self, driver: "AsyncDriver") -> None:
        self._driver = driver

    async def people(self, owner: str | None) -> list[Person]:
        """Return the people of an owner by name; None for those without an owner."""
        return await self._rows(_PEOPLE, owner=owner)

    async def speakers(self, media_id: str) -> list[Speaker]:
        """Return the speakers of the newest diarization of a recording."""
        return await self._rows(_SPEAKERS_OF_RECORDING, id=media_id)

    async def speakers_of(self, person_id: str) -> list[Speaker]:
        """Return the speakers who are a person, or may be."""
        return await self._rows(_SPEAKERS_OF_PERSON, id=person_id)

    async def suggestions(self, owner: str | None) -> list[Speaker]:
        """Return the suggestions that no user has answered, for the recordings of an owner."""
        return await self._rows(_SUGGESTIONS, owner=owner)

    async def _rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        async with self._driver.session(notifications_min_severity="OFF") as session:
            result = await session.run(query, parameters)
            return [dict(record) async for record in result]


def current_user() -> str:
    """Return the login of the user who runs this command, for the record of who decided what."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        return "unknown"


async def request(client: KafkaClient, event: Event, *, wait: bool) -> PersonRequestAnswered | None:
    """Send a request about a speaker or a person.

    Args:
        client: Connection to Kafka.
        event: The request.
        wait: Whether to wait for the answer, and until the graph has what it changed.

    Returns:
        The answer, or None if it was not waited for or did not arrive in time.
    """
    if not wait:
        await client.publish([event])
        return None
    # The tail is opened before publishing, so that no answer is missed.
    tail = await client.tail([PersonRequestAnswered.TOPIC])
    (sent,) = await client.publish([event])
    answer: PersonRequestAnswered | None = None
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            async for received in tail.events():
                found = received.envelope.data
                if isinstance(found, PersonRequestAnswered) and found.request_id == sent.id:
                    answer = found
                    break
    except TimeoutError:
        return None
    if answer is not None and answer.ok:
        ends = await offsets.end_offsets(client, [SpeakersIdentified.TOPIC, PersonChanged.TOPIC])
        await offsets.wait_for_lag(client, Service.GRAPH_SYNC, ends)
    return answer
