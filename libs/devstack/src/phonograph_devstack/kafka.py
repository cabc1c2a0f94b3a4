"""Apache Kafka: one node that is both broker and KRaft controller."""

import base64
import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from phonograph_devstack.errors import StackError
from phonograph_devstack.java import ENVIRONMENT, StartupCache, java_command
from phonograph_devstack.servers import Launch

_HEAP = "-Xmx320m"
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker can register again only after its old session has expired, by default after 9 s.
    "broker.session.timeout.ms": "5000",
    "broker.heartbeat.interval.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}
_LOGGING = """\
status = error
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
logger.config.name = org.apache.kafka.common.config.AbstractConfig
logger.config.level = warn
"""


@dataclass(frozen=True, slots=True)
class SecureListeners:
    """Further listeners of a server, with encryption or a login."""

    ports: Mapping[str, int]
    """Port by protocol: `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`."""
    settings: Mapping[str, str]
    """Properties of the server for them: mechanisms, users, certificates."""
    scram_users: Sequence[str] = ()
    """Users as Kafka's tool takes them: `SCRAM-SHA-256=[name=NAME,password=PASSWORD]`."""


class Kafka:
    """The Kafka server; `jars` is called for its class path when it is started."""

    name = "kafka"
    default_ports: Mapping[str, int] = {"kafka": 9092, "kafka-controller": 9093}
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        home: Path,
        *,
        jars: Callable[[], list[Path]],
        startup: StartupCache,
        secure: SecureListeners | None = None,
    ) -> None:
        """Create the server.

        Args:
            home: Folder of the stack.
            jars: Returns the class path.
            startup: Cache that shortens the start.
            secure: Further listeners; the services of the local stack use the plain one.
        """
        self._secure = secure or SecureListeners({}, {})
        self._data = home / "data" / self.name
        self._jars = jars
        self._startup = startup

    def prepare(self, ports: Mapping[str, int]) -> Launch:
        """See `Server.prepare`."""
        broker, controller = (f"127.0.0.1:{ports[name]}" for name in self.default_ports)
        log = self._data / "log"
        settings = {
            **_SETTINGS,
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(log),
            **self._listeners(broker, controller),
            **self._secure.settings,
        }
        self._data.mkdir(parents=True, exist_ok=True)
        properties = self._data / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        logging = self._data / "log4j2.properties"
        logging.write_text(_LOGGING)
        jars = self._jars()
        arguments_file = self._data / "java.args"
        options = [_HEAP, f"-Dlog4j2.configurationFile={logging}"]
        if not (log / "meta.properties").exists():  # the last file written by formatting
            shutil.rmtree(log, ignore_errors=True)
            main = ["kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", str(properties)]
            for user in self._secure.scram_users:
                main += ["--add-scram", user]
            command = java_command(jars, main, options=options, arguments_file=arguments_file)
            done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                output = (done.stderr or done.stdout).strip()[-1000:]
                raise StackError(f"Kafka cannot format {log}: {output}")
        command = java_command(
            jars,
            ["kafka.Kafka", str(properties)],
            options=[*options, self._startup.java_option()],
            arguments_file=arguments_file,
        )
        return Launch(command, ENVIRONMENT, self._data)

    def _listeners(self, broker: str, controller: str) -> dict[str, str]:
        clients = {"PLAINTEXT": broker} | {
            protocol: f"127.0.0.1:{port}" for protocol, port in self._secure.ports.items()
        }
        advertised = ",".join(f"{protocol}://{address}" for protocol, address in clients.items())
        protocols = "".join(f",{protocol}:{protocol}" for protocol in clients)
        return {
            "listeners": f"{advertised},CONTROLLER://{controller}",
            "advertised.listeners": advertised,
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT{protocols}",
        }

    def is_ready(self, port: int) -> bool:
        """See `Server.is_ready`; the broker must also be registered in its cluster."""
        try:
            return broker_count("127.0.0.1", port) > 0
        except OSError:
            return False

    def finish_start(self, port: int) -> None:
        """See `Server.finish_start`; nothing to do."""

    def after_stop(self) -> None:
        """See `Server.after_stop`."""
        self._startup.store_draft()


def new_cluster_id() -> str:
    """Return 16 bytes in base64; the first is 0, because Kafka's tool takes a leading dash for an option."""
    return base64.urlsafe_b64encode(b"\0" + os.urandom(15)).decode().rstrip("=")


def broker_count(host: str, port: int) -> int:
    """Return the number of brokers in the cluster, by a Metadata request of version 1 for no topics.

    Raises:
        OSError: If no Kafka broker answers at the address.
    """
    client_id = b"phonograph"
    request = struct.pack(">hhih", 3, 1, 0, len(client_id)) + client_id + struct.pack(">i", 0)
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        head = connection.recv(12, socket.MSG_WAITALL)  # length, correlation id, size of the broker array
    if len(head) < 12:
        raise ConnectionError(f"{host}:{port} closed the connection.")
    return int(struct.unpack(">iii", head)[2])
