"""Detection of silence and of blank pictures."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from phonograph_media.decode import decode_sound
from phonograph_media.rendition import SAMPLE_RATE_HZ
from phonograph_media.source import open_media, select_streams
from phonograph_media.video_frames import decode_video, fit_frame

_DETECTION_BOX = (320, 320)

_LEVEL_S = 0.005
"""Length of the frames whose level is measured."""
_SPEECH_RANGE_DB = 29.0
"""The quiet sounds of speech are up to that much below its loud ones."""
_NOISE_RANGE_DB = 8.0
"""Steady noise of hours stays within that, from its quiet moments to its loudest one."""
_MIN_DISTANCE_DB = 20.0
"""Noise that is closer to the level of speech may be speech."""
_STEADY_NOISE_DB = -35.0
"""Steady sound below this level is the noise of a room."""
_INAUDIBLE_DB = -80.0

_DARK = 38
"""Luma below this is dark: 10 % of the range from 16 to 235."""
_MIN_DARK_SHARE = 0.98
_MIN_TEXT_CONTRAST = 20
"""Luma by which text and drawings differ from a dark background."""
_MAX_TEXT_SHARE = 0.0002
"""A dozen pixels: a pointer or damaged pixels, but not a line of text."""


@dataclass(frozen=True, slots=True)
class Region:
    """A time range of a file, in seconds as a player shows them."""

    start_s: float
    end_s: float
    noise_db: float | None = field(default=None, compare=False)
    """Level below which sound counted as silence; None for a blank picture."""


def find_silences(path: Path, *, noise_db: float | None = None, min_duration_s: float = 0.5) -> list[Region]:
    """Return the regions in which the sound, mixed down to 16 kHz mono, is silent.

    A file and its rendition have the same regions. A silence that lasts to the end of the file ends there.

    Args:
        path: File to examine.
        noise_db: Level below which sound counts as silence, in dB relative to full scale; None to choose it
            by the levels of the recording itself.
        min_duration_s: Shortest silence to report, in seconds.

    Raises:
        MediaError: With any reason except `not_video`.
    """
    levels_db, duration_s = _measure_levels(path)
    threshold_db = choose_noise_db(levels_db) if noise_db is None else noise_db
    is_silent = levels_db < threshold_db
    edges = np.flatnonzero(np.diff(is_silent, prepend=False, append=False)).reshape(-1, 2) * _LEVEL_S
    return [
        Region(float(start_s), min(float(end_s), duration_s), threshold_db)
        for start_s, end_s in edges
        if min(end_s, duration_s) - start_s >= min_duration_s
    ]


def choose_noise_db(levels_db: NDArray[np.float32]) -> float:
    """Return the level below which sound of a recording is silence, in dB relative to full scale.

    The level of speech is that of the louder sounds of the recording, however rare they are; silence is far
    below it, and at least a little above the steady noise of the room.

    Args:
        levels_db: Level of each short frame of the recording.
    """
    audible = levels_db[levels_db > _INAUDIBLE_DB]
    if not audible.size:
        return _STEADY_NOISE_DB
    speech_db = float(np.percentile(audible[audible >= _separate(audible)], 90))
    floor_db = float(np.percentile(audible, 10))
    if speech_db - floor_db < _NOISE_RANGE_DB:
        # Steady sound has nothing to compare its level with.
        return _STEADY_NOISE_DB
    threshold_db = speech_db - _SPEECH_RANGE_DB
    if floor_db + _NOISE_RANGE_DB <= speech_db - _MIN_DISTANCE_DB:
        threshold_db = max(threshold_db, floor_db + _NOISE_RANGE_DB)
    return max(threshold_db, _INAUDIBLE_DB)


def _separate(levels_db: NDArray[np.float32]) -> float:
    """Return the level that separates quiet from loud sounds best. Source: Otsu, 1979."""
    counts, edges = np.histogram(levels_db, bins=128)
    middles = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts), np.cumsum(counts * middles)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = total / below - (total[-1] - total) / above
        between = np.nan_to_num(below * above * distance**2)
    return float(edges[1 + int(between.argmax())])


def _measure_levels(path: Path) -> tuple[NDArray[np.float32], float]:
    """Return the level of each frame of 5 ms in dB, and the length of the sound in seconds.

    The level is half the distance from the lowest to the highest sample, which an offset does not change.
    """
    length = round(_LEVEL_S * SAMPLE_RATE_HZ)
    amplitudes: list[NDArray[np.float32]] = []
    rest = np.empty(0, np.int32)
    samples = 0
    with open_media(path) as container:
        sound = decode_sound(
            container, path, sample_rate_hz=SAMPLE_RATE_HZ, layout="mono", sample_format="s16"
        )
        for frame in sound.frames:
            samples += frame.samples
            rest = np.concatenate([rest, frame.to_ndarray().reshape(-1)])
            whole = rest.size // length * length
            amplitudes.append(_amplitudes(rest[:whole].reshape(-1, length)))
            rest = rest[whole:]
    if rest.size:
        amplitudes.append(_amplitudes(rest.reshape(1, -1)))
    joined = np.concatenate(amplitudes) if amplitudes else np.empty(0, np.float32)
    levels_db: NDArray[np.float32] = 20 * np.log10(np.maximum(joined, 1e-6))
    return levels_db, samples / SAMPLE_RATE_HZ


def _amplitudes(frames: NDArray[np.int32]) -> NDArray[np.float32]:
    amplitudes: NDArray[np.float32] = ((frames.max(axis=1) - frames.min(axis=1)) / 65_536).astype(np.float32)
    return amplitudes


def find_blank_frames(path: Path, *, min_duration_s: float = 1.0) -> list[Region]:
    """Return the regions in which the picture is blank: dark, and without text or drawings.

    A file without video has no such regions. A blank region that lasts to the end of the file ends there.

    Args:
        path: File to examine.
        min_duration_s: Shortest region to report, in seconds.

    Raises:
        MediaError: If the file cannot be opened.
    """
    with open_media(path) as container:
        video = select_streams(container).video
        if video is None:
            return []
        spans: list[tuple[float, float]] = []
        started_s: float | None = None
        end_s = 0.0
        for frame in decode_video(container, video):
            end_s = frame.time + float(frame.duration * (frame.time_base or 0))
            is_blank = _is_blank(fit_frame(frame, _DETECTION_BOX))
            if is_blank and started_s is None:
                started_s = frame.time
            elif not is_blank and started_s is not None:
                spans.append((started_s, frame.time))
                started_s = None
        if started_s is not None:
            spans.append((started_s, end_s))
        return [Region(start_s, until_s) for start_s, until_s in spans if until_s - start_s >= min_duration_s]


def _is_blank(frame: VideoFrame) -> bool:
    """Return whether a small picture is dark everywhere, without anything that stands out."""
    # `fit_frame` returns yuv420p: the rows of the luma precede those of the colors.
    luma = frame.to_ndarray()[: frame.height]
    if np.count_nonzero(luma < _DARK) < _MIN_DARK_SHARE * luma.size:
        return False
    background = np.median(luma)
    return bool(np.count_nonzero(luma > background + _MIN_TEXT_CONTRAST) <= _MAX_TEXT_SHARE * luma.size)
