"""The AsyncAPI documents as others see them: read by AsyncAPI's own parser, in node, from the file system."""

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
def parsed() -> dict[str, Any]:
    """What the parser made of each document, by the document's name."""
    if shutil.which("node") is None or (npm := shutil.which("npm")) is None:
        pytest.skip("node and npm are not there: AsyncAPI's parser is a package of npm")
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


def test_every_document_is_valid(parsed: dict[str, Any]) -> None:
    assert set(parsed) == {"phonograph", *Service}
    for name, document in parsed.items():
        wrong = [each for each in document["diagnostics"] if each["severity"] in {ERROR, WARNING}]
        assert wrong == [], name


@pytest.mark.parametrize("service", sorted(Service))
def test_document_of_a_service_has_all_that_it_does(parsed: dict[str, Any], service: Service) -> None:
    done = {
        f"{service}-{verb}-{name}"
        for topic in TOPICS.values()
        for verb, name, who in (
            ("sends", topic.name, topic.producers),
            ("receives", topic.name, topic.consumers),
            ("sends", dead_letter_topic(topic.name), topic.consumers),
        )
        if service.value in who
    }
    assert set(parsed[service]["operations"]) == done


def test_messages_have_their_fields_and_headers_through_the_references(parsed: dict[str, Any]) -> None:
    messages = {message["name"]: message for message in parsed["phonograph"]["messages"]}
    for topic in TOPICS.values():
        message = messages[topic.event.event_type()]
        assert set(message["fields"]) == set(topic.event.model_fields)
        assert set(message["headers"]) == set(HEADERS)
        assert message["correlation"] == "$message.header#/ce_correlationid"
    assert set(messages["dead-letter"]["headers"]) == set(DEAD_LETTER_HEADERS)
