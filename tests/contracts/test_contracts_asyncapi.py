"""The AsyncAPI documents are valid for the parser of AsyncAPI, which runs in Node and reads the files."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from phonograph_events import TOPICS, Service, dead_letter_topic
from phonograph_events.envelope import DEAD_LETTER_HEADERS, HEADERS

ROOT = Path(__file__).parents[2]
PARSER = "@asyncapi/parser@3.6.3"
FOLDER = ROOT / ".phonograph/node"
ERROR, WARNING = 0, 1


@pytest.fixture(scope="module")
def parsed_documents() -> dict[str, Any]:
    """Return the parser's output for each document, by the name of the document."""
    if shutil.which("node") is None or (npm := shutil.which("npm")) is None:
        pytest.skip("Node and npm are not installed; the AsyncAPI parser is an npm package")
    if not (FOLDER / "node_modules/@asyncapi/parser").is_dir():
        FOLDER.mkdir(parents=True, exist_ok=True)
        options = ["--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
        command = [npm, "install", *options, "--prefix", str(FOLDER), PARSER]
        install = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
        if install.returncode:
            pytest.skip(f"npm could not install {PARSER}: {install.stderr.strip()[-300:]}")
    run = subprocess.run(
        ["node", Path(__file__).with_name("asyncapi.cjs"), *sorted(ROOT.glob("schemas/asyncapi/*.json"))],
        env=os.environ | {"NODE_PATH": str(FOLDER / "node_modules")},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    documents = map(json.loads, run.stdout.splitlines())
    return {Path(document["path"]).stem: document for document in documents}


def test_every_document_is_valid(parsed_documents: dict[str, Any]) -> None:
    assert set(parsed_documents) == {"phonograph", *Service}
    for name, document in parsed_documents.items():
        problems = [each for each in document["diagnostics"] if each["severity"] in {ERROR, WARNING}]
        assert problems == [], name


@pytest.mark.parametrize("service", sorted(Service))
def test_document_of_a_service_has_all_its_operations(
    parsed_documents: dict[str, Any], service: Service
) -> None:
    expected = {
        f"{service}-{verb}-{name}"
        for topic in TOPICS.values()
        for verb, name, services in (
            ("sends", topic.name, topic.producers),
            ("receives", topic.name, topic.consumers),
            ("sends", dead_letter_topic(topic.name), topic.consumers),
        )
        if service.value in services
    }
    assert set(parsed_documents[service]["operations"]) == expected


def test_references_lead_to_fields_and_headers_of_messages(parsed_documents: dict[str, Any]) -> None:
    messages = {message["name"]: message for message in parsed_documents["phonograph"]["messages"]}
    for topic in TOPICS.values():
        message = messages[topic.event.event_type()]
        assert set(message["fields"]) == set(topic.event.model_fields)
        assert set(message["headers"]) == set(HEADERS)
        assert message["correlation"] == "$message.header#/ce_correlationid"
    assert set(messages["dead-letter"]["headers"]) == set(DEAD_LETTER_HEADERS)
