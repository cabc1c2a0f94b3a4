"""Builds everything: connections once for the process, the service's own objects per transaction."""

from functools import cached_property

from phonograph_events import TOPICS, Service
from phonograph_graph_sync.config import Settings
from phonograph_graph_sync.graph.neo4j import Neo4jGraph, connect
from phonograph_graph_sync.services.mirror import MirrorService
from phonograph_graph_sync.storage.positions import SqlPositions
from phonograph_runtime.database import Database, Transaction


class ProcessContext:
    """What lives as long as the process: the connections to Neo4j and PostgreSQL."""

    def __init__(self, settings: Settings, *, rebuilds: bool) -> None:
        self.settings = settings
        self.database = Database(settings, source=Service.GRAPH_SYNC.value)
        self._rebuilds = rebuilds

    @classmethod
    def create(cls, settings: Settings, *, rebuilds: bool = False) -> "ProcessContext":
        """Build it; nothing is connected before it is needed."""
        return cls(settings, rebuilds=rebuilds)

    @cached_property
    def graph(self) -> Neo4jGraph:
        """The graph."""
        password = self.settings.neo4j_password.get_secret_value()
        auth = (self.settings.neo4j_user, password) if password else None
        return Neo4jGraph(connect(self.settings.neo4j_uri, auth), rebuilds=self._rebuilds)

    @property
    def topics(self) -> list[str]:
        """The topics that the graph mirrors."""
        return [topic.name for topic in TOPICS.values() if Service.GRAPH_SYNC in topic.consumers]

    def mirror_service(self, transaction: Transaction) -> MirrorService:
        """The use cases, on one transaction."""
        return MirrorService(graph=self.graph, positions=SqlPositions(transaction.session))

    async def forget_positions(self) -> None:
        """Forget in PostgreSQL how far the graph had come."""
        async with self.database.transaction() as transaction:
            await SqlPositions(transaction.session).clear()

    async def aclose(self) -> None:
        """Close every connection."""
        if "graph" in self.__dict__:
            await self.graph.aclose()
        await self.database.aclose()
