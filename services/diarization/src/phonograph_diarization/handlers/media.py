"""Takes new files."""

from phonograph_diarization.factory import diarization_service
from phonograph_events import MediaReady
from phonograph_runtime.database import Transaction


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """A file is ready for work."""
    await diarization_service(transaction).request(event)
