"""Fixed values of the graph-sync service."""

from datetime import timedelta
from typing import Final

CONSUMER: Final = "graph-sync"
"""Name under which the graph keeps the offsets that it holds."""

REBUILD_LOCK: Final = "graph-sync.rebuild"
"""Advisory lock in PostgreSQL: one rebuild at a time."""

SAMPLE_INTERVAL: Final = timedelta(minutes=1)
"""How often stubs are counted."""
