"""Synthetic voices, for tests on machines without recordings."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

RATE = 16_000
LOWEST_HZ, HIGHEST_HZ = (280, 900, 2_200, 3_200), (750, 2_300, 3_000, 3_600)
"""Ranges of the formants of all vowels."""
WIDTHS_HZ = (80, 100, 140, 200)
SPEAKERS = {"low": (110, 1.0), "high": (210, 1.17), "deep": (90, 0.86)}
"""Pitch in Hz and length of the vocal tract, as a factor of the formants."""

Voice = Callable[[str, float, int], NDArray[np.float32]]
Talk = Callable[..., tuple[NDArray[np.float32], list[tuple[float, float, str]]]]


def vowel(rng: np.random.Generator, pitch_hz: float, tract: float) -> NDArray[np.float64]:
    """Return a syllable: pulses at a gliding pitch through four formants (source and filter, Fant 1960)."""
    seconds = rng.uniform(0.05, 0.14)
    t = np.arange(int(seconds * RATE)) / RATE
    glide = 1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * t + rng.uniform(0, 6))
    phase = np.cumsum(pitch_hz * rng.uniform(0.9, 1.12) * glide) / RATE
    sound = lfilter([1], [1, -0.95], np.diff(np.floor(phase), prepend=0))
    sound = sound + 0.01 * rng.standard_normal(t.size)
    for formant_hz, width_hz in zip(rng.uniform(LOWEST_HZ, HIGHEST_HZ), WIDTHS_HZ, strict=True):
        radius = np.exp(-np.pi * width_hz / RATE)
        angle = 2 * np.pi * formant_hz * tract / RATE
        sound = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], sound)
    envelope = np.clip(np.minimum(t / 0.03, (seconds - t) / 0.04), 0, 1)
    return sound * envelope / np.abs(sound).max() * rng.uniform(0.5, 1)


@pytest.fixture
def voice() -> Voice:
    """A function that returns speech of one of `SPEAKERS`, shape (seconds * 16000,)."""

    def speak(speaker: str, seconds: float, seed: int) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        parts: list[NDArray[np.float64]] = []
        while sum(map(len, parts)) < seconds * RATE:
            parts.append(vowel(rng, *SPEAKERS[speaker]))
            if rng.random() < 0.3:
                hiss = rng.standard_normal(int(rng.uniform(0.04, 0.1) * RATE))
                parts.append(lfilter([1, -0.9], [1], hiss) * 0.08 * np.hanning(hiss.size))
        return (0.3 * np.concatenate(parts)[: int(seconds * RATE)]).astype(np.float32)

    return speak


@pytest.fixture
def talk(voice: Voice) -> Talk:
    """A function that returns speakers taking turns, and the truth: start, end, speaker."""

    def speak(*turns: tuple[str, float]) -> tuple[NDArray[np.float32], list[tuple[float, float, str]]]:
        gap = np.zeros(RATE // 2, np.float32)
        parts, truth, position = [gap], [], 0.5
        for number, (speaker, seconds) in enumerate(turns):
            parts += [voice(speaker, seconds, number + 1), gap]
            truth.append((position, position + seconds, speaker))
            position += seconds + 0.5
        samples = np.concatenate(parts)
        noise = np.random.default_rng(0).standard_normal(samples.size)
        return samples + (1e-3 * noise).astype(np.float32), truth

    return speak
