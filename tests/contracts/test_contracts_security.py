"""Servers with TLS and a login: commands and services work, and a refusal is one line with its reason."""

import asyncio
import contextlib
import http.server
import json
import ssl
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import ValidationError
from tests.support.certificates import make_certificates
from tests.support.scratch import ScratchSettings
from tests.support.secure_kafka import MECHANISMS, PASSWORD, USER, SecureKafka, make_token
from tests.support.stack import ROOT, Stack
from tests.support.system import run_command

from phonograph_cli import kafka
from phonograph_cli.project import Project
from phonograph_events import MediaRejected, Service
from phonograph_graph_sync.graph.neo4j import connect
from phonograph_runtime import migrations
from phonograph_runtime.database import Database
from phonograph_runtime.errors import AccessRefusedError
from phonograph_runtime.kafka_access import TokenEndpoint, check_access
from phonograph_runtime.kafka_security import KafkaSecurity
from phonograph_runtime.revisions import check_schema

PREFIX = "PHONOGRAPH_"
ACCESS = (*MECHANISMS, "SCRAM-SHA-512", "mTLS")


def external(stack: Stack, settings: dict[str, str]) -> Project:
    """Return the checkout with the session's PostgreSQL and Neo4j, and with another Kafka."""
    servers = stack.addresses
    environment = dict(stack.project.environment) | {
        "PHONOGRAPH_STACK": "external",
        "PHONOGRAPH_POSTGRES_URL": servers.postgres_url,
        "PHONOGRAPH_NEO4J_URI": servers.neo4j_uri,
        "PHONOGRAPH_NEO4J_USER": servers.neo4j_user,
        "PHONOGRAPH_NEO4J_PASSWORD": servers.neo4j_password,
    }
    return Project(stack.project.root, environment | settings)


@contextlib.contextmanager
def ingest_service(project: Project, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the ingest service with the environment that the command line gives to it."""
    command = [str(Path(sys.executable).parent / "phonograph-ingest")]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=project.service_environment(Service.INGEST), stdout=file, stderr=file
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)


@pytest.mark.parametrize("access", ACCESS)
async def test_commands_and_services_work_with_each_kind_of_access(
    access: str, stack: Stack, secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    project = external(stack, secure_kafka.settings(access))
    prepared = await run_command(project, "migrate")
    assert prepared.code == 0, prepared.err
    checked = await run_command(project, "topics", "check")
    assert checked.code == 0, checked.err
    text = tmp_path / f"{uuid4()}.txt"
    text.write_text("no sound")
    with ingest_service(project, tmp_path / "service.log") as service:
        requested = await run_command(project, "ingest", str(text), "--json")
        assert requested.code == 0, requested.err
        (file,) = requested.json["files"]
        servers = project.stack.addresses().kafka_bootstrap_servers
        async with asyncio.timeout(60), kafka.connect(servers, project.kafka_security) as client:
            tail = await client.tail([MediaRejected.TOPIC], from_beginning=True)
            async for received in tail.events():
                assert service.poll() is None
                if received.envelope.correlationid == file["correlation_id"]:
                    break


def wrong_settings(secure: SecureKafka) -> dict[str, tuple[dict[str, str], str]]:
    """Return settings with one fault each, and what the sentence must contain."""
    scram, plain, mutual = (secure.settings(access) for access in ("SCRAM-SHA-256", "PLAIN", "mTLS"))
    expired = secure.folder / "expired"
    expired.write_text(make_token(USER, life_s=-30))
    missing_token = secure.settings("OAUTHBEARER") | {f"{PREFIX}KAFKA_TOKEN_FILE": "/nowhere/token"}
    without = dict.fromkeys((f"{PREFIX}KAFKA_CERTIFICATE_FILE", f"{PREFIX}KAFKA_KEY_FILE"), "")
    no_login = {f"{PREFIX}KAFKA_SECURITY_PROTOCOL": "SSL", f"{PREFIX}KAFKA_SASL_MECHANISM": ""}
    plaintext = secure.ports["SASL_PLAINTEXT"]
    return {
        "password of SCRAM": (
            scram | {f"{PREFIX}KAFKA_PASSWORD": "wrong"},
            "refuses the login of alice by SCRAM-SHA-256",
        ),
        "password of PLAIN": (
            plain | {f"{PREFIX}KAFKA_PASSWORD": "wrong"},
            "refuses the login of alice by PLAIN",
        ),
        "mechanism": (
            scram | {f"{PREFIX}KAFKA_SASL_MECHANISM": "SCRAM-SHA-512"},
            "does not offer the login by SCRAM-SHA-512",
        ),
        "authority": (scram | {f"{PREFIX}KAFKA_CA_FILE": ""}, "cannot be verified"),
        "no login": (scram | no_login, "closed the connection"),
        "no encryption": (
            {"PHONOGRAPH_KAFKA": scram["PHONOGRAPH_KAFKA"]},
            "Check KAFKA_SECURITY_PROTOCOL, which is PLAINTEXT",
        ),
        "encryption where there is none": (
            scram | {"PHONOGRAPH_KAFKA": f"localhost:{plaintext}"},
            "Check KAFKA_SECURITY_PROTOCOL",
        ),
        "expired token": (
            secure.settings("OAUTHBEARER") | {f"{PREFIX}KAFKA_TOKEN_FILE": str(expired)},
            "refuses the token",
        ),
        "missing token": (missing_token, "the file of the token cannot be read"),
        "no client certificate": (mutual | without, "certificate"),
        "password of the key": (
            mutual | {f"{PREFIX}KAFKA_KEY_PASSWORD": "wrong"},
            "The certificates for Kafka cannot be used",
        ),
        "incomplete": (
            scram | {f"{PREFIX}KAFKA_PASSWORD": ""},
            "kafka_username and kafka_password must be set",
        ),
    }


@pytest.mark.parametrize(
    "fault",
    [
        *("password of SCRAM", "password of PLAIN", "mechanism", "authority", "no login", "no encryption"),
        *("encryption where there is none", "expired token", "missing token", "no client certificate"),
        *("password of the key", "incomplete"),
    ],
)
async def test_refusal_is_one_line_that_names_what_to_correct(
    fault: str, stack: Stack, secure_kafka: SecureKafka, tmp_path: Path
) -> None:
    settings, sentence = wrong_settings(secure_kafka)[fault]
    project = external(stack, settings)
    answer = await run_command(project, "topics", "check")
    assert (answer.code, answer.out) == (3, "")
    assert sentence in answer.err
    assert len(answer.err.splitlines()) == 1
    with ingest_service(project, tmp_path / "service.log") as service:
        assert await asyncio.to_thread(service.wait, 60) == 1
    log = (tmp_path / "service.log").read_text()
    assert sentence in log.splitlines()[-1]
    assert "Traceback" not in log
    assert PASSWORD not in answer.err + log


async def test_server_that_is_down_is_not_a_refusal() -> None:
    await check_access("127.0.0.1:1,127.0.0.1:2", None)


@pytest.mark.parametrize(
    "values",
    [
        {"kafka_security_protocol": "SASL_SSL"},
        {"kafka_sasl_mechanism": "PLAIN", "kafka_username": "a", "kafka_password": "b"},
        {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "OAUTHBEARER"},
        {"kafka_certificate_file": "/c.pem"},
        {"kafka_security_protocol": "TLS"},
        {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": "OAUTHBEARER",
            "kafka_token_url": "http://localhost",
        },
    ],
)
def test_settings_that_contradict_each_other_are_refused(values: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        KafkaSecurity.model_validate(values)


class TokenServer(http.server.BaseHTTPRequestHandler):
    """An OAuth server that knows one client."""

    requests: list[dict[str, list[str]]]

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.requests.append(urllib.parse.parse_qs(form))
        is_known = self.headers["Authorization"] == "Basic Y2xpZW50OnNlY3JldA=="  # client:secret
        self.send_response(200 if is_known else 401)
        self.end_headers()
        token = make_token(USER, life_s=3600)
        self.wfile.write(json.dumps({"access_token": token, "expires_in": 3600}).encode())

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def token_url() -> Iterator[str]:
    TokenServer.requests = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), TokenServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()


async def test_token_of_an_oauth_server_is_requested_once_and_accepted(
    stack: Stack, secure_kafka: SecureKafka, token_url: str
) -> None:
    client = {
        f"{PREFIX}KAFKA_TOKEN_FILE": "",
        f"{PREFIX}KAFKA_TOKEN_URL": token_url,
        f"{PREFIX}KAFKA_CLIENT_ID": "client",
        f"{PREFIX}KAFKA_CLIENT_SECRET": "secret",
        f"{PREFIX}KAFKA_TOKEN_SCOPE": "kafka",
    }
    settings = secure_kafka.settings("OAUTHBEARER") | client
    answer = await run_command(external(stack, settings), "dlq", "list")
    assert answer.code in {0, 3}, answer.err
    assert "refuses" not in answer.err
    assert TokenServer.requests[0] == {"grant_type": ["client_credentials"], "scope": ["kafka"]}
    provider = TokenEndpoint(token_url, client_id="client", client_secret="secret", scope=None)
    before = len(TokenServer.requests)
    tokens = await asyncio.gather(*(provider.token() for _ in range(5)))
    assert (len(set(tokens)), len(TokenServer.requests)) == (1, before + 1)
    wrong = external(stack, settings | {f"{PREFIX}KAFKA_CLIENT_SECRET": "wrong"})
    refused = await run_command(wrong, "dlq", "list")
    assert (refused.code, f"{token_url} returned no token" in refused.err) == (3, True)


async def test_wrong_login_of_postgresql_is_one_line(stack: Stack, tmp_path: Path) -> None:
    project = external(stack, {"PHONOGRAPH_KAFKA": stack.addresses.kafka_bootstrap_servers})
    environment = project.service_environment(Service.INGEST)
    url = environment["INGEST_DATABASE_URL"]
    environment["INGEST_DATABASE_URL"] = url.replace(url.split(":")[2].split("@")[0], "wrong")
    command = Path(sys.executable).parent / "phonograph-ingest"
    ended = await asyncio.to_thread(
        subprocess.run, [command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "refuses the login of ingest" in line
    assert "wrong" not in line


async def test_certificate_that_is_missing_is_named() -> None:
    security = KafkaSecurity(kafka_security_protocol="SSL", kafka_ca_file=Path("/nowhere/ca.pem"))
    with pytest.raises(AccessRefusedError, match=r"/nowhere/ca\.pem"):
        await check_access("localhost:1", security)


@contextlib.asynccontextmanager
async def tls_in_front(port: int, certificate: Path, *, asks_first: bool) -> AsyncIterator[int]:
    """Yield the port of a server that decrypts and passes on to another port.

    Args:
        port: Port of the server without TLS.
        certificate: Certificate and key of the server.
        asks_first: Whether a client asks for TLS first, as those of PostgreSQL do.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if asks_first:
                await reader.readexactly(8)
                writer.write(b"S")
                await writer.start_tls(context)
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=None if asks_first else context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_postgresql_is_reached_with_tls(stack: Stack, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    url = stack.database_url(Service.INGEST)
    address = urllib.parse.urlsplit(url)
    assert address.port is not None
    async with tls_in_front(address.port, certificates.server, asks_first=True) as port:
        encrypted = url.replace(f"127.0.0.1:{address.port}", f"localhost:{port}")
        verified = f"{encrypted}?sslmode=verify-full&sslrootcert={certificates.ca}"
        await check_schema(verified, ROOT / "migrations" / "ingest")
        await asyncio.to_thread(migrations.upgrade, verified, ROOT / "migrations" / "ingest")
        settings = ScratchSettings(**stack.settings(Service.INGEST, tmp_path) | {"database_url": verified})
        database = Database(settings, source="ingest")
        try:
            async with database.transaction() as transaction:
                (row,) = await transaction.fetch("SELECT current_user AS name")
        finally:
            await database.aclose()
        assert row["name"] == "ingest"
        unknown = f"{encrypted}?sslmode=verify-full&sslrootcert={make_certificates(tmp_path / 'other').ca}"
        with pytest.raises(AccessRefusedError, match="Check sslmode and sslrootcert"):
            await check_schema(unknown, ROOT / "migrations" / "ingest")


def test_services_use_the_tls_parameters_of_the_administrator(stack: Stack) -> None:
    project = external(
        stack,
        {
            "PHONOGRAPH_KAFKA": "kafka.example:9092",
            "PHONOGRAPH_POSTGRES_URL": "postgresql://root:x@db.example/p?sslmode=verify-full",
        },
    )
    assert project.database_url(Service.INGEST).endswith("@db.example/p?sslmode=verify-full")


async def test_neo4j_is_reached_with_tls_and_an_authority_of_its_own(stack: Stack, tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    plain = urllib.parse.urlsplit(stack.addresses.neo4j_uri).port
    assert plain is not None
    async with tls_in_front(plain, certificates.server, asks_first=False) as port:
        settings = {
            "PHONOGRAPH_KAFKA": stack.addresses.kafka_bootstrap_servers,
            "PHONOGRAPH_NEO4J_URI": f"bolt+s://localhost:{port}",
        }
        known = settings | {"PHONOGRAPH_NEO4J_CA_FILE": str(certificates.ca)}
        listed = await run_command(external(stack, known), "jobs", "list", "--json")
        assert listed.code == 0, listed.err
        refused = await run_command(external(stack, settings), "jobs", "list", "--json")
        assert (refused.code, len(refused.err.splitlines())) == (3, 1)
        environment = external(stack, known).service_environment(Service.GRAPH_SYNC)
        assert environment["GRAPH_SYNC_NEO4J_CA_FILE"] == str(certificates.ca)
        graph = connect(environment["GRAPH_SYNC_NEO4J_URI"], None, certificates.ca)
        async with graph:
            await graph.verify_connectivity()
