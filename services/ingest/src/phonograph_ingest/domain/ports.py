"""What the use cases need from outside, in the words of the domain."""

from typing import Protocol
from uuid import UUID

from phonograph_ingest.domain.media import Intake, Registered, Rejection
from phonograph_ingest.domain.request import IngestTask
from phonograph_runtime.ports import Progress


class FileReader(Protocol):
    """Reads a file once and tells everything about it."""

    def read(self, task: IngestTask, progress: Progress) -> Intake | Rejection:
        """Probe, hash and decode; never raises for a file that is at fault."""


class MediaRegistry(Protocol):
    """The registry of all files."""

    async def register(self, media_id: UUID, intake: Intake, task: IngestTask) -> Registered:
        """Add a file, or find the one that it repeats."""

    async def reject(self, media_id: UUID, rejection: Rejection, task: IngestTask) -> None:
        """Keep that a file was asked for and could not be taken in."""
