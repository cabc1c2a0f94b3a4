"""Alembic environment of the transcription service."""

from phonograph_runtime.migrations import run_environment
from phonograph_transcription.storage.tables import Base

run_environment([Base.metadata])
