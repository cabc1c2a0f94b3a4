"""Alembic environment of the tracklist service."""

from phonograph_runtime.migrations import run_environment
from phonograph_tracklist.storage.tables import Base

run_environment([Base.metadata])
