"""Reports of what a service holds, for the check of the graph against the services."""

import json
from collections.abc import Awaitable, Callable

from phonograph_events import InventoryReported, InventoryRequested, Service
from phonograph_runtime.database import Transaction
from phonograph_runtime.objects import ObjectStore

Inventory = Callable[[Transaction], Awaitable[dict[str, dict[str, int]]]]
"""Returns what a service holds: for each kind of thing, the ids with their versions."""


class InventoryReporter:
    """Answers `inventory-requested` for one service."""

    def __init__(self, service: Service, objects: ObjectStore, inventory: Inventory) -> None:
        """Create the handler.

        Args:
            service: The service that answers.
            objects: Where the full report is stored.
            inventory: Reads what the service holds.
        """
        self._service = service
        self._objects = objects
        self._inventory = inventory

    async def inventory_requested(self, event: InventoryRequested, transaction: Transaction) -> None:
        """Store a report and publish its counts."""
        holdings = await self._inventory(transaction)
        key = f"inventory/{event.check_id}/{self._service.value}.json"
        uri = await self._objects.put_async(key, json.dumps(holdings, sort_keys=True).encode())
        await transaction.publish(
            InventoryReported(
                media_id=event.media_id,
                check_id=event.check_id,
                service=self._service,
                counts={kind: len(versions) for kind, versions in holdings.items()},
                document_uri=uri,
            )
        )
