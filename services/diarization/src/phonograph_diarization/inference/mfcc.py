"""Mel-frequency cepstral coefficients: the sound of a voice, frame by frame."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from phonograph_media import SAMPLE_RATE_HZ

HOP = SAMPLE_RATE_HZ // 100
"""Samples from frame to frame: 10 ms."""
FRAMES_PER_S = SAMPLE_RATE_HZ // HOP
COEFFICIENTS = 19
"""The first to the nineteenth; the zeroth is loudness, which depends more on distance than on the voice."""

_WINDOW = SAMPLE_RATE_HZ * 25 // 1000
_FFT = 512
_BANDS = 40
_LOWEST_HZ, _HIGHEST_HZ = 20.0, 7_600.0
_MIN_POWER = 1e-7
_BLOCK = 30_000
"""Frames at a time: five minutes, which keeps the spectra under 100 MB."""


def mfcc(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the coefficients, shape (frames, 19), a frame every 10 ms.

    Source: Davis and Mermelstein, 1980, with HTK's mel scale.

    Args:
        samples: Shape (samples,), 16 kHz mono.
    """
    if samples.size < _WINDOW:
        samples = np.pad(samples, (0, _WINDOW - samples.size))
    count = 1 + (samples.size - _WINDOW) // HOP
    coefficients = np.empty((count, COEFFICIENTS), np.float32)
    for begin in range(0, count, _BLOCK):
        end = min(begin + _BLOCK, count)
        # The filter needs the sample before the block, so that blocks equal the whole.
        before = samples[begin * HOP - 1] if begin else samples[0]
        coefficients[begin:end] = _mfcc_of_block(samples[begin * HOP : (end - 1) * HOP + _WINDOW], before)
    return coefficients


def _mfcc_of_block(samples: NDArray[np.float32], before: np.float32) -> NDArray[np.float32]:
    from scipy.fft import dct

    emphasized = samples - np.float32(0.97) * np.concatenate([[before], samples[:-1]])
    frames = np.lib.stride_tricks.sliding_window_view(emphasized, _WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * np.hamming(_WINDOW).astype(np.float32), _FFT)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    bands = np.log(power @ _mel_filters().T + np.float32(_MIN_POWER))
    cepstrum: NDArray[np.float32] = dct(bands, type=2, axis=1, norm="ortho")
    return cepstrum[:, 1 : COEFFICIENTS + 1]


@cache
def _mel_filters() -> NDArray[np.float32]:
    """Return triangles on the mel scale, shape (bands, bins)."""
    edges_mel = np.linspace(_to_mel(_LOWEST_HZ), _to_mel(_HIGHEST_HZ), _BANDS + 2)
    edges_hz = 700 * (10 ** (edges_mel / 2595) - 1)
    low, middle, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    bins_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, _FFT // 2 + 1)[None, :]
    triangles = np.minimum((bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle))
    return np.maximum(triangles, 0).astype(np.float32)


def _to_mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))
