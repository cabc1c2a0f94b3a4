"""Handlers of the events that the service consumes."""

from phonograph_diarization.factory import diarization_service
from phonograph_events import MediaReady
from phonograph_runtime.database import Transaction


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """Request the diarization of a new recording."""
    await diarization_service(transaction).request_diarization(event)
