"""The 16 kHz mono rendition of a file, and the fingerprint of its sound."""

import hashlib
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_media.atomic_write import atomic_write
from phonograph_media.decode import decode_sound
from phonograph_media.errors import MediaError, display_name
from phonograph_media.source import open_media
from phonograph_media.tracks import Track

SAMPLE_RATE_HZ = 16_000
_BYTES_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class Rendition:
    """A written rendition with its length and fingerprint."""

    duration_s: float
    sample_count: int
    content_fp: str
    """`pcm16k1:` and the SHA-256 of the samples as s16le bytes."""
    is_silent: bool
    """The file contains only digital silence, whose fingerprint does not distinguish two files."""
    warnings: tuple[str, ...] = ()
    """Sentences about what is missing or was guessed or repaired; each begins with a code and a colon."""


def make_rendition(source: Path, target: Path, track: Track = None) -> Rendition:
    """Decode `source` once, write it to `target` as a 16 kHz mono s16le WAV and fingerprint it.

    The memory used does not depend on the length. `target` appears only when it is complete. Its times are
    those of a player: it begins with silence if the sound begins late, and is silent in gaps of time stamps.

    The same samples at the same times have the same fingerprint in any lossless container (WAV, FLAC,
    ALAC, AIFF, MKV), with any packet sizes and tags; so have a lossy file and its 16-bit decoded copy. A
    lossy stream that is copied into another container keeps its fingerprint if that container records the
    encoder's padding (MP4 to MOV or M4A, Ogg to WebM or MKV). FFmpeg drops the padding of MP3 and AAC
    when copying into MKV or MPEG-TS: the copy is 10 to 50 ms longer and counts as different sound. So
    does a copy whose sound begins at another time, has other gaps, or comes from another track.

    Args:
        source: File to decode.
        target: File to write.
        track: Number of the audio track, `all` to mix all tracks, or None for the one with speech.

    Raises:
        MediaError: With any reason except `not_video`.
        OSError: If `target` cannot be written.
    """
    digest = hashlib.sha256()
    sample_count, is_silent = 0, True
    with open_media(source) as container, atomic_write(target) as part, part.open("wb") as file:
        sound = decode_sound(
            container,
            source,
            sample_rate_hz=SAMPLE_RATE_HZ,
            layout="mono",
            sample_format="s16",
            track=track,
        )
        with wave.open(file, "wb") as wav:
            wav.setnchannels(1)
            wav.setsampwidth(_BYTES_PER_SAMPLE)
            wav.setframerate(SAMPLE_RATE_HZ)
            for frame in sound.frames:
                block = frame.to_ndarray().astype("<i2").tobytes()
                digest.update(block)
                wav.writeframesraw(block)
                is_silent = is_silent and not any(block)
                sample_count += frame.samples
    return Rendition(
        duration_s=sample_count / SAMPLE_RATE_HZ,
        sample_count=sample_count,
        content_fp=f"pcm16k1:{digest.hexdigest()}",
        is_silent=is_silent,
        warnings=sound.warnings(),
    )


class Samples(Protocol):
    """Samples in [-1, 1), 16 kHz mono, of which only the slices that are asked for need memory.

    An array of float32 is one, too.
    """

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, part: slice, /) -> NDArray[np.float32]:
        """Return the samples of a slice without a step."""


class RenditionReader(Samples):
    """The samples of an open rendition, read from its file when they are asked for."""

    def __init__(self, wav: wave.Wave_read) -> None:
        self._wav = wav

    @override
    def __len__(self) -> int:
        return self._wav.getnframes()

    @override
    def __getitem__(self, part: slice, /) -> NDArray[np.float32]:
        start, stop, _ = part.indices(len(self))
        self._wav.setpos(start)
        return _to_float(self._wav.readframes(max(stop - start, 0)))


@contextmanager
def open_rendition(path: Path) -> Iterator[RenditionReader]:
    """Yield a reader of a rendition that `make_rendition` wrote; the file is open until the block ends.

    Raises:
        MediaError: `missing`, `truncated`, or `unsupported` if the file is not a rendition.
    """
    with _open_wav(path) as wav:
        count = wav.getnframes()
        if count:
            wav.setpos(count - 1)
            _check_length(path, wav.readframes(1), 1)
        yield RenditionReader(wav)


def read_rendition(path: Path) -> NDArray[np.float32]:
    """Return the samples of a rendition that `make_rendition` wrote.

    Returns:
        Shape (samples,), [-1, 1), 16 kHz mono.

    Raises:
        MediaError: `missing`, `truncated`, or `unsupported` if the file is not a rendition.
    """
    return _to_float(read_rendition_pcm(path))


def read_rendition_pcm(path: Path) -> bytes:
    """Return the samples of a rendition that `make_rendition` wrote, as s16le bytes.

    Raises:
        MediaError: `missing`, `truncated`, or `unsupported` if the file is not a rendition.
    """
    with _open_wav(path) as wav:
        count = wav.getnframes()
        pcm = wav.readframes(count)
        _check_length(path, pcm, count)
        return pcm


@contextmanager
def _open_wav(path: Path) -> Iterator[wave.Wave_read]:
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise MediaError(
            f"The rendition {display_name(path)} does not exist. Ingest the file again.", reason="missing"
        ) from error
    with file:
        try:
            wav = wave.Wave_read(file)
        except (wave.Error, EOFError) as error:
            raise _not_a_rendition_error(path) from error
        with wav:
            if (wav.getnchannels(), wav.getsampwidth(), wav.getframerate()) != (
                1,
                _BYTES_PER_SAMPLE,
                SAMPLE_RATE_HZ,
            ):
                raise _not_a_rendition_error(path)
            yield wav


def _check_length(path: Path, pcm: bytes, count: int) -> None:
    if len(pcm) < count * _BYTES_PER_SAMPLE:
        raise MediaError(
            f"The rendition {display_name(path)} ends early. Ingest the file again.", reason="truncated"
        )


def _to_float(pcm: bytes) -> NDArray[np.float32]:
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    samples /= 32_768
    return samples


def _not_a_rendition_error(path: Path) -> MediaError:
    return MediaError(
        f"{display_name(path)} is not a 16 kHz mono rendition. Create one with make_rendition first.",
        reason="unsupported",
    )
