"""Opening of media files: checks before FFmpeg reads them, and conversion of its errors."""

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from phonograph_media.clock import Clock, time_zero
from phonograph_media.errors import MediaError, display_name
from phonograph_media.ogg import FileSlice, OggPart, read_parts
from phonograph_media.promise import is_complete_mp4, is_only_tag, tag_ranges

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
# Recordings, and files that play as sound, for which FFmpeg has no reader.
_UNSUPPORTED_SIGNATURES = {
    b"RIFX": "a big-endian WAV (RIFX) file",
    b"MThd": "a MIDI file, which contains notes and no sound",
    b"RMP3": "an RMP3 file",
    b"NIFF": "a NIFF file",
}
# Containers whose times after a seek are exact. FFmpeg guesses those of joined MP3 and chained Ogg files.
_SEEKABLE_FORMATS = {_MP4, "matroska,webm", "flac", "wav"}
# Enough for five minutes of a film before its first sound, in microseconds and bytes.
_THOROUGH_OPTIONS = {"analyzeduration": str(300_000_000), "probesize": str(256 * 1024 * 1024)}
# A damaged container yields packets again after a few attempts or not at all.
_MAX_READ_ERRORS = 50
_THOROUGH_BYTES = 16 * 1024 * 1024
_TEXT_BYTES = 4096
# Tab, line feed, form feed, carriage return and escape are all the control characters that texts have.
_CONTROL_CHARACTERS = bytes({*range(32), 127} - {9, 10, 12, 13, 27})
# Decoders need preceding packets: MP3 its bit reservoir, Opus 80 ms.
PREROLL_S = 1.0

_UNSUPPORTED_ERRORS = (av.PatchWelcomeError, av.DecoderNotFoundError, av.DemuxerNotFoundError)

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
        with _open_analyzed(path) as container:
            if container.format.name in _NON_MEDIA_FORMATS or _is_text(path):
                raise _not_media_error(path)
            streams = select_streams(container)
            if streams.audio is None and streams.video is None:
                raise _no_streams_error(path, container)
            if streams.audio is None and container.format.name == _MP4 and not is_complete_mp4(path):
                raise MediaError(
                    f"{display_name(path)} ends early. Copy or download it again.", reason="truncated"
                )
            yield container
    except av.FFmpegError as error:
        # FFmpeg reports some damage as an error of the disk: the disk itself decides.
        _check_readable(path, through=_THOROUGH_BYTES)
        if is_only_tag(path):
            raise MediaError(
                f"{display_name(path)} contains only a tag and no sound. Copy or download it again.",
                reason="no_audio",
            ) from error
        unsupported = _describe_unsupported(path, error)
        if unsupported is not None:
            raise MediaError(unsupported, reason="unsupported") from error
        truncation = _describe_truncation(path)
        if truncation is not None:
            raise MediaError(truncation, reason="truncated") from error
        raise _not_media_error(path) from error


def _open_analyzed(path: Path) -> InputContainer:
    """Open a file, and read further into it if its sound begins after the part that FFmpeg examines."""
    container = _open(path, {})
    if all(stream.sample_rate for stream in container.streams.audio if has_decoder(stream)):
        return container
    container.close()
    return _open(path, _THOROUGH_OPTIONS)


def _open(path: Path, options: dict[str, str]) -> InputContainer:
    # FFmpeg never interprets an absolute path as a URL. Metadata in other encodings must not be fatal.
    return av.open(
        str(path.absolute()),
        "r",
        metadata_errors="replace",
        options={"protocol_whitelist": "file"} | options,
    )


def select_streams(container: InputContainer) -> Streams:
    """Return the best audio stream and the best video stream; an attached picture is not video."""
    audio = container.streams.best("audio")
    is_usable = isinstance(audio, AudioStream) and (
        not has_decoder(audio) or (audio.sample_rate > 0 and audio.channels > 0)
    )
    videos = [
        s
        for s in container.streams.video
        if not s.disposition & Disposition.attached_pic and (not has_decoder(s) or s.width > 0)
    ]
    best = container.streams.best("video")
    video = next((s for s in videos if best is not None and s.index == best.index), None)
    return Streams(
        audio=audio if is_usable and isinstance(audio, AudioStream) else None,
        video=video or next(iter(videos), None),
        has_cover=any(s.disposition & Disposition.attached_pic for s in container.streams.video)
        or any((s.mimetype or "").startswith("image/") for s in container.streams.attachments),
    )


def audio_tracks(container: InputContainer) -> list[AudioStream]:
    """Return all audio streams in file order; their numbers as tracks start at 1."""
    return list(container.streams.audio)


def require_audio(container: InputContainer, path: Path, track: int | None = None) -> AudioStream:
    """Return the audio stream to decode.

    Args:
        container: Open container.
        path: File of the container, for error messages.
        track: Number of the audio track, from 1; None for the best.

    Raises:
        MediaError: `no_audio`, `unknown_track`, or `unsupported` if no decoder is available for its codec.
    """
    audio = select_streams(container).audio
    if audio is None:
        raise MediaError(
            f"{display_name(path)} contains only a picture and no sound. Choose a file with sound.",
            reason="no_audio",
        )
    if track is not None:
        tracks = audio_tracks(container)
        if not 1 <= track <= len(tracks):
            raise MediaError(
                f"{display_name(path)} has no audio track {track}; it has {len(tracks)}. Choose a number "
                f"from 1 to {len(tracks)}.",
                reason="unknown_track",
            )
        audio = tracks[track - 1]
    if not has_decoder(audio):
        raise MediaError(
            f"The sound of {display_name(path)} is in a format that cannot be decoded here (it may be "
            "protected). Convert it first.",
            reason="unsupported",
        )
    return audio


def read_packets(
    container: InputContainer, on_damage: Callable[[], None] = lambda: None
) -> Iterator["Packet[Stream]"]:
    """Yield the packets of all streams in file order, with an empty one for each stream at the end.

    Their times are those of the recording, see `Clock`; packets of tags are left out. A chained Ogg file is
    read part by part: decode its packets by `packet.decode()`, because each part has its own decoders.
    `on_damage` is called where the container is damaged; reading continues at the next packet that is found.
    """
    path = Path(container.name)
    parts = read_parts(path) if container.format.name == "ogg" else []
    # Only sound alone is split: the granule positions of video do not count samples.
    if len(parts) > 1 and all(len(part.serials) == 1 for part in parts):
        yield from _read_parts(path, parts, on_damage)
    else:
        tags = tag_ranges(container, path)
        clock = Clock.of(container)
        for packet in _demux(container, clock, on_damage):
            if packet.pos is None or not any(packet.pos in tag for tag in tags):
                yield packet
            else:
                clock.leave_out(packet)


def _read_parts(
    path: Path, parts: list[OggPart], on_damage: Callable[[], None]
) -> Iterator["Packet[Stream]"]:
    starts_at_s = Fraction(0)
    for part in parts:
        try:
            with (
                FileSlice(path, part.start, part.end) as file,
                av.open(cast("BinaryIO", file), "r", format="ogg", metadata_errors="replace") as container,
            ):
                yield from _demux(container, Clock.of(container, starts_at_s), on_damage)
                starts_at_s += _part_length_s(part, container)
        except av.FFmpegError:
            on_damage()


def _part_length_s(part: OggPart, container: InputContainer) -> Fraction:
    """Return the length of a part by its last granule position, which counts samples."""
    stream = next(iter(container.streams.audio), None)
    if stream is None or not has_decoder(stream):
        return Fraction(0)
    if stream.codec_context.name.endswith("opus"):
        # Opus counts at 48 kHz from before the samples that are dropped at the start (RFC 7845).
        pre_skip = int.from_bytes((stream.codec_context.extradata or b"")[10:12], "little")
        end_s = Fraction(part.last_granule - pre_skip, 48_000)
    else:
        end_s = Fraction(part.last_granule, stream.sample_rate)
    return max(Fraction(0), end_s - time_zero(container))


def _demux(
    container: InputContainer, clock: Clock, on_damage: Callable[[], None]
) -> Iterator["Packet[Stream]"]:
    errors = 0
    while errors < _MAX_READ_ERRORS:
        try:
            for packet in container.demux():
                errors = 0
                clock.move(packet)
                yield packet
        except IndexError:
            # PyAV 18 fails on a packet of a stream that MPEG-TS adds midway; the next packet can be read.
            continue
        except av.FFmpegError:
            errors += 1
            if errors == 1:
                on_damage()
            continue
        return


def seek_before(container: InputContainer, at_s: float) -> bool:
    """Seek to a keyframe before a time; formats with estimated times stay at their start.

    Returns:
        Whether the position changed.
    """
    at_s += float(time_zero(container))
    if container.format.name not in _SEEKABLE_FORMATS or at_s <= PREROLL_S:
        return False
    # A container that cannot seek is read from its start.
    with suppress(av.FFmpegError):
        container.seek(int((at_s - PREROLL_S) * av.time_base), backward=True)
        return True
    return False


def has_decoder(stream: AudioStream | VideoStream) -> bool:
    """Return whether the codec of a stream can be decoded here."""
    return getattr(stream, "codec_context", None) is not None


def _check_readable(path: Path, through: int = 1) -> None:
    """Raise the error of a file that cannot be read, up to a number of bytes at its start and at its end."""
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
            file.read(through)
            file.seek(max(0, status.st_size - through))
            file.read(through)
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


def _is_text(path: Path) -> bool:
    """Return whether a file is text, such as a web page that was saved in place of a recording.

    FFmpeg takes letters for frames of formats without a header, such as AMR.
    """
    with path.open("rb") as file:
        head = file.read(_TEXT_BYTES)
    return len(head.translate(None, _CONTROL_CHARACTERS)) == len(head)


def _describe_unsupported(path: Path, error: av.FFmpegError) -> str | None:
    """Return a sentence about a recording that FFmpeg cannot read although it is whole, or else None."""
    with path.open("rb") as file:
        head = file.read(4)
    kind = _UNSUPPORTED_SIGNATURES.get(head)
    if kind is not None:
        return f"{display_name(path)} is {kind}, and cannot be decoded here. Convert it first."
    if isinstance(error, _UNSUPPORTED_ERRORS):
        return f"{display_name(path)} uses a format that cannot be decoded here. Convert it first."
    return None


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
