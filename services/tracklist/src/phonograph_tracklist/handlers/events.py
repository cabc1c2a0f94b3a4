"""Handlers of the events that the service consumes."""

from phonograph_events import MediaReady, MusicAnalyzed
from phonograph_runtime.database import Transaction
from phonograph_tracklist.factory import tracklist_service


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """Add a new recording to the catalog, and request its tracklist."""
    await tracklist_service(transaction).request_tracklist(event)


async def music_analyzed(event: MusicAnalyzed, transaction: Transaction) -> None:
    """Store tempo, key and loudness of a recording."""
    await tracklist_service(transaction).add_music_features(event)
