"""Sound of a recording of any length, minute by minute."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phonograph_analysis.constants import BLOCK_S, SAMPLE_RATE_HZ
from phonograph_media.decode import sound_of
from phonograph_media.source import audio_of, opened

BLOCK_SAMPLES = int(BLOCK_S * SAMPLE_RATE_HZ)


def blocks(path: Path) -> Iterator[NDArray[np.float32]]:
    """Decode `path` to 44.1 kHz in constant memory.

    Yields:
        Shape (samples, 1) for a mono source, else (samples, 2); a minute each, the last one shorter. Samples that
        are no numbers (a damaged float WAV) are 0.

    Raises:
        MediaError: the file cannot be decoded; for a truncated one, after its last block.
    """
    with opened(path) as container:
        channels = min(audio_of(container, path).channels, 2)
        sound = sound_of(
            container,
            path,
            sample_rate_hz=SAMPLE_RATE_HZ,
            layout="mono" if channels == 1 else "stereo",
            sample_format="flt",
        )
        held: list[NDArray[np.float32]] = []
        count = 0
        for frame in sound.frames:
            held.append(frame.to_ndarray().reshape(-1, channels).astype(np.float32))
            count += len(held[-1])
            if count >= BLOCK_SAMPLES:
                joined = np.concatenate(held)
                yield _finite(joined[:BLOCK_SAMPLES])
                held, count = [joined[BLOCK_SAMPLES:]], count - BLOCK_SAMPLES
        if count:
            yield _finite(np.concatenate(held))


def _finite(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.nan_to_num(samples, posinf=0.0, neginf=0.0)
