"""Fixed values of the diarization service."""

from typing import Final

DIARIZE: Final = "diarize"
"""The kind of job that tells the speakers of one recording apart."""

SAMPLE_RATE_HZ: Final = 16_000
"""Of every rendition."""

NO_SPEECH: Final = "no_speech"
"""The reason of a result without turns."""

SILERO_MFCC: Final = "silero-mfcc"
PYANNOTE: Final = "pyannote"
"""The engines, as settings and results name them."""

MATCH_THRESHOLDS: Final = {SILERO_MFCC: 0.8, PYANNOTE: 0.5}
"""Cosine from which a voice is taken for a known person, for each engine.

MFCC voiceprints of different people reach 0.6 in other recordings, those of one person about 0.7 within one
recording: below 0.8 a person has to decide.
"""
