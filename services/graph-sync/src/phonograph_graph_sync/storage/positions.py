"""How far the graph has come, in PostgreSQL."""

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from phonograph_graph_sync.domain.position import Partition
from phonograph_graph_sync.storage.tables import SqlSyncState


class SqlPositions:
    """See `phonograph_graph_sync.domain.ports.Positions`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def all(self) -> dict[Partition, int]:
        """See `Positions.all`."""
        rows = await self._session.scalars(select(SqlSyncState))
        return {Partition(row.topic, row.partition): row.offset for row in rows}

    async def advance(self, ends: dict[Partition, int]) -> None:
        """See `Positions.advance`. Rows are sorted, so that two processes cannot deadlock."""
        statement = insert(SqlSyncState).values(
            [
                {"topic": partition.topic, "partition": partition.number, "offset": ends[partition]}
                for partition in sorted(ends)
            ]
        )
        newest = func.greatest(SqlSyncState.offset, statement.excluded.offset)
        await self._session.execute(
            statement.on_conflict_do_update(
                index_elements=["topic", "partition"], set_={"offset": newest, "updated_at": func.now()}
            )
        )

    async def clear(self) -> None:
        """See `Positions.clear`."""
        await self._session.execute(delete(SqlSyncState))
