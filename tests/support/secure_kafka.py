"""A Kafka server with TLS, every login and mutual TLS, next to the session's stack.

Fixture:
    secure_kafka: `SecureKafka`; `secure_kafka.settings(...)` are the environment of a command.
"""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.certificates import Certificates, make_certificates
from tests.support.stack import ROOT

from phonograph_devstack.jars import ensure_jars
from phonograph_devstack.java import StartupCache
from phonograph_devstack.kafka import Kafka, SecureListeners
from phonograph_devstack.supervisor import Supervisor

USER = "alice"
PASSWORD = "correct-horse"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "OAUTHBEARER")
"""SCRAM-SHA-512 has a listener of its own, without TLS."""
START_TIMEOUT_S = 90
_LOGIN_MODULES = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class SecureKafka:
    """The addresses of a running server, and what its clients need."""

    ports: dict[str, int]
    certificates: Certificates
    folder: Path

    def settings(self, mechanism: str) -> dict[str, str]:
        """Return the variables with which a command logs in by a mechanism, or by `mTLS`."""
        ca = {"PHONOGRAPH_KAFKA_CA_FILE": str(self.certificates.ca)}
        password = {
            "PHONOGRAPH_KAFKA_SASL_MECHANISM": mechanism,
            "PHONOGRAPH_KAFKA_USERNAME": USER,
            "PHONOGRAPH_KAFKA_PASSWORD": PASSWORD,
        }
        match mechanism:
            case "mTLS":
                found = ca | {
                    "PHONOGRAPH_KAFKA_SECURITY_PROTOCOL": "SSL",
                    "PHONOGRAPH_KAFKA_CERTIFICATE_FILE": str(self.certificates.client_certificate),
                    "PHONOGRAPH_KAFKA_KEY_FILE": str(self.certificates.client_key),
                    "PHONOGRAPH_KAFKA_KEY_PASSWORD": self.certificates.key_password,
                }
            case "OAUTHBEARER":
                token = self.folder / "token"
                token.write_text(make_token(USER, life_s=3600))
                found = ca | {
                    "PHONOGRAPH_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                    "PHONOGRAPH_KAFKA_SASL_MECHANISM": mechanism,
                    "PHONOGRAPH_KAFKA_TOKEN_FILE": str(token),
                }
            case "SCRAM-SHA-512":
                found = password | {"PHONOGRAPH_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}
            case _:
                found = password | ca | {"PHONOGRAPH_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}
        port = self.ports[found["PHONOGRAPH_KAFKA_SECURITY_PROTOCOL"]]
        return found | {"PHONOGRAPH_KAFKA": f"localhost:{port}"}


def project_cache() -> Path:
    """Return the cache of jars that every stack of this user shares."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "phonograph"


def make_token(subject: str, *, life_s: float) -> str:
    """Return an unsigned token, which a server without keys accepts."""
    now = int(time.time())
    parts = ({"alg": "none"}, {"sub": subject, "iat": now - 60, "exp": now + int(life_s)})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    return ".".join(encoded) + "."


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """A Kafka server with a listener for each kind of access."""
    folder = tmp_path_factory.mktemp("secure-kafka")
    certificates = make_certificates(folder / "certificates")
    manifest = ROOT / "deploy" / "devstack" / "kafka.jars"
    supervisor = Supervisor(folder, lambda _: None)
    names = ("kafka", "kafka-controller", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
    with supervisor.lock():
        ports = {name: supervisor.free_port(name, 19_092 + number) for number, name in enumerate(names)}
    secure = {name: ports[name] for name in names[2:]}
    kafka = Kafka(
        folder,
        jars=lambda: ensure_jars(manifest, project_cache() / "jars", fetch=None, report=lambda _: None),
        startup=StartupCache(project_cache() / "java", manifest, folder / "kafka.aot"),
        secure=SecureListeners(
            secure,
            _server_settings(certificates),
            [f"{name}=[name={USER},password={PASSWORD}]" for name in ("SCRAM-SHA-256", "SCRAM-SHA-512")],
        ),
    )
    launch = kafka.prepare(ports)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            launch.command, env=dict(launch.environment), cwd=launch.folder, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not kafka.is_ready(ports["kafka"]):
            assert process.poll() is None, (folder / "server.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield SecureKafka(secure, certificates, folder)
    finally:
        process.kill()
        process.wait(timeout=30)


def _server_settings(certificates: Certificates) -> dict[str, str]:
    plain = f'{_LOGIN_MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    scram = f"{_LOGIN_MODULES}.scram.ScramLoginModule required;"
    token = (
        f"{_LOGIN_MODULES}.oauthbearer.OAuthBearerLoginModule required "
        'unsecuredLoginStringClaim_sub="server";'
    )
    return {
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        "listener.name.sasl_plaintext.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config": scram,
        "listener.name.sasl_ssl.plain.sasl.jaas.config": plain,
        "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": scram,
        "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config": token,
        "listener.name.ssl.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.server),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.ca),
    }
