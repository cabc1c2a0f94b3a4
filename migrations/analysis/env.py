"""Alembic environment of the analysis service."""

from phonograph_analysis.storage.tables import Base
from phonograph_runtime.migrations import run_environment

run_environment([Base.metadata])
