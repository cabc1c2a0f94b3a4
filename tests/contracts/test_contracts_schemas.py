"""The published contract: the files under schemas/ are the ones that the models generate."""

import json
import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from phonograph_events import EVENTS, TOPICS, Event, parse
from phonograph_events.docs_page import render_page
from phonograph_events.examples import EXAMPLES, example_envelope
from phonograph_events.schemas import HANDWRITTEN, generate_files

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "schemas"


def test_schemas_folder_matches_the_models() -> None:
    committed = {
        name: path.read_text(encoding="utf-8")
        for path in SCHEMAS.rglob("*")
        if path.is_file() and not (name := str(path.relative_to(SCHEMAS))).startswith("history/")
    }
    handwritten = {name: committed[name] for name in HANDWRITTEN}
    assert committed == generate_files() | handwritten, (
        "schemas/ does not match the models: run `make schemas`"
    )


def test_events_page_matches_the_models() -> None:
    committed = (ROOT / "docs/events.md").read_text(encoding="utf-8")
    assert committed == render_page(), "docs/events.md does not match the models: run `make schemas`"


def test_events_page_and_guides_link_to_existing_files() -> None:
    for document in (ROOT / "docs/events.md", ROOT / "docs/producing-events.md", SCHEMAS / "README.md"):
        for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_event_has_one_example() -> None:
    assert sorted(event.event_type() for event in EXAMPLES) == sorted(EVENTS)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.TOPIC)
def test_example_is_unchanged_after_serialization(event: Event) -> None:
    envelope = example_envelope(event)
    record = envelope.to_record()
    assert parse(record.value, record.headers) == envelope


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("examples/*/*/*.json")), ids=lambda path: path.parts[-3])
def test_committed_example_parses_and_matches_its_schema(path: Path) -> None:
    example = json.loads(path.read_text(encoding="utf-8"))
    headers = [(name, value.encode()) for name, value in example["headers"].items()]
    envelope = parse(json.dumps(example["body"]).encode(), headers)
    schema = json.loads((SCHEMAS / f"events/{envelope.type}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(example["body"])
    headers_schema = json.loads((SCHEMAS / "headers.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(headers_schema).validate(example["headers"])


@pytest.mark.parametrize("name", sorted(TOPICS))
def test_topic_file_matches_the_topic(name: str) -> None:
    topic = yaml.safe_load((SCHEMAS / f"topics/{name}.yaml").read_text(encoding="utf-8"))
    assert topic["topic"] == name
    config, dead_letter_config = TOPICS[name].configs
    assert (topic["partitions"], topic["cleanup"], topic["max_message_bytes"]) == (
        config.partitions,
        config.cleanup,
        config.max_message_bytes,
    )
    assert (topic["dead_letters"], topic["dead_letter_partitions"]) == (
        dead_letter_config.name,
        dead_letter_config.partitions,
    )
    assert topic["key"] in TOPICS[name].event.model_fields
    assert {"event", "schema", "retention", "owner", "producers", "consumers"} <= topic.keys()


def test_reader_accepts_fields_and_values_of_later_versions() -> None:
    record = example_envelope(EXAMPLES[0]).to_record()
    body = json.loads(record.value) | {"profile": "podcast", "added_later": 1}
    envelope = parse(json.dumps(body).encode(), record.headers)
    assert envelope.data.profile == "podcast"
