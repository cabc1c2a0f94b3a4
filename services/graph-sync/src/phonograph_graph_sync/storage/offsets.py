"""The offsets that the graph contains, in PostgreSQL."""

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_graph_sync.domain.batches import Partition
from phonograph_graph_sync.storage.tables import SqlSyncState


class SqlOffsetStore:
    """See `phonograph_graph_sync.domain.ports.OffsetStore`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def load(self) -> dict[Partition, int]:
        """See `OffsetStore.load`."""
        rows = await self._session.scalars(select(SqlSyncState))
        return {Partition(row.topic, row.partition): row.offset for row in rows}

    async def advance(self, offsets: dict[Partition, int]) -> None:
        """See `OffsetStore.advance`."""
        # Sorted, so that two processes lock the rows in one order and cannot deadlock.
        statement = insert(SqlSyncState).values(
            [
                {"topic": partition.topic, "partition": partition.number, "offset": offsets[partition]}
                for partition in sorted(offsets)
            ]
        )
        newest = func.greatest(SqlSyncState.offset, statement.excluded.offset)
        await self._session.execute(
            statement.on_conflict_do_update(
                index_elements=["topic", "partition"], set_={"offset": newest, "updated_at": func.now()}
            )
        )

    async def clear(self) -> None:
        """See `OffsetStore.clear`."""
        await self._session.execute(delete(SqlSyncState))
