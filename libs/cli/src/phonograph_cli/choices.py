"""Choices of options.

They are separate from the modules that use them, because `phonograph --help` imports nothing heavy.
"""

from enum import StrEnum


class ProfileName(StrEnum):
    """Names of the profiles in `phonograph_events`, which is slow to import."""

    AUTO = "auto"
    MUSIC = "music"
    SPEECH = "speech"
    MEETING = "meeting"
    LECTURE = "lecture"


class ExportFormat(StrEnum):
    """File formats that `phonograph export` writes."""

    SRT = "srt"
    VTT = "vtt"
    TXT = "txt"
    JSON = "json"
    MD = "md"
    RTTM = "rttm"
    CUE = "cue"


class Extra(StrEnum):
    """Processes that `phonograph up` starts only on request."""

    MONITORING = "monitoring"
