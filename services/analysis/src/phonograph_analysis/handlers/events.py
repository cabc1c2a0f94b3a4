"""Handlers of the events that the service consumes."""

from phonograph_analysis.factory import analysis_service
from phonograph_events import MediaReady
from phonograph_runtime.database import Transaction


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """Request the analysis of a new recording."""
    await analysis_service(transaction).request_analysis(event)
