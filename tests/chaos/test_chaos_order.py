"""Events reversed, interleaved and delivered twice leave the same rows in the services' own tables."""

import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from tests.support.scratch import delivered, rows
from tests.support.stack import Stack

from phonograph_events import TOPICS, Event, Service, envelope, uuid7
from phonograph_events.examples import EXAMPLES
from phonograph_runtime.app import ServiceApp

SERVICES = ("analysis", "diarization", "highlights", "tracklist", "transcription")
TOPICS_OF_ONE_FILE = ("media-ready", "music-analyzed", "transcription-completed", "diarization-completed")
ORDERS: dict[str, Callable[[list[Event]], list[Event]]] = {
    "reversed": lambda events: events[::-1],
    "twice": lambda events: events * 2,
    "twice_interleaved": lambda events: [*events[::-1], *events],
}
VARIABLE = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|([0-9a-f]{32}){1,2}|"
    r'\d{4}-\d\d-\d\dT[0-9:.]+(\+00:00)?|"turn": \d+'
)
"""Ids, hashes, times, and a job's fair rank, which differ from run to run."""


def events_of_one_file(service: Service) -> list[Event]:
    """Return the events about a new file that a service consumes, in the order of their publication."""
    topics = [topic for topic in TOPICS_OF_ONE_FILE if service.value in TOPICS[topic].consumers]
    examples = {}
    for example in EXAMPLES:
        examples.setdefault(example.TOPIC, example)
    media = examples["media-ready"].media
    ids = str(media.media_id)[:24], str(uuid7())[:24]
    hashes = media.file_hash, uuid7().hex * 2
    events = []
    for topic in topics:
        body = json.loads(examples[topic].model_dump_json()) | {"media": json.loads(media.model_dump_json())}
        text = json.dumps(body).replace(*ids).replace(*hashes)
        events.append(type(examples[topic]).model_validate_json(text))
    return events


async def rows_of_media(app: ServiceApp, media_id: str) -> list[str]:
    """Return every row of the service that contains the media id, without ids and times."""
    names = await rows(app.database, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    kept = []
    for (table,) in names:
        if table in {"inbox", "outbox", "dead_letters", "alembic_version"}:
            continue
        content = await rows(app.database, f'SELECT to_jsonb(t)::text FROM "{table}" t')
        kept += [f"{table} {VARIABLE.sub('*', row)}" for (row,) in content if media_id in row]
    return sorted(kept)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", SERVICES)
async def test_07_any_order_leaves_the_same_rows(stack: Stack, tmp_path: Path, name: str, order: str) -> None:
    service = Service(name)
    settings = import_module(f"phonograph_{name}.config").Settings(**stack.settings(service, tmp_path))
    app: ServiceApp = import_module(f"phonograph_{name}.main").create_app(settings)
    kept = []
    for arrange in (list, ORDERS[order]):
        envelopes = [envelope(event, source="test") for event in events_of_one_file(service)]
        for offset, record in enumerate(wrapped.to_record() for wrapped in arrange(envelopes)):
            await app.consumer.consume([delivered(record, offset)])
        kept.append(await rows_of_media(app, envelopes[0].subject))
    print(f"07 {name} {order}: {len(envelopes)} events, {len(kept[0])} rows")
    await app.database.aclose()
    assert kept[0]
    assert kept[0] == kept[1]
