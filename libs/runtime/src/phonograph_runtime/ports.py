"""What use cases may ask of the runtime, without knowing Kafka or SQL."""

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from pydantic import BaseModel

from phonograph_events import Event

Progress = Callable[[float, str], None]
"""Reports a fraction from 0 to 1 and a short word for the stage."""


class Publisher(Protocol):
    """Publishes events with the transaction: all of it happens, or none."""

    async def publish(self, event: Event, *, version: int = 1) -> None:
        """Add an event; `version` counts the results of its kind for the same media."""


class JobRequests(Protocol):
    """Asks for long work with the transaction."""

    async def enqueue(
        self,
        kind: str,
        task: BaseModel,
        *,
        media_id: UUID,
        owner: str | None = None,
        priority: int = 0,
        dedupe_key: str | None = None,
    ) -> None:
        """Add a job, unless one with the same `dedupe_key` exists already. Owners are served in turn."""
