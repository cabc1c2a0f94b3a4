"""Builds the objects of the service: connections once per process, use cases per transaction."""

from phonograph_events import TOPICS, Service
from phonograph_graph_sync.config import Settings
from phonograph_graph_sync.graph.neo4j import Neo4jGraph, connect
from phonograph_graph_sync.services.mirror import MirrorService
from phonograph_graph_sync.storage.offsets import SqlOffsetStore
from phonograph_runtime.database import Database, Transaction


class ProcessContext:
    """The connections of one process to Neo4j and PostgreSQL."""

    def __init__(self, *, database: Database, graph: Neo4jGraph, is_rebuild: bool) -> None:
        self.database = database
        self.graph = graph
        self.is_rebuild = is_rebuild
        """Whether this process rebuilds the graph."""

    @classmethod
    def create(cls, settings: Settings, *, is_rebuild: bool = False) -> "ProcessContext":
        """Create the connections; none is opened before it is needed.

        Args:
            settings: Addresses and passwords.
            is_rebuild: Whether this process rebuilds the graph.
        """
        password = settings.neo4j_password.get_secret_value()
        login = (settings.neo4j_user, password) if password else None
        driver = connect(settings.neo4j_uri, login, settings.neo4j_ca_file)
        return cls(
            database=Database(settings, source=Service.GRAPH_SYNC.value),
            graph=Neo4jGraph(driver, is_rebuild=is_rebuild),
            is_rebuild=is_rebuild,
        )

    @property
    def topics(self) -> list[str]:
        """The topics that the graph mirrors."""
        return [topic.name for topic in TOPICS.values() if Service.GRAPH_SYNC in topic.consumers]

    def mirror_service(self, transaction: Transaction) -> MirrorService:
        """Return the use cases on one transaction."""
        return MirrorService(graph=self.graph, offsets=SqlOffsetStore(transaction.session))

    async def clear_offsets(self) -> None:
        """Delete the offsets in PostgreSQL."""
        async with self.database.transaction() as transaction:
            await SqlOffsetStore(transaction.session).clear()

    async def aclose(self) -> None:
        """Close every connection."""
        await self.graph.aclose()
        await self.database.aclose()
