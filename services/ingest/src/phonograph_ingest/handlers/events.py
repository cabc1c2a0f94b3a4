"""Handlers of the events that the service consumes."""

from phonograph_events import RESULT_SERVICES, IngestRequested, Profile, RerunRequested
from phonograph_ingest.factory import ingest_service
from phonograph_runtime.database import Transaction
from phonograph_runtime.errors import RefusedRerunError
from phonograph_runtime.reruns import publish_refusal


async def ingest_requested(event: IngestRequested, transaction: Transaction) -> None:
    """Request the ingest of a file."""
    await ingest_service(transaction).request_ingest(event)


async def rerun_requested(event: RerunRequested, transaction: Transaction) -> None:
    """Refuse a request to a service that makes no results: no other service answers it."""
    known = RESULT_SERVICES[Profile.AUTO]
    if event.service not in known:
        services = ", ".join(sorted(known))
        error = RefusedRerunError(
            f"{event.service} cannot run again; name one of {services}.", reason="unknown_service"
        )
        await publish_refusal(event, error, transaction)
