"""The 16 kHz mono rendition of a file, and the fingerprint of its sound."""

import hashlib
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from phonograph_media.atomic_write import atomic_write
from phonograph_media.decode import sound_of
from phonograph_media.errors import MediaError, shown
from phonograph_media.source import opened

SAMPLE_RATE_HZ = 16_000
_BYTES_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class Rendition:
    """What was written, and what it sounds like to a machine."""

    duration_s: float
    sample_count: int
    content_fp: str
    """`pcm16k1:` and the SHA-256 of the samples as s16le bytes."""
    silent: bool
    """Nothing but digital silence: such a fingerprint does not tell two files apart."""
    warnings: tuple[str, ...] = ()
    """Sentences on damage that was passed over."""


def make_rendition(source: Path, target: Path) -> Rendition:
    """Decode `source` once, write it to `target` as a 16 kHz mono s16le WAV and fingerprint it.

    Memory does not grow with the length. `target` appears only when it is whole.

    The fingerprint is equal for the same samples in any lossless container (WAV, FLAC, ALAC, AIFF, MKV),
    whatever its packet sizes and tags, and for a lossy file and its 16-bit decoded copy. A lossy stream that
    is copied into another container keeps it where that container tells the encoder's padding (MP4 to MOV or
    M4A, Ogg to WebM or MKV). FFmpeg drops the padding of MP3 and AAC on the way into MKV and MPEG-TS: the
    copy plays 10 to 50 ms more and counts as other sound.

    Raises:
        MediaError: any of its reasons but `not_video`.
    """
    digest = hashlib.sha256()
    sample_count, silent = 0, True
    with opened(source) as container, atomic_write(target) as part, part.open("wb") as file:
        sound = sound_of(container, source, sample_rate_hz=SAMPLE_RATE_HZ, layout="mono", sample_format="s16")
        with wave.open(file, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(_BYTES_PER_SAMPLE)
            wav.setframerate(SAMPLE_RATE_HZ)
            for frame in sound.frames:
                block = frame.to_ndarray().astype("<i2").tobytes()
                digest.update(block)
                wav.writeframesraw(block)
                silent = silent and not any(block)
                sample_count += frame.samples
    return Rendition(
        duration_s=sample_count / SAMPLE_RATE_HZ,
        sample_count=sample_count,
        content_fp=f"pcm16k1:{digest.hexdigest()}",
        silent=silent,
        warnings=sound.tally.warnings(sound.promised_s),
    )


def read_rendition(path: Path) -> NDArray[np.float32]:
    """Read what `make_rendition` wrote.

    Returns:
        Shape (samples,), [-1, 1), 16 kHz mono.

    Raises:
        MediaError: `missing`, `truncated`, or `unsupported` for any other kind of file.
    """
    samples = np.frombuffer(read_rendition_pcm(path), dtype="<i2").astype(np.float32)
    samples /= 32_768
    return samples


def read_rendition_pcm(path: Path) -> bytes:
    """Read the samples that `make_rendition` wrote as s16le bytes.

    Raises:
        MediaError: `missing`, `truncated`, or `unsupported` for any other kind of file.
    """
    try:
        with path.open("rb") as file, wave.open(file, "rb") as wav:
            form = (wav.getnchannels(), wav.getsampwidth(), wav.getframerate())
            promised = wav.getnframes()
            samples = wav.readframes(promised)
    except FileNotFoundError as error:
        raise MediaError(
            f"The rendition {shown(path)} does not exist. Ingest the file again.", reason="missing"
        ) from error
    except (wave.Error, EOFError) as error:
        raise _no_rendition(path) from error
    if form != (1, _BYTES_PER_SAMPLE, SAMPLE_RATE_HZ):
        raise _no_rendition(path)
    if len(samples) < promised * _BYTES_PER_SAMPLE:
        raise MediaError(
            f"The rendition {shown(path)} ends early. Ingest the file again.", reason="truncated"
        )
    return samples


def _no_rendition(path: Path) -> MediaError:
    return MediaError(
        f"{shown(path)} is no 16 kHz mono rendition. Make one with make_rendition first.",
        reason="unsupported",
    )
