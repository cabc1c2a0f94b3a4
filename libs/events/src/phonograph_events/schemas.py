"""Writes `schemas/`: topics as YAML, a JSON Schema and an example per event, the AsyncAPI document.

Run as `python -m phonograph_events.schemas FOLDER`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from phonograph_events.bodies import Event
from phonograph_events.catalogue import TOPICS, Topic, dead_letter_topic
from phonograph_events.examples import EXAMPLES, example_envelope


def generate() -> dict[str, str]:
    """Every file below `schemas/`, by its path."""
    files: dict[str, str] = {}
    for topic in TOPICS.values():
        files[f"topics/{topic.name}.yaml"] = _topic(topic)
        files[f"events/{topic.event.event_type()}.schema.json"] = _json(writer_schema(topic.event))
    for event in EXAMPLES:
        folder = f"examples/{event.event_type().rpartition('.')[0]}/v{event.VERSION}"
        record = example_envelope(event).to_record()
        files[f"{folder}/example.json"] = _json(
            {
                "key": (record.key or b"").decode(),
                "headers": {name: (value or b"").decode() for name, value in record.headers},
                "body": json.loads(record.value or b""),
            }
        )
    files["asyncapi/phonograph.json"] = _json(_asyncapi())
    return files


def writer_schema(event: type[Event]) -> dict[str, Any]:
    """JSON Schema that a writer must keep: closed, while readers stay open to new fields."""
    schema = event.model_json_schema()
    _close(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:phonograph:{event.event_type()}",
    } | schema


def _close(node: Any) -> None:
    if isinstance(node, dict):
        if "properties" in node:
            node["additionalProperties"] = False
        for child in node.values():
            _close(child)
    elif isinstance(node, list):
        for child in node:
            _close(child)


def _topic(topic: Topic) -> str:
    retention = "forever" if topic.retention is None else f"{topic.retention.days} days"
    lines = [
        f"topic: {topic.name}",
        f"description: {json.dumps((topic.event.__doc__ or '').splitlines()[0])}",
        f"event: {topic.event.event_type()}",
        f"schema: ../events/{topic.event.event_type()}.schema.json",
        f"owner: {topic.owner}",
        f"partitions: {topic.partitions}",
        f"retention: {retention}",
        f"dead_letters: {dead_letter_topic(topic.name)}",
        "producers:",
        *[f"  - {name}" for name in topic.producers],
        "consumers:",
        *[f"  - {name}" for name in topic.consumers],
    ]
    return "\n".join(lines) + "\n"


def _asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0: a channel per topic; bodies by reference to the JSON Schemas."""
    channels = {
        topic.name: {
            "address": topic.name,
            "messages": {
                "event": {
                    "name": topic.event.event_type(),
                    "contentType": "application/json",
                    "payload": {"$ref": f"../events/{topic.event.event_type()}.schema.json"},
                }
            },
        }
        for topic in TOPICS.values()
    }
    operations = {}
    for topic in TOPICS.values():
        for action, names in (("send", topic.producers), ("receive", topic.consumers)):
            for name in names:
                operations[f"{name}-{action}-{topic.name}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{topic.name}"},
                    "tags": [{"name": name}],
                }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Phonograph",
            "version": "1.0.0",
            "description": "Events of recorded media on Kafka.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    """Write the files and remove those that no event stands for any more."""
    files = generate()
    for path in folder.rglob("*"):
        if path.is_file() and str(path.relative_to(folder)) not in files:
            path.unlink()
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
