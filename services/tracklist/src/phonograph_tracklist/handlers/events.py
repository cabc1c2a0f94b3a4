"""Handlers of the events that the service consumes."""

from uuid import UUID

from phonograph_events import MediaReady, MusicAnalyzed, RerunRequested
from phonograph_runtime.database import Transaction
from phonograph_tracklist.factory import tracklist_service


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """Add a new recording to the catalog, and request its tracklist."""
    await tracklist_service(transaction).request_tracklist(event)


async def rerun_requested(event: RerunRequested, request_id: UUID, transaction: Transaction) -> None:
    """Request another search for the tracklist of a recording."""
    await tracklist_service(transaction).request_rerun(event, request_id)


async def music_analyzed(event: MusicAnalyzed, transaction: Transaction) -> None:
    """Store tempo, key and loudness of a recording."""
    await tracklist_service(transaction).add_music_features(event)
