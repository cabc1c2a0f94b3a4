"""Limits between music, speech, noise and silence, and other fixed values of the analysis service.

The limits were set on 330 excerpts of 6 to 40 s: rendered songs of sixteen tempi and keys, published tracks,
click tracks, solo and ambient pieces without a pulse, synthetic and recorded speech, and nine kinds of noise.
"""

from typing import Final

ANALYZE: Final = "analysis"
"""The kind of job that measures a recording."""
OPTIONS: Final = ("track",)
"""Options of a recording that an analysis depends on."""

ENGINE: Final = "essentia"
"""Name of the engine, as results report it."""
REVISION: Final = 2
"""Number of the changes of this package that changed results; part of `algorithm_build`."""

SAMPLE_RATE_HZ: Final = 44_100
BLOCK_S: Final = 60.0
"""Audio is read in blocks of about this length, so that memory use does not grow with the recording."""
PART_S: Final = 300.0
"""Longest part that is measured at once: memory use does not grow with the recording."""
KEY_WINDOW_S: Final = 30.0
"""Length of the windows whose keys show how the key of a mix changes."""

SILENCE_LUFS: Final = -60.0
"""Momentary loudness below which nothing is audible: 16-bit dither is near -90, a quiet room near -65."""
MIN_AUDIBLE_S: Final = 5.0
"""Less audio than this has no tempo, key or danceability: noise of four seconds looks regular by chance."""

BPM_MIN: Final = 40.0
BPM_MAX: Final = 250.0
CONFIDENCE_MAX: Final = 5.32
"""Largest confidence that RhythmExtractor2013 (multifeature) can return."""

PULSE_MIN: Final = 0.4
"""Autocorrelation of the onsets at the best beat period: noise to 0.19, speech to 0.21, drums from 0.44."""
ONSET_DEPTH_MIN: Final = 0.01
"""Spread of the onset strength relative to the level: steady tones, hum and noise stay below it."""
TRACKER_MIN_S: Final = 20.0
"""Length from which the beat tracker's confidence is meaningful; in shorter audio it is high for anything."""
TRACKER_CONFIDENCE_MIN: Final = 2.0
"""Noise and speech of 20 s reach 1.24, strings without drums start at 2.4."""
BEAT_TOLERANCE: Final = 0.1
"""Share by which a beat interval may differ from the median and still count as regular."""
REGULAR_MIN: Final = 0.5
"""Smallest share of regular beat intervals for a tempo."""
CONFIDENCE_CLEAR: Final = 0.45
"""Confidence below which a person should check a tempo."""
SECTION_BEATS: Final = 32
"""Shortest stretch of beats that is looked at for a change of tempo."""
SECTION_CHANGE: Final = 0.008
"""Change of tempo that ends a section, as a binary logarithm: 0.56 %."""
BAR_MIN_BEATS: Final = 24
"""Fewer beats have accents by chance."""
BAR_CLARITY_MIN: Final = 0.8
"""Standard deviations by which the first beat of a bar is accented more than the next strongest."""

FLATNESS_MAX: Final = 0.5
"""Spectral flatness within third octaves: noise of any color from 0.56, songs from 0.01 to 0.39."""
CHROMA_SPREAD_MIN: Final = 0.3
"""Spread of the mean pitch-class profile (mean 1): noise to 0.21, speech to 0.28, songs from 0.32."""
CHROMA_SPREAD_SUNG: Final = 0.5
"""The same for audio with pauses and without a pulse, where a monotonous voice reaches 0.47."""
CHROMA_SPREAD_MAX: Final = 2.0
"""A triad of pure tones has 1.7, two tones 2.2, one tone 3.3: two tones have no key."""
PAUSES_MIN: Final = 0.08
"""Share of frames 12 dB below the mean: a voice pauses between words, sustained music hardly ever."""
KEY_STRENGTH_MIN: Final = 0.6
"""Correlation with the winning key profile: speech and hum to 0.6, songs from 0.8."""
KEY_STRENGTH_DISPUTED: Final = 0.75
"""The same where the two profiles name different keys."""
