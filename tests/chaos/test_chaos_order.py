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
OF_ONE_FILE = ("media-ready", "music-analyzed", "transcription-completed", "diarization-completed")
ORDERS: dict[str, Callable[[list[Event]], list[Event]]] = {
    "reversed": lambda events: events[::-1],
    "twice": lambda events: events * 2,
    "twice_interleaved": lambda events: [*events[::-1], *events],
}
CHANGING = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|([0-9a-f]{32}){1,2}|"
    r'\d{4}-\d\d-\d\dT[0-9:.]+(\+00:00)?|"turn": \d+'
)
"""Ids, hashes, times, and a job's place in the queue."""


def story(service: Service) -> list[Event]:
    """One file's events that a service takes, in the order in which they come about."""
    wanted = [topic for topic in OF_ONE_FILE if service.value in TOPICS[topic].consumers]
    found = {}
    for example in EXAMPLES:
        found.setdefault(example.TOPIC, example)
    media = found["media-ready"].media
    ids = str(media.media_id)[:24], str(uuid7())[:24]
    hashes = media.file_hash, uuid7().hex * 2
    events = []
    for topic in wanted:
        told = json.loads(found[topic].model_dump_json()) | {"media": json.loads(media.model_dump_json())}
        own = json.dumps(told).replace(*ids).replace(*hashes)
        events.append(type(found[topic]).model_validate_json(own))
    return events


async def tables(app: ServiceApp, media_id: str) -> list[str]:
    """Every row of the service that names the file, without ids and times."""
    names = await rows(app.database, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
    kept = []
    for (table,) in names:
        if table in {"inbox", "outbox", "dead_letters", "alembic_version"}:
            continue
        found = await rows(app.database, f'SELECT to_jsonb(t)::text FROM "{table}" t')
        kept += [f"{table} {CHANGING.sub('*', row)}" for (row,) in found if media_id in row]
    return sorted(kept)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", SERVICES)
async def test_07_any_order_leaves_the_same_rows(stack: Stack, tmp_path: Path, name: str, order: str) -> None:
    service = Service(name)
    settings = import_module(f"phonograph_{name}.config").Settings(**stack.settings(service, tmp_path))
    app: ServiceApp = import_module(f"phonograph_{name}.main").create_app(settings)
    kept = []
    for arrange in (list, ORDERS[order]):
        envelopes = [envelope(event, source="test") for event in story(service)]
        for offset, record in enumerate(wrapped.to_record() for wrapped in arrange(envelopes)):
            await app.consumer.consume([delivered(record, offset)])
        kept.append(await tables(app, envelopes[0].subject))
    print(f"07 {name} {order}: {len(envelopes)} events, {len(kept[0])} rows")
    await app.database.aclose()
    assert kept[0]
    assert kept[0] == kept[1]
