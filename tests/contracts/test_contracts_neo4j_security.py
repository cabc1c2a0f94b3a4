"""Neo4j with TLS, routing and a login: commands and graph-sync work, and a refusal is one clear line."""

import asyncio
import contextlib
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from neo4j import AsyncGraphDatabase
from tests.support.certificates import make_certificates
from tests.support.secure_neo4j import PASSWORD, USER, SecureNeo4j
from tests.support.stack import Stack
from tests.support.system import run_command

from phonograph_cli.project import Project
from phonograph_events import JobSummary, MediaRejected, Service
from phonograph_graph_sync.config import Settings
from phonograph_graph_sync.factory import ProcessContext
from phonograph_runtime.errors import AccessRefusedError
from phonograph_runtime.neo4j_access import driver_options

PREFIX = "PHONOGRAPH_"
SCHEMES = ("bolt+s", "neo4j+s", "bolt+ssc", "neo4j+ssc")
START_TIMEOUT_S = 60


def external(stack: Stack, settings: dict[str, str]) -> Project:
    """Return the checkout with the session's PostgreSQL and Kafka, and with another Neo4j."""
    servers = stack.addresses
    environment = dict(stack.project.environment) | {
        "PHONOGRAPH_STACK": "external",
        "PHONOGRAPH_POSTGRES_URL": servers.postgres_url,
        "PHONOGRAPH_KAFKA": servers.kafka_bootstrap_servers,
    }
    return Project(stack.project.root, environment | settings)


def probe(port: int, path: str) -> tuple[int, str]:
    """Return the status and the body of a probe; 0 if nothing answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


async def wait_for(port: int, is_expected: Callable[[int, str], bool]) -> tuple[int, str]:
    """Return the first answer of the readiness probe that is expected."""
    async with asyncio.timeout(START_TIMEOUT_S):
        while not is_expected(*(answer := await asyncio.to_thread(probe, port, "/health/ready"))):
            await asyncio.sleep(0.2)
    return answer


@contextlib.contextmanager
def graph_sync(project: Project, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run graph-sync with the environment that the command line gives to it, on a graph of its own."""
    environment = project.service_environment(Service.GRAPH_SYNC) | {"GRAPH_SYNC_HTTP_PORT": str(port)}
    command = [str(Path(sys.executable).parent / "phonograph-graph-sync")]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


async def forget_offsets(stack: Stack, folder: Path) -> None:
    """Delete what graph-sync has written to another graph; it would ask for a rebuild."""
    context = ProcessContext.create(Settings(**stack.settings(Service.GRAPH_SYNC, folder)))
    await context.clear_offsets()
    await context.aclose()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_commands_work_with_each_kind_of_encryption(
    scheme: str, stack: Stack, secure_neo4j: SecureNeo4j
) -> None:
    listed = await run_command(external(stack, secure_neo4j.settings(scheme)), "jobs", "list", "--json")
    assert listed.code == 0, listed.err


@pytest.mark.parametrize("scheme", ["neo4j+s", "bolt+s"])
async def test_events_reach_a_graph_with_tls_and_routing(
    scheme: str, stack: Stack, secure_neo4j: SecureNeo4j, tmp_path: Path, unused_tcp_port: int
) -> None:
    await forget_offsets(stack, tmp_path)
    settings = secure_neo4j.settings(scheme)
    name = f"{uuid4()}.mp3"
    rejected = MediaRejected(
        media_id=uuid4(),
        uri=f"file:///music/{name}",
        file_name=name,
        reason="empty",
        message="The file is empty.",
        job=JobSummary(job_id=uuid4(), service="ingest", engine="ingest", seconds=0.1),
    )
    with graph_sync(external(stack, settings), unused_tcp_port, tmp_path / "log"):
        await wait_for(unused_tcp_port, lambda status, _: status == 200)
        await stack.publish(rejected, source="ingest")
        uri, options = driver_options(settings["PHONOGRAPH_NEO4J_URI"], secure_neo4j.certificates.ca)
        async with AsyncGraphDatabase.driver(uri, auth=(USER, PASSWORD), **options) as driver:
            query = "MATCH (n) WHERE n.file_name = $name RETURN count(n) AS found"
            async with asyncio.timeout(START_TIMEOUT_S):
                while (await driver.execute_query(query, name=name)).records[0]["found"] == 0:
                    await asyncio.sleep(0.2)
    await forget_offsets(stack, tmp_path)


def wrong_settings(secure: SecureNeo4j, folder: Path) -> dict[str, tuple[dict[str, str], str]]:
    """Return settings with one fault each, and what the sentence must contain."""
    routed, direct = secure.settings("neo4j+s"), secure.settings("bolt+s")
    password = {f"{PREFIX}NEO4J_PASSWORD": "wrong"}
    other = {f"{PREFIX}NEO4J_CA_FILE": str(make_certificates(folder / "other").ca)}
    unverified = "has a certificate that cannot be verified"
    return {
        "password": (direct | password, "refuses the login"),
        "password, routed": (routed | password, "refuses the login"),
        "authority": (direct | other, unverified),
        "authority, routed": (routed | other, unverified),
        "authority of the system": (routed | {f"{PREFIX}NEO4J_CA_FILE": ""}, unverified),
        "no encryption": (secure.settings("bolt"), "If it requires TLS"),
        "no encryption, routed": (secure.settings("neo4j"), "If it requires TLS"),
    }


@pytest.mark.parametrize(
    "fault",
    [
        *("password", "password, routed", "authority", "authority, routed", "authority of the system"),
        *("no encryption", "no encryption, routed"),
    ],
)
async def test_refusal_is_one_line_and_the_service_is_alive_but_not_ready(
    fault: str, stack: Stack, secure_neo4j: SecureNeo4j, tmp_path: Path, unused_tcp_port: int
) -> None:
    settings, sentence = wrong_settings(secure_neo4j, tmp_path)[fault]
    project = external(stack, settings)
    answer = await run_command(project, "jobs", "list")
    assert (answer.code, answer.out) == (3, "")
    assert sentence in answer.err
    assert len(answer.err.splitlines()) == 1
    with graph_sync(project, unused_tcp_port, tmp_path / "log") as service:
        status, reason = await wait_for(unused_tcp_port, lambda _, body: "Neo4j" in body)
        assert (status, len(reason.splitlines())) == (503, 1)
        assert reason.startswith("Neo4j is unavailable: ")
        assert sentence in reason
        assert probe(unused_tcp_port, "/health/live")[0] == 200
        assert service.poll() is None
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert PASSWORD not in answer.err + log + reason


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({f"{PREFIX}NEO4J_URI": "https://localhost:7687"}, "it must begin with one of"),
        ({f"{PREFIX}NEO4J_CA_FILE": "/nowhere/ca.pem"}, "/nowhere/ca.pem cannot be read"),
    ],
)
async def test_setting_that_can_never_work_ends_the_service_with_one_line(
    changes: dict[str, str],
    sentence: str,
    stack: Stack,
    secure_neo4j: SecureNeo4j,
    tmp_path: Path,
    unused_tcp_port: int,
) -> None:
    project = external(stack, secure_neo4j.settings("bolt+s") | changes)
    answer = await run_command(project, "jobs", "list")
    assert (answer.code, sentence in answer.err) == (3, True)
    with graph_sync(project, unused_tcp_port, tmp_path / "log") as service:
        assert await asyncio.to_thread(service.wait, 60) == 1
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert sentence in line


def test_unknown_scheme_is_refused() -> None:
    with pytest.raises(AccessRefusedError, match="bolt, bolt"):
        driver_options("http://localhost:7474", None)
