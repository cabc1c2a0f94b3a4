"""What the stack needs to know of a server in order to run it."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a server whose data folder is ready."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


class Server(Protocol):
    """One of the three servers."""

    name: str
    default_ports: Mapping[str, int]
    """By purpose; the first is where clients connect."""
    stop_signal: signal.Signals

    def prepare(self, ports: Mapping[str, int]) -> Launch:
        """Make the data folder and the configuration, unless they are there."""

    def answers(self, port: int) -> bool:
        """Whether it serves a real request."""

    def finish_start(self, port: int) -> None:
        """What is left to do once it answers."""

    def after_stop(self) -> None:
        """What is left to do once it has ended."""
