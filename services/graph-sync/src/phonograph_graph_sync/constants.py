"""Fixed values of the graph-sync service."""

from datetime import timedelta
from typing import Final

SERVER: Final = "Neo4j"
"""Name of the server behind the graph, as errors and log lines name it."""

CONSUMER: Final = "graph-sync"
"""Name under which the graph stores the offsets that it contains."""

REBUILD_LOCK: Final = "graph-sync.rebuild"
"""Advisory lock in PostgreSQL: one rebuild at a time."""

SAMPLE_INTERVAL: Final = timedelta(minutes=1)
"""Time between two counts of the stubs."""

REFUSED_RERUN: Final = "rerun"
"""Kind of the job that a refused request to run again fails with; its recording may not exist."""
