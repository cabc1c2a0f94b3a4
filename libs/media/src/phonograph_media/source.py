"""Opening of media files: checks before FFmpeg reads them, and conversion of its errors."""

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

from phonograph_media.errors import MediaError, display_name

# Formats that FFmpeg detects as text art by suffix, and playlists that would make it open other files.
_NON_MEDIA_FORMATS = {"tty", "bin", "xbin", "adf", "idf", "hls", "concat", "dash", "sdp"}
_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"

_SIGNATURES = {
    b"fLaC": "a FLAC file",
    b"OggS": "an Ogg file",
    b"RIFF": "a RIFF (WAV or AVI) file",
    b"FORM": "an AIFF file",
    b"ID3": "an MP3 file",
    b"\x1aE\xdf\xa3": "a Matroska or WebM file",
}
# Containers whose times after a seek are exact.
_SEEKABLE_FORMATS = {_MP4, "matroska,webm", "ogg", "flac", "wav", "mp3"}
# Decoders need preceding packets: MP3 its bit reservoir, Opus 80 ms.
_PREROLL_S = 1.0

_MP4_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"}


class Streams(NamedTuple):
    """The streams of a container that this library reads."""

    audio: AudioStream | None
    video: VideoStream | None
    has_cover: bool


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """Open `path` as media for the duration of a `with` block.

    Raises:
        MediaError: If the file cannot be opened, or FFmpeg fails on it inside the block.
    """
    _check_readable(path)
    try:
        # FFmpeg never interprets an absolute path as a URL. Metadata in other encodings must not be fatal.
        with av.open(
            str(path.absolute()),
            metadata_errors="replace",
            options={"protocol_whitelist": "file"},
        ) as container:
            if container.format.name in _NON_MEDIA_FORMATS:
                raise _not_media_error(path)
            streams = select_streams(container)
            if streams.audio is None and streams.video is None:
                raise _no_streams_error(path, container)
            if streams.audio is None and container.format.name == _MP4 and not _is_complete_mp4(path):
                raise MediaError(
                    f"{display_name(path)} ends early. Copy or download it again.", reason="truncated"
                )
            yield container
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise _unreadable_error(path, error) from error
        truncation = _describe_truncation(path)
        if truncation is not None:
            raise MediaError(truncation, reason="truncated") from error
        raise _not_media_error(path) from error


def select_streams(container: InputContainer) -> Streams:
    """Return the best audio stream and the best video stream; an attached picture is not video."""
    audio = container.streams.best("audio")
    is_usable = isinstance(audio, AudioStream) and (
        _lacks_decoder(audio) or (audio.sample_rate > 0 and audio.channels > 0)
    )
    videos = [
        s
        for s in container.streams.video
        if not s.disposition & Disposition.attached_pic and (_lacks_decoder(s) or s.width > 0)
    ]
    best = container.streams.best("video")
    video = next((s for s in videos if best is not None and s.index == best.index), None)
    return Streams(
        audio=audio if is_usable and isinstance(audio, AudioStream) else None,
        video=video or next(iter(videos), None),
        has_cover=any(s.disposition & Disposition.attached_pic for s in container.streams.video)
        or any((s.mimetype or "").startswith("image/") for s in container.streams.attachments),
    )


def require_audio(container: InputContainer, path: Path) -> AudioStream:
    """Return the audio stream to decode.

    Args:
        container: Open container.
        path: File of the container, for error messages.

    Raises:
        MediaError: `no_audio`, or `unsupported` if no decoder is available for its codec.
    """
    audio = select_streams(container).audio
    if audio is None:
        raise MediaError(
            f"{display_name(path)} contains only a picture and no sound. Choose a file with sound.",
            reason="no_audio",
        )
    if _lacks_decoder(audio):
        raise MediaError(
            f"The sound of {display_name(path)} is in a format that cannot be decoded here (it may be "
            "protected). Convert it first.",
            reason="unsupported",
        )
    return audio


def stream_start_s(stream: AudioStream | VideoStream) -> float:
    """Return the presentation time of the stream's first sample or frame, in seconds."""
    return float(stream.start_time * stream.time_base) if stream.start_time and stream.time_base else 0.0


def time_zero_s(container: InputContainer) -> float:
    """Return the container time of time 0, in seconds: the first sample of sound, or else the first frame."""
    streams = select_streams(container)
    first = streams.audio or streams.video
    return stream_start_s(first) if first is not None else 0.0


def read_packets(
    container: InputContainer, on_damage: Callable[[], None] = lambda: None
) -> Iterator["Packet[Stream]"]:
    """Yield the packets of all streams in file order, with an empty one for each stream at the end.

    Reading stops where the container itself is damaged, after a call of `on_damage`.
    """
    while True:
        try:
            yield from container.demux()
        except IndexError:
            # PyAV 18 fails on a packet of a stream that MPEG-TS adds midway; the next packet can be read.
            continue
        except av.FFmpegError:
            on_damage()
        return


def seek_before(container: InputContainer, at_s: float) -> None:
    """Seek to a keyframe before a container time; formats with estimated times stay at their start."""
    if container.format.name not in _SEEKABLE_FORMATS or at_s <= _PREROLL_S:
        return
    # A container that cannot seek is read from its start.
    with suppress(av.FFmpegError):
        container.seek(int((at_s - _PREROLL_S) * av.time_base), backward=True)


def _lacks_decoder(stream: AudioStream | VideoStream) -> bool:
    return getattr(stream, "codec_context", None) is None


def _check_readable(path: Path) -> None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MediaError(f"{display_name(path)} does not exist. Check the path.", reason="missing") from error
    except (UnicodeEncodeError, ValueError) as error:
        raise MediaError(
            "The name of the file is not valid on this machine. Rename it.", reason="bad_name"
        ) from error
    except OSError as error:
        raise _unreadable_error(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(f"{display_name(path)} is a folder. Choose a file in it.", reason="directory")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(
            f"{display_name(path)} is not a regular file. Choose a recording.", reason="unreadable"
        )
    if status.st_size == 0:
        raise MediaError(f"{display_name(path)} is empty (0 bytes). Copy or record it again.", reason="empty")
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise _unreadable_error(path, error) from error


def _unreadable_error(path: Path, error: OSError) -> MediaError:
    return MediaError(
        f"{display_name(path)} cannot be read ({error.strerror}). Check its permissions and its disk.",
        reason="unreadable",
    )


def _not_media_error(path: Path) -> MediaError:
    return MediaError(
        f"{display_name(path)} is not an audio or video recording, despite its name. Leave it out.",
        reason="not_media",
    )


def _no_streams_error(path: Path, container: InputContainer) -> MediaError:
    if select_streams(container).has_cover:
        return MediaError(
            f"{display_name(path)} contains a picture but neither sound nor video. Choose a recording.",
            reason="no_audio",
        )
    truncation = _describe_truncation(path)
    return MediaError(truncation, reason="truncated") if truncation is not None else _not_media_error(path)


def _describe_truncation(path: Path) -> str | None:
    """Return a sentence about a file that starts like a recording but cannot be opened, or else None."""
    with path.open("rb") as file:
        head = file.read(16)
    kind = next((kind for magic, kind in _SIGNATURES.items() if head.startswith(magic)), None)
    if kind is None and head[4:8] in _MP4_FIRST_BOXES:
        kind = "an MP4 file"
    if kind is None:
        return None
    return (
        f"{display_name(path)} starts like {kind}, but its end is missing or damaged. "
        "Copy or download it again."
    )


def _is_complete_mp4(path: Path) -> bool:
    """Return whether the last box of an MP4 file ends at the end of the file."""
    size = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            length, _, long_length = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
            length = {0: size - position, 1: long_length}.get(length, length)
            if length < 8:
                return False
            position += length
    return position == size
