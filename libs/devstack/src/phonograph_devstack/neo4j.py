"""Neo4j Community: the server with Bolt only, without HTTP and authentication."""

import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from phonograph_devstack.java import ENVIRONMENT, StartupCache, java_command
from phonograph_devstack.servers import Launch

LOGIN = ("neo4j", "phonograph")
"""User and password; any are accepted, because authentication is off on the loopback interface."""
_SETTINGS = {
    "server.http.enabled": "false",
    "server.https.enabled": "false",
    "dbms.security.auth_enabled": "false",
    "dbms.usage_report.enabled": "false",
    "server.memory.pagecache.size": "64m",
    "db.tx_log.rotation.retention_policy": "1 files",
    # Otherwise a stop waits 10 s for clients that might still connect.
    "internal.dbms.bolt.netty_server_shutdown_quiet_period": "0",
    "internal.dbms.bolt.netty_server_shutdown_timeout": "1s",
}
_OPTIONS = (
    "-Xmx384m",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)


class Neo4j:
    """The Neo4j server; `jars` is called for its class path when it is started."""

    name = "neo4j"
    default_ports: Mapping[str, int] = {"neo4j": 7687}
    stop_signal = signal.SIGTERM

    def __init__(
        self,
        home: Path,
        *,
        jars: Callable[[], list[Path]],
        startup: StartupCache,
        changes: Mapping[str, str] | None = None,
    ) -> None:
        """Use a home folder.

        Args:
            home: Folder of the stack.
            jars: Returns the class path.
            startup: Cache of the Java runtime.
            changes: Settings of the server that replace or complete those of the local stack.
        """
        self._data = home / "data" / self.name
        self._jars = jars
        self._startup = startup
        self._changes = changes or {}

    def prepare(self, ports: Mapping[str, int]) -> Launch:
        """See `Server.prepare`."""
        configuration = self._data / "conf"
        configuration.mkdir(parents=True, exist_ok=True)
        address = f"127.0.0.1:{ports['neo4j']}"
        settings = {**_SETTINGS, "server.bolt.listen_address": address, **self._changes}
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        (configuration / "neo4j.conf").write_text(lines)
        main = (
            "org.neo4j.server.CommunityEntryPoint",
            f"--home-dir={self._data}",
            f"--config-dir={configuration}",
        )
        options = (*_OPTIONS, self._startup.java_option())
        command = java_command(self._jars(), main, options=options, arguments_file=self._data / "java.args")
        return Launch(command, ENVIRONMENT, self._data)

    def is_ready(self, port: int) -> bool:
        """See `Server.is_ready`."""
        try:
            return answers_query("127.0.0.1", port)
        except OSError:
            return False

    def finish_start(self, port: int) -> None:
        """See `Server.finish_start`; nothing to do."""

    def after_stop(self) -> None:
        """See `Server.after_stop`."""
        self._startup.store_draft()


def answers_query(host: str, port: int) -> bool:
    """Return whether `RETURN 1` is answered with 1 over Bolt 4.4, without authentication.

    The driver is not used, because importing it takes as long as the server takes to start.

    Raises:
        OSError: If nothing answers at the address.
    """
    magic, versions = b"\x60\x60\xb0\x17", b"\x00\x00\x04\x04" + bytes(12)
    hello = (
        b"\xb1\x01\xa2"
        + _packstream_text("user_agent")
        + _packstream_text("phonograph/1")
        + _packstream_text("scheme")
        + _packstream_text("none")
    )
    run = b"\xb3\x10" + _packstream_text("RETURN 1") + b"\xa0\xa0"
    pull = b"\xb1\x3f\xa1" + _packstream_text("n") + b"\xff"
    with socket.create_connection((host, port), timeout=30) as connection:
        answers = connection.makefile("rb")
        connection.sendall(magic + versions)
        if answers.read(4) != b"\x00\x00\x04\x04":
            return False
        connection.sendall(b"".join(map(_chunk, (hello, run, pull))))
        success, record = b"\xb1\x70", b"\xb1\x71\x91\x01"
        replies = [_read_message(answers.read) for _ in range(3)]
        return replies[0][:2] == replies[1][:2] == success and replies[2] == record


def _packstream_text(text: str) -> bytes:
    return bytes([0x80 + len(text)]) + text.encode()  # valid up to 15 characters


def _chunk(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message + b"\x00\x00"


def _read_message(read: Callable[[int], bytes]) -> bytes:
    message = b""
    while size := int.from_bytes(read(2), "big"):
        message += read(size)
    return message
