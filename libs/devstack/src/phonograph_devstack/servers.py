"""The port through which the local stack runs a server."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Launch:
    """The command that starts a server whose data folder is ready."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


class Server(Protocol):
    """One of the three servers; `LocalStack` calls every method from a worker thread, so it may block."""

    name: str
    default_ports: Mapping[str, int]
    """Preferred ports by process name; clients connect to the first one."""
    stop_signal: signal.Signals

    def prepare(self, ports: Mapping[str, int]) -> Launch:
        """Create the data folder and the configuration if needed, and return the start command.

        Called before each start.

        Args:
            ports: Free ports, by the names in `default_ports`.

        Raises:
            StackError: If the data folder cannot be created, or a jar cannot be fetched.
        """

    def is_ready(self, port: int) -> bool:
        """Return whether the server answers a real request.

        Called repeatedly after a start; raises nothing if the server is unreachable.
        """

    def finish_start(self, port: int) -> None:
        """Finish the set-up of a server that has become ready; called by every `up`.

        Raises:
            StackError: If the set-up fails.
        """

    def after_stop(self) -> None:
        """Clean up after the server has stopped; called once per `down`."""
