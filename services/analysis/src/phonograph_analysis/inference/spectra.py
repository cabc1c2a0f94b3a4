"""Spectral measurements that essentia has no algorithm for, in blocks of constant memory."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from phonograph_analysis.constants import BPM_MAX, BPM_MIN, SAMPLE_RATE_HZ
from phonograph_analysis.domain.results import FeatureStatistics
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
TUNING_HZ = (200.0, 2000.0)
TUNING_FLOOR = 4.0
"""Partials within 35 dB of the strongest of their frame count."""
BASS_HZ = (30.0, 150.0)
BASS_FRAMES = 5
"""Frames after a beat in which its bass note sounds: 0.12 s."""
ROLLOFF_SHARE = 0.85
OCTAVES_FROM_HZ = 125.0
OCTAVES = 6
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

    flatness, chroma, level_db = [], [], []
    for spectrum in magnitude_blocks(samples, FRAME, HOP):
        power = spectrum.astype(np.float64) ** 2 + 1e-15
        weight = np.stack([power[:, band].sum(axis=1) for band in bands])
        flat = np.stack(
            [np.exp(np.log(power[:, band]).mean(axis=1)) / power[:, band].mean(axis=1) for band in bands]
        )
        flatness.append((flat * weight).sum(axis=0) / weight.sum(axis=0))
        chroma.append(_chroma(spectrum))
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


def measure_tuning(samples: NDArray[np.float32]) -> complex:
    """Return the mean direction of the partials on a circle of one semitone, where 440 Hz is at 0.

    The angle of the result is the deviation, its length how well the partials agree: 0 for drums and noise,
    about 0.8 for a chord. The results of several parts can be added.

    Args:
        samples: Shape (n,), 44.1 kHz mono, n at least 4096.
    """
    low, high = (round(hz * FRAME / SAMPLE_RATE_HZ) for hz in TUNING_HZ)
    total, weights = 0j, 0.0
    for spectrum in active_spectra(samples):
        if not len(spectrum):
            continue
        left, middle, right = (
            np.log(spectrum[:, low + shift : high + shift].astype(np.float64) + 1e-12) for shift in (-1, 0, 1)
        )
        is_peak = (middle > left) & (middle >= right)
        is_peak &= middle > middle.max(axis=1, keepdims=True) - TUNING_FLOOR
        frames, bins = np.nonzero(is_peak)
        curve = left[frames, bins] - 2 * middle[frames, bins] + right[frames, bins]
        shift = (left[frames, bins] - right[frames, bins]) / (2 * curve - 1e-12)
        hz = (bins + low + shift) * SAMPLE_RATE_HZ / FRAME
        weight = np.exp(middle[frames, bins])
        total += complex((weight * np.exp(2j * np.pi * 12 * np.log2(hz / 440.0))).sum())
        weights += float(weight.sum())
    return total / weights if weights else 0j


def measure_accents(samples: NDArray[np.float32], beats_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how strongly each beat is accented: by its bass, and by the change of harmony at it.

    Args:
        samples: Shape (n,), 44.1 kHz mono, n at least 4096.
        beats_s: Seconds from the start of the samples, ascending, shape (beats,).

    Returns:
        Shape (beats,); sums of two standard scores.
    """
    bass_bins = slice(*(round(hz * FRAME / SAMPLE_RATE_HZ) for hz in BASS_HZ))
    bass, chroma = [], []
    for spectrum in magnitude_blocks(samples, FRAME, HOP):
        bass.append(np.square(spectrum[:, bass_bins], dtype=np.float64).sum(axis=1))
        chroma.append(_chroma(spectrum))
    levels, classes = np.concatenate(bass), np.concatenate(chroma)
    # A frame is at its middle.
    frames = np.clip(np.round((beats_s * SAMPLE_RATE_HZ - FRAME / 2) / HOP).astype(int), 0, len(levels) - 1)
    steps = np.diff(frames, prepend=max(2 * frames[0] - frames[1], 0), append=len(levels) - 1)
    accents = np.zeros((2, len(frames)))
    for number, frame in enumerate(frames):
        before = classes[max(frame - max(int(steps[number]), 1), 0) : max(frame, 1)].mean(axis=0)
        after = classes[frame : frame + max(int(steps[number + 1]), 1)].mean(axis=0)
        accents[0, number] = np.log1p(levels[frame : frame + BASS_FRAMES].max())
        accents[1, number] = np.abs(after - before).sum()
    deviations = accents - accents.mean(axis=1, keepdims=True)
    scores: NDArray[np.float64] = (deviations / (accents.std(axis=1, keepdims=True) + 1e-9)).sum(axis=0)
    return scores


@dataclass
class FeatureSums:
    """Sums from which the statistics of features are computed, over any number of parts."""

    count: int = 0
    total: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    products: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 1)))

    def add(self, features: NDArray[np.float64]) -> None:
        """Add frames; `features` has the shape (frames, features)."""
        self.count += len(features)
        self.total = self.total + features.sum(axis=0)
        self.products = self.products + features.T @ features

    def statistics(self) -> FeatureStatistics | None:
        """Return mean and covariance; None without frames."""
        if not self.count:
            return None
        mean = self.total / self.count
        covariance = self.products / self.count - np.outer(mean, mean)
        return FeatureStatistics(
            tuple(np.round(mean, 4).tolist()), tuple(tuple(row) for row in np.round(covariance, 4).tolist())
        )


def describe_spectra(spectra: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the shape of spectra: `MusicAnalysis.spectrum` lists the features.

    Args:
        spectra: Magnitudes, shape (frames, 2049).

    Returns:
        Shape (frames, 10).
    """
    khz = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE_HZ) / 1000
    power = np.square(spectra, dtype=np.float64) + 1e-15
    share = power / power.sum(axis=1, keepdims=True)
    centroid = share @ khz
    spread = np.sqrt(np.maximum(share @ khz**2 - centroid**2, 0.0))
    rolloff = khz[(np.cumsum(share, axis=1) < ROLLOFF_SHARE).sum(axis=1).clip(max=len(khz) - 1)]
    flatness = np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1)
    edges = OCTAVES_FROM_HZ / 1000 * 2.0 ** np.arange(OCTAVES + 1)
    octaves = [share[:, (khz >= low) & (khz < high)].sum(axis=1) for low, high in itertools.pairwise(edges)]
    return np.stack([centroid, spread, rolloff, flatness, *octaves], axis=1)


def active_spectra(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield magnitude spectra, shape (up to 512, 2049), of the frames within 40 dB of the loudest."""
    # Two passes cost less memory than the spectra of five minutes, 105 MB.
    levels_db = [_level_db(spectrum) for spectrum in magnitude_blocks(samples, FRAME, HOP)]
    floor_db = max(float(level.max()) for level in levels_db) - ACTIVE_DB
    for level, spectrum in zip(levels_db, magnitude_blocks(samples, FRAME, HOP), strict=True):
        yield spectrum[level > floor_db]


@cache
def _pitch_classes() -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return which bins of a spectrum have a pitch, and the pitch class of each of these, one-hot."""
    frequencies = np.fft.rfftfreq(FRAME, 1 / SAMPLE_RATE_HZ)
    pitched = (frequencies > LOWEST_HZ) & (frequencies < HIGHEST_HZ)
    pitch_class = np.round(12 * np.log2(frequencies[pitched] / 440.0)).astype(int) % 12
    return pitched, (pitch_class[:, np.newaxis] == np.arange(12)).astype(np.float32)


def _chroma(spectra: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the share of each pitch class, shape (frames, 12), of spectra of shape (frames, 2049)."""
    pitched, to_chroma = _pitch_classes()
    classes = spectra[:, pitched] @ to_chroma
    shares: NDArray[np.float32] = classes / (classes.sum(axis=1, keepdims=True) + 1e-9)
    return shares


def _level_db(spectrum: NDArray[np.float32]) -> NDArray[np.float64]:
    level: NDArray[np.float64] = 10 * np.log10(np.square(spectrum, dtype=np.float64).sum(axis=1) + 1e-12)
    return level
