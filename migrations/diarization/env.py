"""Alembic environment of the diarization service."""

from phonograph_diarization.storage.tables import Base
from phonograph_runtime.migrations import run_environment

run_environment([Base.metadata])
