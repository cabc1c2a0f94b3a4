"""What the measurements rest on: limits between music, speech, noise and silence.

The limits were set on 330 excerpts of 6 to 40 s: rendered songs of sixteen tempi and keys, published tracks,
click tracks, solo and ambient pieces without a pulse, synthetic and recorded speech, and nine kinds of noise.
"""

from typing import Final

ANALYSIS: Final = "analysis"
"""The kind of job that measures a file."""

ENGINE: Final = "essentia"
REVISION: Final = 1
"""Counts changes of this package that change results; part of `algorithm_build`."""

SAMPLE_RATE_HZ: Final = 44_100
BLOCK_S: Final = 60.0
"""Sound is read in blocks of about this length, so that a recording of any length takes the same memory."""
EXCERPT_S: Final = 600.0
"""Longest stretch on which tempo, key, danceability and timbre are measured; loudness is measured on all."""

SILENCE_LUFS: Final = -60.0
"""Momentary loudness under which nothing sounds: 16-bit dither lies near -90, a quiet room near -65."""
MIN_SOUNDING_S: Final = 5.0
"""Less sound than this has no tempo, key or danceability: noise of four seconds looks regular by chance."""

BPM_MIN: Final = 40.0
BPM_MAX: Final = 250.0
CONFIDENCE_MAX: Final = 5.32
"""Largest confidence that RhythmExtractor2013 (multifeature) can give."""

PULSE_MIN: Final = 0.4
"""Autocorrelation of the onsets at the best beat distance: noise to 0.19, speech to 0.21, drums from 0.44."""
ONSET_DEPTH_MIN: Final = 0.01
"""Spread of the onset strength against the level: steady tones, hum and noise stay under it."""
TRACKER_MIN_S: Final = 20.0
"""From this length on the beat tracker's confidence separates alone; before, it is high for anything."""
TRACKER_CONFIDENCE_MIN: Final = 2.0
"""Noise and speech of 20 s reach 1.24, strings without drums start at 2.4."""
BEAT_TOLERANCE: Final = 0.1
"""Share by which a beat interval may differ from the median and still count as regular."""
REGULAR_MIN: Final = 0.5
"""Share of regular intervals that a tempo needs: most of the excerpt has it."""

FLATNESS_MAX: Final = 0.5
"""Spectral flatness within third octaves: noise of any colour from 0.56, songs from 0.01 to 0.39."""
CHROMA_SPREAD_MIN: Final = 0.3
"""Spread of the mean pitch-class profile (mean 1): noise to 0.21, speech to 0.28, songs from 0.32."""
CHROMA_SPREAD_SUNG: Final = 0.5
"""The same for sound with pauses and without a pulse, where a monotonous voice reaches 0.47."""
CHROMA_SPREAD_MAX: Final = 2.0
"""A triad of pure tones has 1.7, two tones 2.2, one tone 3.3: two tones make no key."""
PAUSES_MIN: Final = 0.08
"""Share of frames 12 dB below the mean of a voice between words; sustained music has next to none."""
KEY_STRENGTH_MIN: Final = 0.6
"""Correlation with the winning key profile: speech and hum to 0.6, songs from 0.8."""
KEY_STRENGTH_DISPUTED: Final = 0.75
"""The same where the two profiles name different keys."""
