"""Alembic environment of the highlights service."""

from phonograph_highlights.storage.tables import Base
from phonograph_runtime.migrations import run_environment

run_environment([Base.metadata])
