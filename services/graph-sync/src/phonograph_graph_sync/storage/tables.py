"""Tables of the schema `graph_sync`: how far the graph has come."""

from datetime import datetime

from sqlalchemy import BigInteger, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from phonograph_runtime.tables import service_registry


class Base(DeclarativeBase):
    """Tables of this service."""

    registry = service_registry()


class SqlSyncState(Base):
    """The last offset that was seen in the graph, for each partition.

    The graph's own offsets decide what is taken. This copy outlives the graph: a graph that holds less has
    been lost or restored from a backup, and only a rebuild brings the rest back.
    """

    __tablename__ = "sync_state"

    topic: Mapped[str] = mapped_column(String(249), primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
