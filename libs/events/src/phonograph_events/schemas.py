"""Writes `schemas/`: topics, JSON Schemas with their history, examples, AsyncAPI; and the page of all events.

Run as `python -m phonograph_events.schemas FOLDER PAGE`.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from phonograph_events.asyncapi import asyncapi
from phonograph_events.docs_page import render_page
from phonograph_events.documents import Document
from phonograph_events.enums import Service
from phonograph_events.envelope import DEAD_LETTER_HEADERS, HEADERS, TARGET_HEADER
from phonograph_events.examples import EXAMPLES, example_envelope
from phonograph_events.payloads import Event, Result
from phonograph_events.topics import DEAD_LETTER_RETENTION, EVENTS, TOPICS, Topic

DIALECT = "https://json-schema.org/draft/2020-12/schema"
BY_HAND: Final = frozenset({"README.md"})
WORDING: Final = frozenset({"title", "description", "$id", "$schema"})

DOCUMENTS: Final[dict[str, type[Document]]] = {
    topic.event.DOCUMENT.document_type(): topic.event.DOCUMENT
    for topic in TOPICS.values()
    if issubclass(topic.event, Result)
}
CONTRACTS: Final[dict[str, type[BaseModel]]] = {**EVENTS, **DOCUMENTS}
"""Everything whose shape is promised, by its type."""


def generate() -> dict[str, str]:
    """Every file below `schemas/` that follows from the code of today, by its path."""
    files: dict[str, str] = {
        "headers.schema.json": _json(_headers()),
        "dead-letter-headers.schema.json": _json(_dead_letter_headers()),
        "asyncapi/phonograph.json": _json(asyncapi()),
    }
    for topic in TOPICS.values():
        files[f"topics/{topic.name}.yaml"] = _topic(topic)
        files[f"events/{topic.event.event_type()}.schema.json"] = _json(writer_schema(topic.event))
    for name, document in DOCUMENTS.items():
        files[f"documents/{name}.schema.json"] = _json(writer_schema(document))
    for event in EXAMPLES:
        folder = f"examples/{event.event_type().rpartition('.')[0]}/v{event.VERSION}"
        files[f"{folder}/example.json"] = _example(event)
    for service in Service:
        files[f"asyncapi/{service}.json"] = _json(asyncapi(service))
    return files


def writer_schema(model: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema that a writer must keep: closed, while readers stay open to new fields."""
    schema = model.model_json_schema()
    _close(schema)
    return {"$schema": DIALECT, "$id": f"urn:phonograph:{contract_type(model)}"} | schema


def contract_type(model: type[BaseModel]) -> str:
    """The name under which the shape of a model is promised."""
    return next(name for name, each in CONTRACTS.items() if each is model)


def shape(schema: Any) -> Any:
    """A schema without its wording: what two versions are compared by."""
    match schema:
        case dict():
            return {
                name: {field: shape(each) for field, each in value.items()}
                if name in {"properties", "$defs"}
                else shape(value)
                for name, value in schema.items()
                if name not in WORDING
            }
        case list():
            return [shape(each) for each in schema]
        case _:
            return schema


def _close(node: Any) -> None:
    if isinstance(node, dict):
        if "properties" in node:
            node["additionalProperties"] = False
        for child in node.values():
            _close(child)
    elif isinstance(node, list):
        for child in node:
            _close(child)


def _headers() -> dict[str, Any]:
    words: dict[str, dict[str, Any]] = {
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
        "What is not listed here may come too: ignore it.",
        "type": "object",
        "properties": {
            name: {"type": "string", "description": text} | words.get(name, {})
            for name, text in HEADERS.items()
        },
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type"],
    }


def _dead_letter_headers() -> dict[str, Any]:
    words: dict[str, dict[str, Any]] = {
        "phonograph-dead-letter": {"format": "uuid"},
        "phonograph-resolution": {"examples": ["replayed", "dropped"]},
    }
    return {
        "$schema": DIALECT,
        "$id": "urn:phonograph:dead-letter-headers",
        "title": "DeadLetterHeaders",
        "description": "Headers of a record on a topic for dead letters: these beside the record's own.",
        "type": "object",
        "properties": {
            name: {"type": "string", "description": text} | words.get(name, {})
            for name, text in DEAD_LETTER_HEADERS.items()
        },
        "required": ["phonograph-dead-letter", "phonograph-service"],
        "not": {"required": [TARGET_HEADER]},
    }


def _topic(topic: Topic) -> str:
    own, letters = topic.configs
    retention = "forever" if own.retention is None else f"{own.retention.days} days"
    lines = [
        f"topic: {own.name}",
        f"description: {json.dumps((topic.event.__doc__ or '').splitlines()[0])}",
        f"event: {topic.event.event_type()}",
        f"schema: ../events/{topic.event.event_type()}.schema.json",
        f"owner: {topic.owner}",
        f"key: {topic.event.KEY}",
        f"partitions: {own.partitions}",
        f"cleanup: {own.cleanup}",
        f"retention: {retention}",
        f"max_message_bytes: {own.max_message_bytes}",
        f"dead_letters: {letters.name}",
        f"dead_letter_partitions: {letters.partitions}",
        f"dead_letter_retention: {DEAD_LETTER_RETENTION.days} days",
        "producers:",
        *[f"  - {name}" for name in topic.producers],
        "consumers:",
        *[f"  - {name}" for name in topic.consumers],
    ]
    return "\n".join(lines) + "\n"


def _example(event: Event) -> str:
    record = example_envelope(event).to_record()
    return _json(
        {
            "key": (record.key or b"").decode(),
            "headers": {name: (value or b"").decode() for name, value in record.headers},
            "body": json.loads(record.value or b""),
        }
    )


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> list[str]:
    """Write the files and remove those that nothing stands for any more; give the new ones of the history.

    The history keeps each shape that a type ever had, with its example: `history/TYPE/MINOR.schema.json`.
    It is only ever added to.
    """
    files = generate()
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_file() and name not in {*files, *BY_HAND} and not name.startswith("history/"):
            path.unlink()
    added = _new_minors(folder)
    for name, content in (files | added).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
    return sorted(added)


def _new_minors(folder: Path) -> dict[str, str]:
    files: dict[str, str] = {}
    examples = {event.event_type(): event for event in EXAMPLES}
    for name, model in CONTRACTS.items():
        minors = sorted((folder / "history" / name).glob("*.schema.json"), key=minor)
        current = writer_schema(model)
        if minors and shape(json.loads(minors[-1].read_text(encoding="utf-8"))) == shape(current):
            continue
        number = minor(minors[-1]) + 1 if minors else 0
        files[f"history/{name}/{number}.schema.json"] = _json(current)
        if name in examples:
            files[f"history/{name}/{number}.example.json"] = _example(examples[name])
    return files


def minor(path: Path) -> int:
    """The number of a file of the history."""
    return int(path.name.partition(".")[0])


if __name__ == "__main__":
    for name in write(Path(sys.argv[1])):
        sys.stdout.write(f"new shape: {name}\n")
    Path(sys.argv[2]).write_text(render_page(), encoding="utf-8")
