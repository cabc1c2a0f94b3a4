"""Servers run by others; only the services run on this machine."""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from phonograph_devstack.errors import StackError
from phonograph_devstack.services import Addresses, ServiceHost

_VARIABLES = {
    "postgres_url": "PHONOGRAPH_POSTGRES_URL",
    "kafka_bootstrap_servers": "PHONOGRAPH_KAFKA",
    "neo4j_uri": "PHONOGRAPH_NEO4J_URI",
    "neo4j_user": "PHONOGRAPH_NEO4J_USER",
    "neo4j_password": "PHONOGRAPH_NEO4J_PASSWORD",
}
_CONNECT_TIMEOUT_S = 10.0
_DEFAULT_PORTS = {"postgresql": 5432, "kafka": 9092, "bolt": 7687, "neo4j": 7687}


class ExternalStack(ServiceHost):
    """Servers whose addresses are read from the environment.

    Args:
        home: Folder for the services' logs, ports and process files.
        environment: Holds PHONOGRAPH_KAFKA, PHONOGRAPH_NEO4J_URI, _USER and _PASSWORD, and for commands that
            start or migrate services also PHONOGRAPH_POSTGRES_URL.
        report: Called with each line of progress.

    Raises:
        StackError: If variables are missing; the message names them.
    """

    def __init__(
        self, home: Path, *, environment: Mapping[str, str], report: Callable[[str], None] = print
    ) -> None:
        super().__init__(home, report=report)
        missing = [variable for variable in _VARIABLES.values() if not environment.get(variable)]
        if set(missing) - {_VARIABLES["postgres_url"]}:
            raise StackError(
                f"PHONOGRAPH_STACK=external needs {', '.join(missing)} in the environment. Set them."
            )
        self._addresses = Addresses(
            **{field: environment.get(variable, "") for field, variable in _VARIABLES.items()}
        )

    def up(self) -> Addresses:
        """Check that a server listens at each address.

        Raises:
            StackError: If none listens, or no address is set; the message names the variable.
        """
        urls = {
            "PHONOGRAPH_POSTGRES_URL": self._addresses.postgres_url,
            "PHONOGRAPH_KAFKA": f"kafka://{self._addresses.kafka_bootstrap_servers.split(',')[0]}",
            "PHONOGRAPH_NEO4J_URI": self._addresses.neo4j_uri,
        }
        for variable, url in urls.items():
            if not url:
                raise StackError(f"PHONOGRAPH_STACK=external needs {variable} in the environment. Set it.")
            parts = urlsplit(url)
            host = parts.hostname or "127.0.0.1"
            port = parts.port or _DEFAULT_PORTS.get(parts.scheme.partition("+")[0], 0)
            try:
                socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S).close()
            except OSError as error:
                raise StackError(
                    f"{variable}: nothing answers at {host}:{port} ({error}). "
                    "Start that server or correct the address."
                ) from error
        return self._addresses

    def addresses(self) -> Addresses:
        """Return the addresses from the environment."""
        return self._addresses

    def down(self, *, wipe: bool = False) -> None:
        """Stop the services; external servers keep running.

        Args:
            wipe: Not supported: the data of external servers are never removed.

        Raises:
            StackError: If `wipe` is set.
        """
        with self._supervisor.lock():
            self._stop_services([])
        if wipe:
            raise StackError(
                "The services are stopped, but this command never wipes external servers. Wipe them there."
            )
