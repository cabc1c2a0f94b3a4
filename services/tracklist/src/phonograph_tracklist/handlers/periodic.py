"""Handlers of the work that the service repeats at an interval."""

from phonograph_runtime.database import Transaction
from phonograph_tracklist.factory import tracklist_service


async def refresh_stats(transaction: Transaction) -> None:
    """Recompute the monthly counts of recordings."""
    await tracklist_service(transaction).refresh_stats()
