"""Ports of the use cases, in terms of the domain."""

from typing import Protocol
from uuid import UUID

from phonograph_ingest.domain.media import MediaFile, RegisteredMedia, RejectedFile
from phonograph_ingest.domain.tasks import IngestTask


class MediaRegistry(Protocol):
    """The registry of all files.

    Methods are called by use cases and wait for PostgreSQL, without blocking the event loop. They raise the
    exceptions of the transaction, which the runtime converts.
    """

    async def register(self, media_id: UUID, file: MediaFile, task: IngestTask) -> RegisteredMedia:
        """Add a file, or find the earlier file of the same owner that it duplicates.

        Args:
            media_id: Id of the file if it is new.
            file: The file as it was read.
            task: Owner, profile, priority and options that were requested.
        """

    async def reject(self, media_id: UUID, rejected: RejectedFile, task: IngestTask) -> None:
        """Store that a file was requested and not accepted; a later rejection replaces an earlier one.

        Args:
            media_id: Id of the rejection, see `rejected_id`.
            rejected: The file and the reason.
            task: Owner and profile that were requested.
        """

    async def versions(self) -> dict[str, int]:
        """Return the ids of all ready files, each with version 1. Called for the inventory."""
