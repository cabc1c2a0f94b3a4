"""Alembic environment of the ingest service."""

from phonograph_ingest.storage.tables import Base
from phonograph_runtime.migrations import run_environment

run_environment([Base.metadata])
