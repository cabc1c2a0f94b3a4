"""Takes new files."""

from phonograph_events import MediaReady
from phonograph_runtime.database import Transaction
from phonograph_tracklist.factory import catalogue_service


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """A file is ready for work."""
    await catalogue_service(transaction).request(event)
