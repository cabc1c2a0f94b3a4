"""Fixed values of the diarization service."""

from typing import Final

DIARIZE: Final = "diarize"
"""The kind of job that tells the speakers of one recording apart."""

SAMPLE_RATE_HZ: Final = 16_000
"""Of every rendition."""

NO_SPEECH: Final = "no_speech"
"""The reason of a result without turns."""

MATCH_THRESHOLD: Final = 0.8
"""Cosine above which a voice is taken for a known one. MFCC voiceprints of different people reach 0.6 in
other recordings, those of one person about 0.7 within one: below 0.8 a person has to decide."""
