"""Fixed values of the diarization service."""

from collections.abc import Mapping
from typing import Final

from phonograph_diarization.domain.engines import EngineChoice

DIARIZE: Final = "diarize"
"""The kind of job that diarizes one recording."""

NO_SPEECH: Final = "no_speech"
"""The reason of a result without turns."""

MATCH_THRESHOLDS: Final[Mapping[str, float]] = {EngineChoice.SILERO_MFCC: 0.8, EngineChoice.PYANNOTE: 0.5}
"""Least cosine similarity at which a voice is taken for that of a known person, by engine.

MFCC voiceprints of different people reach 0.6 in other recordings, those of one person about 0.7 within one
recording: below 0.8 a person has to decide.
"""
