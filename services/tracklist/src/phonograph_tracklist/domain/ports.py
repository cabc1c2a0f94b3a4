"""What the use cases need from outside, in the words of the domain."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from phonograph_events import MediaRef
from phonograph_runtime.ports import Progress
from phonograph_tracklist.domain.catalogue import Catalogued, CatalogueTask
from phonograph_tracklist.domain.metadata import ExtractionMethod, MetadataRow
from phonograph_tracklist.domain.rename import RenameProposal
from phonograph_tracklist.domain.tracklist import Tracklist


class CatalogueReader(Protocol):
    """Looks at a file's folder, tags and chapters."""

    def read(self, task: CatalogueTask, progress: Progress) -> Catalogued:
        """Find a tracklist and a better name."""


class Catalogue(Protocol):
    """The recordings with everything that is known about them."""

    async def add(self, media: MediaRef) -> None:
        """Add a recording unless it is there. An older one with the same path counts as deleted."""

    async def complete(self, media_id: UUID, modified_at: datetime | None) -> None:
        """The recording has been looked at."""

    async def fail(self, media_id: UUID) -> None:
        """The recording could not be looked at."""

    async def replace_metadata(
        self, media_id: UUID, method: ExtractionMethod, rows: Sequence[MetadataRow]
    ) -> None:
        """Keep exactly these facts of one origin."""

    async def take_music(self, media_id: UUID, result_id: UUID) -> bool:
        """Remember the newest analysis; false when a newer one is known. Ids sort by time."""

    async def add_tracklist(self, media: MediaRef, tracklist: Tracklist, warnings: Sequence[str]) -> UUID:
        """Add a tracklist and make it the current one; its id."""

    async def add_proposal(self, media_id: UUID, proposal: RenameProposal) -> UUID:
        """Add a proposal, or find the same one; its id."""
