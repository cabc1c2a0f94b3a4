"""Documents for people in the object store."""

from uuid import UUID

from phonograph_events import uuid7
from phonograph_runtime.objects import ObjectStore, person_prefix


class ObjectPersonExports:
    """See `PersonExports`."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def put(self, person_id: UUID, content: bytes) -> str:
        """See `PersonExports.put`."""
        await self.erase(person_id)
        return await self._objects.put_async(f"{person_prefix(person_id)}/{uuid7()}.json", content)

    async def erase(self, person_id: UUID) -> None:
        """See `PersonExports.erase`."""
        await self._objects.delete_below_async(person_prefix(person_id))
