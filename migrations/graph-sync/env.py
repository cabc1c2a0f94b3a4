"""Alembic environment of the graph-sync service."""

from phonograph_graph_sync.storage.tables import Base
from phonograph_runtime.migrations import run_environment

run_environment([Base.metadata])
