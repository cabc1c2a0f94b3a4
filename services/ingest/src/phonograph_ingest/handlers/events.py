"""Handlers of the events that the service consumes."""

from phonograph_events import IngestRequested
from phonograph_ingest.factory import ingest_service
from phonograph_runtime.database import Transaction


async def ingest_requested(event: IngestRequested, transaction: Transaction) -> None:
    """Request the ingest of a file."""
    await ingest_service(transaction).request_ingest(event)
