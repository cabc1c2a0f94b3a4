"""Fixed values of the graph-sync service."""

from typing import Final

CONSUMER: Final = "graph-sync"
"""Name under which the graph keeps the offsets that it holds."""

REBUILD_LOCK: Final = "graph-sync.rebuild"
"""Advisory lock in PostgreSQL: one rebuild at a time."""
