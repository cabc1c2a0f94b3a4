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


class PresetName(StrEnum):
    """Names of the presets in `phonograph_events`."""

    FAST = "fast"
    BALANCED = "balanced"
    ACCURATE = "accurate"


class ExportFormat(StrEnum):
    """File formats that `phonograph export` writes."""

    SRT = "srt"
    VTT = "vtt"
    TXT = "txt"
    JSON = "json"
    MD = "md"
    SUMMARY = "summary"
    RTTM = "rttm"
    CUE = "cue"


class Consent(StrEnum):
    """Consent of a person that voiceprints are kept."""

    YES = "yes"
    NO = "no"


class FillersName(StrEnum):
    """Names of the degrees of fillers in `phonograph_events`, which is slow to import."""

    NONE = "none"
    SOME = "some"
    ALL = "all"


class Extra(StrEnum):
    """Processes that `phonograph up` starts only on request."""

    MONITORING = "monitoring"
