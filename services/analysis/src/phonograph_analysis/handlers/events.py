"""Takes files that are ready."""

from phonograph_analysis.factory import analysis_service
from phonograph_events import MediaReady
from phonograph_runtime.database import Transaction


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """A new file is there."""
    await analysis_service(transaction).request(event)
