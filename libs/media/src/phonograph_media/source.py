"""Opening a file for reading: the checks before FFmpeg sees it, and its refusals put into words."""

import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from phonograph_media.errors import MediaError, shown

# What FFmpeg takes for text art by its suffix, and lists that would make it open other files.
_NOT_RECORDINGS = {"tty", "bin", "xbin", "adf", "idf", "hls", "concat", "dash", "sdp"}
_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"

_MAGIC = {
    b"fLaC": "a FLAC file",
    b"OggS": "an Ogg file",
    b"RIFF": "a RIFF (WAV or AVI) file",
    b"FORM": "an AIFF file",
    b"ID3": "an MP3 file",
    b"\x1aE\xdf\xa3": "a Matroska or WebM file",
}
# Containers whose times after a seek are exact.
_SEEKABLE = {_MP4, "matroska,webm", "ogg", "flac", "wav", "mp3"}
# Codecs lean on what came before: mp3 on its bit reservoir, Opus on 80 ms.
_PREROLL_S = 1.0

_MP4_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"}


class Streams(NamedTuple):
    """The streams of a container that this library works on."""

    audio: AudioStream | None
    video: VideoStream | None
    has_cover: bool


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open `path` as media for the length of a `with` block.

    Raises:
        MediaError: the file cannot be opened, or FFmpeg gave up on it inside the block.
    """
    _check_readable(path)
    try:
        # An absolute path is never taken for an address; metadata in other encodings must not be fatal.
        with av.open(
            os.path.abspath(path),  # noqa: PTH100  # Path.absolute() keeps "..", which is harmless, but not str
            metadata_errors="replace",
            options={"protocol_whitelist": "file"},
        ) as container:
            if container.format.name in _NOT_RECORDINGS:
                raise _not_media(path)
            found = streams_of(container)
            if found.audio is None and found.video is None:
                raise _no_streams(path, container)
            if found.audio is None and container.format.name == _MP4 and not _mp4_is_whole(path):
                raise MediaError(f"{shown(path)} ends early. Copy or download it again.", reason="truncated")
            yield container
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise _unreadable(path, error) from error
        early_end = _early_end(path)
        if early_end is not None:
            raise MediaError(early_end, reason="truncated") from error
        raise _not_media(path) from error


def streams_of(container: InputContainer) -> Streams:
    """Pick the best audio stream and the best video stream; an attached picture is not video."""
    audio = container.streams.best("audio")
    usable = isinstance(audio, AudioStream) and (
        _has_no_decoder(audio) or (audio.sample_rate > 0 and audio.channels > 0)
    )
    moving = [
        s
        for s in container.streams.video
        if not s.disposition & Disposition.attached_pic and (_has_no_decoder(s) or s.width > 0)
    ]
    best = container.streams.best("video")
    video = next((s for s in moving if best is not None and s.index == best.index), None)
    return Streams(
        audio=audio if usable and isinstance(audio, AudioStream) else None,
        video=video or next(iter(moving), None),
        has_cover=any(s.disposition & Disposition.attached_pic for s in container.streams.video)
        or any((s.mimetype or "").startswith("image/") for s in container.streams.attachments),
    )


def audio_of(container: InputContainer, path: Path) -> AudioStream:
    """The audio stream to decode.

    Raises:
        MediaError: `no_audio`, or `unsupported` where its codec has no decoder here.
    """
    audio = streams_of(container).audio
    if audio is None:
        raise MediaError(f"{shown(path)} has no sound in it: only a picture.", reason="no_audio")
    if _has_no_decoder(audio):
        raise MediaError(
            f"The sound of {shown(path)} is in a format that cannot be decoded here (it may be protected); "
            "convert it first.",
            reason="unsupported",
        )
    return audio


def start_s(stream: AudioStream | VideoStream) -> float:
    """Presentation time of the stream's first sample or frame, in seconds."""
    return float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0


def time_zero_s(container: InputContainer) -> float:
    """Container time that this library calls 0: the first sample of sound; without sound, the first frame."""
    streams = streams_of(container)
    first = streams.audio or streams.video
    return start_s(first) if first is not None else 0.0


def packets_of(
    container: InputContainer, on_damage: Callable[[], None] = lambda: None
) -> Iterator["Packet[Stream]"]:
    """Packets of all streams in the order of the file, and an empty one for each stream at the end.

    Where the container itself is damaged there is no way on: `on_damage` is called and nothing follows.
    """
    while True:
        try:
            yield from container.demux()
        except IndexError:
            # PyAV 18 fails on a packet of a stream that MPEG-TS announces midway; the next one can be read.
            continue
        except av.FFmpegError:
            on_damage()
        return


def seek_before(container: InputContainer, at_s: float) -> None:
    """Move to a keyframe some time before a container time; to the beginning where times are only guessed."""
    if container.format.name not in _SEEKABLE or at_s <= _PREROLL_S:
        return
    # A container that refuses to seek is read from where it stands, its beginning.
    with suppress(av.FFmpegError):
        container.seek(int((at_s - _PREROLL_S) * av.time_base), backward=True)


def _has_no_decoder(stream: AudioStream | VideoStream) -> bool:
    return getattr(stream, "codec_context", None) is None


def _check_readable(path: Path) -> None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MediaError(f"{shown(path)} does not exist. Check the path.", reason="missing") from error
    except (UnicodeEncodeError, ValueError) as error:
        raise MediaError(
            "The file's name cannot be used on this machine. Rename it.", reason="bad_name"
        ) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(f"{shown(path)} is a folder. Name a file in it.", reason="directory")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{shown(path)} is not a regular file. Name a recording.", reason="unreadable")
    if status.st_size == 0:
        raise MediaError(f"{shown(path)} is empty (0 bytes). Copy or record it again.", reason="empty")
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> MediaError:
    return MediaError(
        f"{shown(path)} cannot be read ({error.strerror}). Check its permissions and its disk.",
        reason="unreadable",
    )


def _not_media(path: Path) -> MediaError:
    return MediaError(
        f"{shown(path)} is no audio or video recording, whatever its name says. Leave it out.",
        reason="not_media",
    )


def _no_streams(path: Path, container: InputContainer) -> MediaError:
    if streams_of(container).has_cover:
        return MediaError(f"{shown(path)} holds a picture and neither sound nor video.", reason="no_audio")
    early_end = _early_end(path)
    return MediaError(early_end, reason="truncated") if early_end is not None else _not_media(path)


def _early_end(path: Path) -> str | None:
    """Sentence for a file that begins like a recording but could not be opened; None for any other file."""
    with path.open("rb") as file:
        head = file.read(16)
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if kind is None and head[4:8] in _MP4_FIRST_BOXES:
        kind = "an MP4 file"
    if kind is None:
        return None
    return f"{shown(path)} begins like {kind}, but its end is missing or damaged. Copy or download it again."


def _mp4_is_whole(path: Path) -> bool:
    """Whether the last box of an MP4 file ends where the file does."""
    size = path.stat().st_size
    at = 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            length, _, long_length = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
            length = {0: size - at, 1: long_length}.get(length, length)
            if length < 8:
                return False
            at += length
    return at == size
