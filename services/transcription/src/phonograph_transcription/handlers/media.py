"""Takes files that are ready."""

from phonograph_events import MediaReady
from phonograph_runtime.database import Transaction
from phonograph_transcription.factory import transcription_service


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """A file may hold speech."""
    await transcription_service(transaction).request(event)
