"""Generator of `schemas/` (topics, JSON Schemas with history, examples, AsyncAPI) and of `docs/events.md`.

Run as `python -m phonograph_events.schemas FOLDER PAGE`.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from phonograph_events.asyncapi import build_asyncapi
from phonograph_events.docs_page import render_page
from phonograph_events.documents import Document
from phonograph_events.enums import Service
from phonograph_events.envelope import DEAD_LETTER_HEADERS, HEADERS, TARGET_HEADER
from phonograph_events.examples import EXAMPLES, example_envelope
from phonograph_events.payloads import Event, Result
from phonograph_events.topics import DEAD_LETTER_RETENTION, EVENTS, TOPICS, Topic

DIALECT = "https://json-schema.org/draft/2020-12/schema"
HANDWRITTEN: Final = frozenset({"README.md"})
PROSE_KEYS: Final = frozenset({"title", "description", "$id", "$schema"})

DOCUMENTS: Final[dict[str, type[Document]]] = {
    topic.event.DOCUMENT.document_type(): topic.event.DOCUMENT
    for topic in TOPICS.values()
    if issubclass(topic.event, Result)
}
CONTRACTS: Final[dict[str, type[BaseModel]]] = {**EVENTS, **DOCUMENTS}
"""Every model whose shape is published, by its type."""


def generate_files() -> dict[str, str]:
    """Return the text of every generated file except the history, by its path below `schemas/`."""
    files: dict[str, str] = {
        "headers.schema.json": _to_json(_headers_schema()),
        "dead-letter-headers.schema.json": _to_json(_dead_letter_headers_schema()),
        "asyncapi/phonograph.json": _to_json(build_asyncapi()),
    }
    for topic in TOPICS.values():
        files[f"topics/{topic.name}.yaml"] = _topic_file(topic)
        files[f"events/{topic.event.event_type()}.schema.json"] = _to_json(writer_schema(topic.event))
    for name, document in DOCUMENTS.items():
        files[f"documents/{name}.schema.json"] = _to_json(writer_schema(document))
    for event in EXAMPLES:
        folder = f"examples/{event.event_type().rpartition('.')[0]}/v{event.VERSION}"
        files[f"{folder}/example.json"] = _example_file(event)
    for service in Service:
        files[f"asyncapi/{service}.json"] = _to_json(build_asyncapi(service))
    return files


def writer_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema for writers, without unknown fields; readers accept and ignore those."""
    schema = model.model_json_schema()
    _forbid_unknown_fields(schema)
    return {"$schema": DIALECT, "$id": f"urn:phonograph:{contract_type(model)}"} | schema


def contract_type(model: type[BaseModel]) -> str:
    """Return the type under which the shape of a model is published."""
    return next(name for name, each in CONTRACTS.items() if each is model)


def without_prose(schema: Any) -> Any:
    """Return a schema without titles and descriptions, to compare the shapes of two versions."""
    match schema:
        case dict():
            return {
                name: {field: without_prose(each) for field, each in value.items()}
                if name in {"properties", "$defs"}
                else without_prose(value)
                for name, value in schema.items()
                if name not in PROSE_KEYS
            }
        case list():
            return [without_prose(each) for each in schema]
        case _:
            return schema


def _forbid_unknown_fields(node: Any) -> None:
    if isinstance(node, dict):
        if "properties" in node:
            node["additionalProperties"] = False
        for child in node.values():
            _forbid_unknown_fields(child)
    elif isinstance(node, list):
        for child in node:
            _forbid_unknown_fields(child)


def _headers_schema() -> dict[str, Any]:
    constraints: dict[str, dict[str, Any]] = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"minLength": 1, "maxLength": 200},
        "ce_source": {"minLength": 1, "maxLength": 200},
        "ce_type": {"minLength": 1},
        "ce_time": {"format": "date-time"},
        "ce_correlationid": {"maxLength": 200},
        "ce_causationid": {"maxLength": 200},
        "ce_aggregateversion": {"pattern": "^[1-9][0-9]*$"},
    }
    return {
        "$schema": DIALECT,
        "$id": "urn:phonograph:headers",
        "title": "Headers",
        "description": "Headers of every event: CloudEvents 1.0 in Kafka binary mode, each value UTF-8 text. "
        "Other headers may be present: ignore them.",
        "type": "object",
        "properties": {
            name: {"type": "string", "description": text} | constraints.get(name, {})
            for name, text in HEADERS.items()
        },
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type"],
    }


def _dead_letter_headers_schema() -> dict[str, Any]:
    constraints: dict[str, dict[str, Any]] = {
        "phonograph-dead-letter": {"format": "uuid"},
        "phonograph-resolution": {"examples": ["replayed", "dropped"]},
    }
    return {
        "$schema": DIALECT,
        "$id": "urn:phonograph:dead-letter-headers",
        "title": "DeadLetterHeaders",
        "description": "Headers of a record on a dead-letter topic, in addition to its own headers.",
        "type": "object",
        "properties": {
            name: {"type": "string", "description": text} | constraints.get(name, {})
            for name, text in DEAD_LETTER_HEADERS.items()
        },
        "required": ["phonograph-dead-letter", "phonograph-service"],
        "not": {"required": [TARGET_HEADER]},
    }


def _topic_file(topic: Topic) -> str:
    config, dead_letter_config = topic.configs
    retention = "forever" if config.retention is None else f"{config.retention.days} days"
    lines = [
        f"topic: {config.name}",
        f"description: {json.dumps((topic.event.__doc__ or '').splitlines()[0])}",
        f"event: {topic.event.event_type()}",
        f"schema: ../events/{topic.event.event_type()}.schema.json",
        f"owner: {topic.owner}",
        f"key: {topic.event.KEY}",
        f"partitions: {config.partitions}",
        f"cleanup: {config.cleanup}",
        f"retention: {retention}",
        f"max_message_bytes: {config.max_message_bytes}",
        f"dead_letters: {dead_letter_config.name}",
        f"dead_letter_partitions: {dead_letter_config.partitions}",
        f"dead_letter_retention: {DEAD_LETTER_RETENTION.days} days",
        "producers:",
        *[f"  - {name}" for name in topic.producers],
        "consumers:",
        *[f"  - {name}" for name in topic.consumers],
    ]
    return "\n".join(lines) + "\n"


def _example_file(event: Event) -> str:
    record = example_envelope(event).to_record()
    return _to_json(
        {
            "key": (record.key or b"").decode(),
            "headers": {name: (value or b"").decode() for name, value in record.headers},
            "body": json.loads(record.value or b""),
        }
    )


def _to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_files(folder: Path) -> list[str]:
    """Write all files below `folder`, remove obsolete ones and return the paths added to the history.

    The history keeps each shape that a type ever had, with an example: `history/TYPE/MINOR.schema.json`.
    Files are only added to it, never changed.
    """
    files = generate_files()
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_file() and name not in {*files, *HANDWRITTEN} and not name.startswith("history/"):
            path.unlink()
    added = _new_history_files(folder)
    for name, content in (files | added).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
    return sorted(added)


def _new_history_files(folder: Path) -> dict[str, str]:
    files: dict[str, str] = {}
    examples = {event.event_type(): event for event in EXAMPLES}
    for name, model in CONTRACTS.items():
        versions = sorted((folder / "history" / name).glob("*.schema.json"), key=minor_version)
        current = writer_schema(model)
        latest = json.loads(versions[-1].read_text(encoding="utf-8")) if versions else None
        if latest and without_prose(latest) == without_prose(current):
            continue
        number = minor_version(versions[-1]) + 1 if versions else 0
        files[f"history/{name}/{number}.schema.json"] = _to_json(current)
        if name in examples:
            files[f"history/{name}/{number}.example.json"] = _example_file(examples[name])
    return files


def minor_version(path: Path) -> int:
    """Return the minor version of a file of the history."""
    return int(path.name.partition(".")[0])


if __name__ == "__main__":
    for name in write_files(Path(sys.argv[1])):
        sys.stdout.write(f"new shape: {name}\n")
    Path(sys.argv[2]).write_text(render_page(), encoding="utf-8")
