"""Spectral measurements that essentia has no algorithm for, in blocks of constant memory."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from phonograph_analysis.constants import BPM_MAX, BPM_MIN, SAMPLE_RATE_HZ
from phonograph_analysis.domain.tempo import Pulse
from phonograph_analysis.domain.tonality import Texture

FRAME = 4096
HOP = 1024
ONSET_FRAME = 1024
ONSET_HOP = 512
BLOCK_FRAMES = 512
LOWEST_HZ, HIGHEST_HZ = 100.0, 5000.0
ACTIVE_DB = 40.0
"""Frames within this distance from the loudest one are active."""
PAUSE_DB = 12.0
"""Frames at least this far below the mean level of active ones are pauses."""


def magnitude_blocks(samples: NDArray[np.float32], frame: int, hop: int) -> Iterator[NDArray[np.float32]]:
    """Yield Hann-windowed magnitude spectra in blocks of shape (up to 512, frame / 2 + 1).

    Args:
        samples: Shape (n,), 44.1 kHz mono, n at least `frame`.
        frame: Samples in a frame.
        hop: Samples between the starts of two frames.
    """
    window = np.hanning(frame).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, frame)[::hop]
    for start in range(0, len(frames), BLOCK_FRAMES):
        yield np.abs(np.fft.rfft(frames[start : start + BLOCK_FRAMES] * window, axis=1)).astype(np.float32)


def measure_texture(samples: NDArray[np.float32]) -> Texture:
    """Return flatness, pitch-class spread and pauses of 44.1 kHz mono, at least 4096 samples long."""
    frequencies = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE_HZ)
    bands = [
        (frequencies >= LOWEST_HZ * 2 ** (third / 3)) & (frequencies < LOWEST_HZ * 2 ** ((third + 1) / 3))
        for third in range(16)
    ]
    bands = [band for band in bands if np.count_nonzero(band) >= 4]
    pitched = (frequencies > LOWEST_HZ) & (frequencies < HIGHEST_HZ)
    pitch_class = np.round(12 * np.log2(frequencies[pitched] / 440.0)).astype(int) % 12
    to_chroma = (pitch_class[:, np.newaxis] == np.arange(12)).astype(np.float32)

    flatness, chroma, level_db = [], [], []
    for spectrum in magnitude_blocks(samples, FRAME, HOP):
        power = spectrum.astype(np.float64) ** 2 + 1e-15
        weight = np.stack([power[:, band].sum(axis=1) for band in bands])
        flat = np.stack(
            [np.exp(np.log(power[:, band]).mean(axis=1)) / power[:, band].mean(axis=1) for band in bands]
        )
        flatness.append((flat * weight).sum(axis=0) / weight.sum(axis=0))
        classes = spectrum[:, pitched] @ to_chroma
        chroma.append(classes / (classes.sum(axis=1, keepdims=True) + 1e-9))
        level_db.append(_level_db(spectrum))
    level = np.concatenate(level_db)
    active = level > level.max() - ACTIVE_DB
    profile = np.concatenate(chroma)[active].mean(axis=0)
    return Texture(
        flatness=float(np.median(np.concatenate(flatness)[active])),
        chroma_spread=float(12 * profile.std()),
        pauses=float(np.mean(level < level[active].mean() - PAUSE_DB)),
    )


def measure_pulse(samples: NDArray[np.float32]) -> Pulse:
    """Return the regularity of the onsets of 44.1 kHz mono at about -20 dBFS, at least two seconds long.

    Onset strength is the rise of the log magnitude spectrum from frame to frame (spectral flux), minus its
    mean over half a second.
    """
    rises, levels = [], []
    previous: NDArray[np.float32] | None = None
    for spectrum in magnitude_blocks(samples, ONSET_FRAME, ONSET_HOP):
        log = np.log1p(1000.0 * spectrum)
        levels.append(log.mean(axis=1))
        joined = log if previous is None else np.concatenate([previous, log])
        rises.append(np.maximum(np.diff(joined, axis=0), 0.0).mean(axis=1))
        previous = log[-1:]
    frames_per_s = SAMPLE_RATE_HZ / ONSET_HOP
    strength = np.concatenate(rises).astype(np.float64)
    width = int(frames_per_s / 2)
    strength -= np.convolve(strength, np.full(width, 1 / width), "same")
    # The transform is twice as long as the signal: otherwise the end would correlate with the start.
    correlation = np.fft.irfft(np.abs(np.fft.rfft(strength, 2 * strength.size)) ** 2)[: strength.size]
    periods = slice(int(frames_per_s * 60 / BPM_MAX), int(frames_per_s * 60 / BPM_MIN) + 1)
    return Pulse(
        strength=float(correlation[periods].max() / (correlation[0] + 1e-12)),
        depth=float(strength.std() / (np.concatenate(levels).mean() + 1e-9)),
    )


def active_spectra(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield magnitude spectra, shape (2049,), of the frames within 40 dB of the loudest."""
    # Two passes cost less memory than the spectra of a ten-minute excerpt, 210 MB.
    levels_db = [_level_db(spectrum) for spectrum in magnitude_blocks(samples, FRAME, HOP)]
    floor_db = max(float(level.max()) for level in levels_db) - ACTIVE_DB
    for level, spectrum in zip(levels_db, magnitude_blocks(samples, FRAME, HOP), strict=True):
        yield from spectrum[level > floor_db]


def _level_db(spectrum: NDArray[np.float32]) -> NDArray[np.float64]:
    level: NDArray[np.float64] = 10 * np.log10(np.square(spectrum, dtype=np.float64).sum(axis=1) + 1e-12)
    return level
