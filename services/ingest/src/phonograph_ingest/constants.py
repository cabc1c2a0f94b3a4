"""Fixed values of the ingest service."""

from typing import Final
from uuid import UUID

INGEST: Final = "ingest"
"""The kind of job that reads and registers a file."""

ENGINE: Final = "pyav"
"""Name of the library that decodes files, as events report it."""

PROCESSED_FORMAT: Final = "wav"
PROCESSED_SAMPLE_RATE_HZ: Final = 16_000
PROCESSED_CHANNELS: Final = 1

REJECTED_NAMESPACE: Final = UUID("6f1d1c9e-5a0b-5d0e-9a53-0f6a2f0c7b11")
"""Namespace of the ids of rejected files: without a content hash, an id follows from owner and URI."""
