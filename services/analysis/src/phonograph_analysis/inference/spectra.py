"""Measurements on spectra that the engine has no algorithm for, in blocks of constant memory."""

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
PAUSE_DB = 12.0


def magnitudes(samples: NDArray[np.float32], frame: int, hop: int) -> Iterator[NDArray[np.float32]]:
    """Hann-windowed magnitude spectra of 44.1 kHz mono in blocks of shape (up to 512, frame / 2 + 1)."""
    window = np.hanning(frame).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, frame)[::hop]
    for start in range(0, len(frames), BLOCK_FRAMES):
        yield np.abs(np.fft.rfft(frames[start : start + BLOCK_FRAMES] * window, axis=1)).astype(np.float32)


def texture(samples: NDArray[np.float32]) -> Texture:
    """Flatness, pitch-class spread and pauses of 44.1 kHz mono, at least one frame of 4096 samples long."""
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
    for spectrum in magnitudes(samples, FRAME, HOP):
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


def pulse(samples: NDArray[np.float32]) -> Pulse:
    """Regularity of the onsets of 44.1 kHz mono at a level of about -20 dBFS, at least two seconds long.

    Onset strength is the rise of the log magnitude spectrum from frame to frame (spectral flux), less its
    mean over half a second.
    """
    rises, levels = [], []
    last: NDArray[np.float32] | None = None
    for spectrum in magnitudes(samples, ONSET_FRAME, ONSET_HOP):
        log = np.log1p(1000.0 * spectrum)
        levels.append(log.mean(axis=1))
        joined = log if last is None else np.concatenate([last, log])
        rises.append(np.maximum(np.diff(joined, axis=0), 0.0).mean(axis=1))
        last = log[-1:]
    frames_per_s = SAMPLE_RATE_HZ / ONSET_HOP
    strength = np.concatenate(rises).astype(np.float64)
    around = int(frames_per_s / 2)
    strength -= np.convolve(strength, np.full(around, 1 / around), "same")
    correlation = np.fft.irfft(np.abs(np.fft.rfft(strength, 2 * strength.size)) ** 2)[: strength.size]
    distances = slice(int(frames_per_s * 60 / BPM_MAX), int(frames_per_s * 60 / BPM_MIN) + 1)
    return Pulse(
        strength=float(correlation[distances].max() / (correlation[0] + 1e-12)),
        depth=float(strength.std() / (np.concatenate(levels).mean() + 1e-9)),
    )


def active_spectra(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Magnitude spectra, shape (2049,), of the frames within 40 dB of the loudest."""
    block_db = [_level_db(spectrum) for spectrum in magnitudes(samples, FRAME, HOP)]
    floor_db = max(float(level.max()) for level in block_db) - ACTIVE_DB
    for level, spectrum in zip(block_db, magnitudes(samples, FRAME, HOP), strict=True):
        yield from spectrum[level > floor_db]


def _level_db(spectrum: NDArray[np.float32]) -> NDArray[np.float64]:
    level: NDArray[np.float64] = 10 * np.log10(np.square(spectrum, dtype=np.float64).sum(axis=1) + 1e-12)
    return level
