"""Voiceprints of the local speakers of each window."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.inference.ge2e import HOP, WINDOW_FRAMES, Ge2eEncoder, mel_spectrogram
from phonograph_diarization.inference.segmentation import (
    FIRST_CENTER,
    FRAME,
    FRAMES,
    STEP,
    WINDOW,
    Activity,
    count_windows_per_frame,
    frame_of_window,
)
from phonograph_media import SAMPLE_RATE_HZ

Array = NDArray[np.float32]

_MEL_FRAMES = WINDOW // HOP
_NEAREST_FRAME = np.clip(
    np.round((np.arange(_MEL_FRAMES) * HOP - FIRST_CENTER) / FRAME).astype(np.intp), 0, FRAMES - 1
)
"""The frame of the segmentation that is nearest to each frame of the spectrogram."""
_MIN_CLEAN_FRAMES = WINDOW_FRAMES // 2
"""Speech without a second speaker that makes a vector; if there is less, overlapped speech counts, too."""
_MIN_FRAMES = 30
_MAX_PIECES = 3
"""Vectors that are averaged for a local speaker; the windows overlap, so that more add little."""
_PIECE_HOP = WINDOW_FRAMES // 2
_WINDOWS_AT_ONCE = 32
_LEVEL = np.float32(0.01)
"""Mean of a spectrogram of speech at -30 dB full scale, the level of the network's training."""
_TYPICAL_DB = (
    -7, 6, 9, 5, 5, 6, 7, 5, 4, 2, 1, -1, -2, -4, -4, -5, -6, -7, -7, -8,
    -9, -9, -11, -13, -14, -14, -16, -18, -18, -20, -24, -32, -39, -41, -42, -42, -44, -44, -43, -48,
)  # fmt: skip
"""Spectrum of speech in each mel band, averaged over five voices (telephone, lectern, synthesized)."""
_TYPICAL = (10 ** (np.array(_TYPICAL_DB) / 10)).astype(np.float32)
_FLOOR = 1e-7
"""Of the strongest band: what is below is the noise of 16-bit samples."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalVoices:
    """The local speakers that have a vector, in the order of their windows."""

    windows: NDArray[np.intp]
    """Number of the window of each, shape (voices,)."""
    slots: NDArray[np.intp]
    """Place within the window's activity, shape (voices,)."""
    vectors: Array
    """Unit vectors, shape (voices, 256)."""
    clean_s: Array
    """Speech in the window without a second speaker, in seconds, shape (voices,)."""
    share_s: Array
    """The same, divided by the number of windows that judge a frame; the sum is the speech of a speaker."""


def embed_local_voices(
    samples: Array, activity: Activity, encoder: Ge2eEncoder, progress: Callable[[float], None]
) -> LocalVoices:
    """Return the vector of each local speaker who talks for 0.3 s or more.

    Args:
        samples: Shape (samples,), 16 kHz mono.
        activity: The local speakers of each window.
        encoder: The network.
        progress: Called with the fraction done.
    """
    coverage = count_windows_per_frame(len(activity))
    found: list[tuple[int, int, float, float]] = []
    vectors: list[Array] = []
    for begin in range(0, len(activity), _WINDOWS_AT_ONCE):
        progress(begin / len(activity))
        pieces: list[Array] = []
        counts: list[int] = []
        windows = range(begin, min(begin + _WINDOWS_AT_ONCE, len(activity)))
        for window, spectrogram in zip(windows, _spectrograms(samples, windows), strict=True):
            talking = activity[window]
            alone = talking.sum(axis=1) == 1
            first = frame_of_window(window)
            share = 1 / coverage[first : first + FRAMES]
            for slot in np.flatnonzero(talking.any(axis=0)):
                clean = talking[:, slot] & alone
                of_voice = cut_pieces(_normalize(_select(spectrogram, talking[:, slot], clean)))
                if not of_voice:
                    continue
                seconds = np.array([clean.sum(), share[clean].sum()]) * (FRAME / SAMPLE_RATE_HZ)
                found.append((window, int(slot), float(seconds[0]), float(seconds[1])))
                pieces += of_voice
                counts.append(len(of_voice))
        if pieces:
            split = np.cumsum(counts)[:-1]
            vectors += [_mean_direction(each) for each in np.split(encoder.embed(np.stack(pieces)), split)]
    table = np.array(found, np.float64).reshape(-1, 4)
    return LocalVoices(
        table[:, 0].astype(np.intp),
        table[:, 1].astype(np.intp),
        np.array(vectors, np.float32).reshape(-1, encoder.dim),
        table[:, 2].astype(np.float32),
        table[:, 3].astype(np.float32),
    )


def embed_alike(
    samples: Array, activity: Activity, voices: LocalVoices, members: NDArray[np.intp], encoder: Ge2eEncoder
) -> tuple[Array, Array]:
    """Return the vector of a group of local voices, and the one it would have through a typical microphone.

    For the second one each mel band gets the mean power that it has in speech on average. This removes what
    distance, room and microphone do to the spectrum, and the part of the voice that cannot be told from it.

    Args:
        samples: Shape (samples,), 16 kHz mono.
        activity: The local speakers of each window.
        voices: All local voices.
        members: Indices of the group's voices.
        encoder: The network.
    """
    parts = []
    for index in members:
        window, slot = int(voices.windows[index]), int(voices.slots[index])
        talking = activity[window]
        clean = talking[:, slot] & (talking.sum(axis=1) == 1)
        (spectrogram,) = _spectrograms(samples, range(window, window + 1))
        parts.append(_normalize(_select(spectrogram, talking[:, slot], clean)))
    spectrogram = np.concatenate(parts)
    mean = spectrogram.mean(axis=0)
    equalized = spectrogram * (_TYPICAL / (mean + _FLOOR * mean.max()))
    plain, alike = (
        np.stack([_normalize(piece) for piece in cut_pieces(each, limit=None)])
        for each in (spectrogram, equalized)
    )
    return _mean_direction(encoder.embed(plain)), _mean_direction(encoder.embed(alike))


def cut_pieces(spectrogram: Array, limit: int | None = _MAX_PIECES) -> list[Array]:
    """Return pieces of the length that the network knows; too short speech is repeated, or has none.

    Args:
        spectrogram: Shape (frames, 40).
        limit: Largest number of pieces; None for no limit.
    """
    frames = len(spectrogram)
    if frames < _MIN_FRAMES:
        return []
    if frames < WINDOW_FRAMES:
        return [np.tile(spectrogram, (-(-WINDOW_FRAMES // frames), 1))[:WINDOW_FRAMES]]
    count = 1 + (frames - WINDOW_FRAMES) // _PIECE_HOP
    count = count if limit is None else min(count, limit)
    starts = np.linspace(0, frames - WINDOW_FRAMES, count).astype(int)
    return [spectrogram[start : start + WINDOW_FRAMES] for start in starts]


def _spectrograms(samples: Array, windows: range) -> Iterator[Array]:
    """Yield the spectrogram of each window, shape (1000, 40); consecutive windows are computed at once."""
    first, last = windows[0] * STEP, windows[-1] * STEP + WINDOW
    part = samples[first:last]
    spectrogram = mel_spectrogram(np.pad(part, (0, last - first - part.size)))
    for window in windows:
        begin = (window * STEP - first) // HOP
        yield spectrogram[begin : begin + _MEL_FRAMES]


def _select(spectrogram: Array, talking: NDArray[np.bool_], clean: NDArray[np.bool_]) -> Array:
    """Return the frames in which a speaker talks, those without a second speaker if they are enough."""
    chosen = spectrogram[clean[_NEAREST_FRAME]]
    return chosen if len(chosen) >= _MIN_CLEAN_FRAMES else spectrogram[talking[_NEAREST_FRAME]]


def _normalize(spectrogram: Array) -> Array:
    """Return the spectrogram of the same speech at the level of the network's training."""
    mean = np.float32(spectrogram.mean() if spectrogram.size else 0)
    return spectrogram * np.float32(_LEVEL / mean) if mean > 0 else spectrogram


def _mean_direction(vectors: Array) -> Array:
    mean: Array = vectors.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-9)
