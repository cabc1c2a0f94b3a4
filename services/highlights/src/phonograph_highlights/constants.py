"""Fixed values of the highlights service."""

from typing import Final
from uuid import UUID

DETECT_SILENCE: Final = "silence"
"""Kind of the job that detects silence and blank pictures."""
SEGMENT: Final = "segments"
"""Kind of the job that finds topics and writes clips."""
ATTRIBUTE: Final = "speakers"
"""Kind of the job that finds who speaks in each segment."""

SILENCE_ENGINE: Final = "ffmpeg"
"""Engine of the first stage, as results report it."""

MIN_SILENCE_S: Final = 0.5
MIN_BLANK_S: Final = 1.0

TOO_SHORT: Final = "too_short"
NO_SPEECH: Final = "no_speech"
MIN_SPEECH_S: Final = 60.0
"""A talk with less speech than this is one segment."""
MAX_SEGMENTS: Final = 200

ID_NAMESPACE: Final = UUID("0c0d5a0e-6a70-5a0f-8f64-4a3e2b8a9d52")
"""Ids of segments and clips derive from the transcript, so that a repeated job overwrites its own objects."""
