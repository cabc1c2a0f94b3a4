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

MAX_TAG_BYTES: Final = 64 * 1024
"""Per tag; long lyrics have less than 10 kB, so a longer tag is a picture or a mistake."""
MAX_CUE_TAG_BYTES: Final = 256 * 1024
"""Per tag that holds a cue sheet; one of ten hours with every keyword has less than 100 kB."""
MAX_TAGS_BYTES: Final = 400_000
MAX_CHAPTERS_BYTES: Final = 300_000
MAX_CHAPTER_TITLE_CHARS: Final = 500
MAX_WARNINGS: Final = 100
MAX_WARNING_CHARS: Final = 500
"""These limits keep `media-ready` below 1 MB, which every topic accepts."""
