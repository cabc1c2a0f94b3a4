"""Fixed values of the diarization service."""

from typing import Final

DIARIZE: Final = "diarize"
"""The kind of job that diarizes one recording."""

OPTIONS: Final = ("speakers", "min_speakers", "max_speakers")
"""Options of a recording that a diarization depends on."""

NO_SPEECH: Final = "no_speech"
"""The reason of a result without turns."""

MAX_SEARCHED_VOICES: Final = 5_000
"""Voices of one owner, the newest, for which people are suggested when the voice of a person is learned.

Comparing as many takes a tenth of a second.
"""
