"""Mistyped names, missing topics and unavailable servers end a command with a sentence and an exit code."""

from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from tests.support.stack import ROOT, Stack
from tests.support.system import run_command

from phonograph_cli.project import Project


@pytest.mark.parametrize(("kind", "option"), [("service", "--service"), ("status", "--status")])
async def test_mistyped_name_is_an_error_and_not_an_empty_list_of_jobs(
    stack: Stack, kind: str, option: str
) -> None:
    answer = await run_command(stack.project, "jobs", "list", option, "analisys")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"There is no {kind} 'analisys'; there are: ")


async def test_missing_topic_is_named_with_the_command_that_creates_it(stack: Stack) -> None:
    servers, topic = stack.addresses.kafka_bootstrap_servers, "rename-proposed-dlq"
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        answer = await run_command(stack.project, "dlq", "list")
        assert (answer.code, answer.err) == (
            3,
            f"Kafka has no topic {topic}. Create it with: phonograph migrate\n",
        )
        assert (await run_command(stack.project, "migrate")).code == 0
        assert (await run_command(stack.project, "dlq", "list")).code == 0
    finally:
        await admin.close()


@pytest.mark.parametrize(
    "command",
    [
        "up",
        "migrate",
        "status",
        "show x",
        "export x --format md",
        "search x",
        "score x README.md",
        "enhance x",
        "ingest /a.mp3",
        "ingest /a.mp3 --wait",
        "events all",
        "jobs list",
        "jobs retry x",
        "people list",
        "people forget x --yes",
        "speakers list",
        "speakers name x S1 Ann",
        "dlq list",
        "dlq show x",
        "dlq replay --all",
        "topics check",
        "graph check",
        "graph rebuild",
        "replay media-ready --from beginning",
    ],
)
async def test_unavailable_servers_are_reported_in_one_line(
    tmp_path: Path, unused_tcp_port: int, command: str
) -> None:
    nowhere = f"127.0.0.1:{unused_tcp_port}"
    environment = {
        "PHONOGRAPH_HOME": str(tmp_path),
        "PHONOGRAPH_STACK": "external",
        "PHONOGRAPH_POSTGRES_URL": f"postgresql://a:b@{nowhere}/c",
        "PHONOGRAPH_KAFKA": nowhere,
        "PHONOGRAPH_NEO4J_URI": f"bolt://{nowhere}",
        "PHONOGRAPH_NEO4J_USER": "a",
        "PHONOGRAPH_NEO4J_PASSWORD": "b",
    }
    answer = await run_command(Project(ROOT, environment), *command.split())
    assert answer.code == 3, answer.err
    assert command == "status" or answer.err.count("\n") == 1


@pytest.mark.parametrize("command", ["up", "down", "status", "migrate", "dlq list", "show x"])
async def test_home_that_is_not_a_folder_is_reported_in_one_line(tmp_path: Path, command: str) -> None:
    home = tmp_path / "file"
    home.touch()
    answer = await run_command(Project(ROOT, {"PHONOGRAPH_HOME": str(home)}), *command.split())
    assert (answer.code, answer.out) == (3, "")
    assert "Not a directory" in answer.err
    assert answer.err.count("\n") == 1


async def test_export_to_a_missing_folder_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_recording(_wanted: str, _version: object) -> dict[str, Any]:
        return {}

    monkeypatch.setattr("phonograph_cli.commands.recordings.read_recording", read_recording)
    monkeypatch.setattr("phonograph_cli.export_formats.export", lambda _recording, _format: "text")
    output = tmp_path / "missing" / "file.txt"
    project = Project(ROOT, {"PHONOGRAPH_HOME": str(tmp_path)})
    answer = await run_command(project, "export", "x", "--format", "txt", "-o", str(output))
    assert (answer.code, answer.err) == (2, f"{output} cannot be written: No such file or directory.\n")


@pytest.mark.parametrize("track", ["0", "-1", "first", "1.5"])
async def test_track_that_is_no_number_is_refused_before_anything_is_sent(tmp_path: Path, track: str) -> None:
    project = Project(ROOT, {"PHONOGRAPH_HOME": str(tmp_path)})
    answer = await run_command(project, "ingest", "/a.mp3", f"--track={track}")
    assert answer.code == 2
    assert "number of a track, from 1, or all" in answer.err
