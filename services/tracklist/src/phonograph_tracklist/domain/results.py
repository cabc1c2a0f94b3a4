"""Results of the engine."""

from dataclasses import dataclass
from datetime import datetime

from phonograph_tracklist.domain.rename import RenameProposal
from phonograph_tracklist.domain.tracklist import TracklistSearch


@dataclass(frozen=True, slots=True)
class CatalogResult:
    """A recording's tracklist and rename proposal."""

    search: TracklistSearch
    proposal: RenameProposal | None
    taken_names: frozenset[str]
    """Keys of the names in the folder that begin like the proposed one."""
    document_uri: str | None
    """URI of the full tracklist; None if there is no tracklist."""
    modified_at: datetime | None
    """When the file was last changed; None if it cannot be read."""
