"""Takes requests for files."""

from phonograph_events import IngestRequested
from phonograph_ingest.factory import ingest_service
from phonograph_runtime.database import Transaction


async def ingest_requested(event: IngestRequested, transaction: Transaction) -> None:
    """A producer asks for a file."""
    await ingest_service(transaction).request(event)
