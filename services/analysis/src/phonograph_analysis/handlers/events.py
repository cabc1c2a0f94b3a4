"""Handlers of the events that the service consumes."""

from uuid import UUID

from phonograph_analysis.factory import analysis_service
from phonograph_events import MediaReady, RerunRequested
from phonograph_runtime.database import Transaction


async def media_ready(event: MediaReady, transaction: Transaction) -> None:
    """Request the analysis of a new recording."""
    await analysis_service(transaction).request_analysis(event)


async def rerun_requested(event: RerunRequested, request_id: UUID, transaction: Transaction) -> None:
    """Request another analysis of a recording."""
    await analysis_service(transaction).request_rerun(event, request_id)
