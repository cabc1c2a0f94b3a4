"""Fixed values of the ingest service."""

from typing import Final
from uuid import UUID

INGEST: Final = "ingest"
"""The kind of job that reads a file."""

PROCESSED_FORMAT: Final = "wav"
PROCESSED_SAMPLE_RATE_HZ: Final = 16_000
PROCESSED_CHANNELS: Final = 1

REJECTED_NAMESPACE: Final = UUID("6f1d1c9e-5a0b-5d0e-9a53-0f6a2f0c7b11")
"""A rejected file has no content to be known by: its id follows from its owner and address."""
