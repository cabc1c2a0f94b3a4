"""Tables of the schema `graph_sync`: the offsets that the graph contains."""

from datetime import datetime

from sqlalchemy import BigInteger, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from phonograph_runtime.tables import service_registry


class Base(DeclarativeBase):
    """Tables of this service."""

    registry = service_registry()


class SqlSyncState(Base):
    """The last offset that was written to the graph, for each partition.

    The offsets in the graph decide which events are new. This copy survives the loss of the graph: a graph
    with lower offsets was lost or restored from a backup, and only a rebuild restores the rest.
    """

    __tablename__ = "sync_state"

    topic: Mapped[str] = mapped_column(String(249), primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())
