"""Protocol of the storage that the use cases need, in terms of the domain."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from phonograph_events import MediaRef
from phonograph_tracklist.domain.metadata import ExtractionMethod, MetadataRow
from phonograph_tracklist.domain.rename import RenameProposal
from phonograph_tracklist.domain.tracklist import Tracklist


class Catalog(Protocol):
    """The recordings with everything that is known about them.

    Its methods are called by the use cases, inside the transaction of an event or of a job's end. They wait
    for the database and for nothing else. They raise the errors of its driver; where the transaction ends,
    the runtime turns those of a lost connection into `UnavailableError`.
    """

    async def add(self, media: MediaRef) -> None:
        """Add a recording unless it exists; of two recordings with one path the older one becomes deleted.

        Called before anything else is stored for the recording.
        """

    async def complete(self, media_id: UUID, modified_at: datetime | None) -> int:
        """Mark a recording as published. Called when its job has succeeded.

        Args:
            media_id: Id of the recording.
            modified_at: When its file was last changed, if known.

        Returns:
            Number of its results, which is the version of this one.
        """

    async def fail(self, media_id: UUID) -> None:
        """Mark a recording as failed, unless it has a result. Called when its job has failed for good."""

    async def replace_metadata(
        self, media_id: UUID, method: ExtractionMethod, rows: Sequence[MetadataRow]
    ) -> None:
        """Replace all facts of one origin. Called with the tags of a file, and with measured features.

        Args:
            media_id: Id of the recording.
            method: Origin of the facts; facts of other origins stay.
            rows: The facts, with unique keys.
        """

    async def claim_newest_analysis(self, media_id: UUID, result_id: UUID) -> bool:
        """Record an analysis as the newest of a recording. Called before its features replace older ones.

        Args:
            media_id: Id of the recording.
            result_id: Id of the analysis; ids sort by time.

        Returns:
            False if a newer analysis is recorded.
        """

    async def replace_tracklist(
        self, media: MediaRef, tracklist: Tracklist | None, warnings: Sequence[str], *, version: int
    ) -> UUID | None:
        """Add the current tracklist of a recording; earlier ones are kept. Called when a job has succeeded.

        Args:
            media: The recording.
            tracklist: Its tracklist; None if there is none any more.
            warnings: Sentences for the user, about this tracklist and about sources that were skipped.
            version: Version of the result.

        Returns:
            Id of the tracklist; None without one.
        """

    async def is_name_taken(self, media: MediaRef, file_name: str) -> bool:
        """Return whether another recording in the folder of a recording has a file name or is to get it.

        Called before a proposal is added. Waits until other transactions that ask about the same folder have
        ended, so that two files never get one name.

        Args:
            media: The recording.
            file_name: The name; case does not matter.
        """

    async def add_proposal(self, media_id: UUID, proposal: RenameProposal) -> UUID:
        """Add a rename proposal or update an equal one; return its id. Called when a job suggests one."""

    async def refresh_stats(self) -> None:
        """Recompute the counts of recordings by month and status. Called at an interval; may take minutes."""
