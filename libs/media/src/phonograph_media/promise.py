"""Lengths that files themselves state, and tags that are no sound.

Sources of the formats: ISO/IEC 14496-12 (MP4), RFC 9559 (Matroska), RFC 9639 (FLAC), the Xing, Info and VBRI
headers of MP3, ID3v1, ID3v2, Lyrics3 and APEv2.
"""

import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from av.audio.stream import AudioStream
from av.container import InputContainer

from phonograph_media.ogg import read_parts

_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_MATROSKA = "matroska,webm"
# FFmpeg reads the length of these formats from a header and does not estimate it.
_FORMATS_WITH_STREAM_LENGTH = {_MP4, "aiff", "avi", "asf", "caf", "w64", "flv"}
FORMATS_OF_FRAMES = {"mp3", "aac", "ac3", "eac3", "dts", "flac"}
"""Formats without a container, in which FFmpeg may take a tag for sound."""
# Values that programs write into a WAV header whose size they do not know yet.
_UNSET_WAV_SIZE = 0x7FFF_F000

_MP3_HEADER_SEARCH_BYTES = 4096
_MAX_PADDING_BYTES = 1024 * 1024
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MP3_KBITS = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}

_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEADER_SEARCH_BYTES = 256 * 1024

_EBML_SEGMENT, _EBML_INFO, _EBML_CLUSTER = 0x18538067, 0x1549A966, 0x1F43B675
_EBML_TIMESTAMP_SCALE, _EBML_DURATION = 0x2AD7B1, 0x4489


@dataclass(frozen=True, slots=True)
class Promise:
    """The length of the sound of a file, as the file states it."""

    end_s: float | None = None
    """End of the sound on the clock of the recording, or None if the file does not state it."""
    covers_all_streams: bool = False
    """`end_s` is the end of the longest stream, not of the sound."""
    is_cut_off: bool = False
    """Bytes that belong to the file are missing at its end."""
    stated_bytes: int = 0
    """Size of the file that its header states, or 0 if it states none."""


def read_promise(container: InputContainer, stream: AudioStream, path: Path, zero_s: float) -> Promise:
    """Return what a file states about the length of its sound.

    Args:
        container: The open container.
        stream: The sound that is decoded.
        path: The file.
        zero_s: Container time of time 0.
    """
    name = container.format.name
    if name in _HEADER_READERS:
        return _HEADER_READERS[name](path)
    if name == _MATROSKA:
        return _read_matroska_promise(path, zero_s)
    if name == "wav":
        return _read_wav_promise(path, stream)
    return _read_stream_promise(name, stream, path, zero_s)


def _read_stream_promise(name: str, stream: AudioStream, path: Path, zero_s: float) -> Promise:
    """Return the length that FFmpeg reads from a header of the stream."""
    if name == _MP4:
        is_cut_off = not is_complete_mp4(path)
    elif name == "avi":
        # FFmpeg finds the length of an AVI file in its index, which is at the end.
        return Promise(stated_bytes=_read_iff_size(path, "<"))
    elif name == "aiff":
        is_cut_off = _read_iff_size(path, ">") > path.stat().st_size
    elif name == "asf":
        return _read_asf_promise(path)
    elif name == "caf":
        return Promise(stated_bytes=_read_caf_size(path))
    else:
        # The length in FLV is that of the stream that it was cut from.
        is_cut_off = name != "flv"
    # Without an entry in the sample table, an MP4 file is fragmented and FFmpeg knows only some fragments.
    is_stated = name in _FORMATS_WITH_STREAM_LENGTH and (name != _MP4 or stream.frames > 0)
    if not is_stated or not stream.duration or stream.time_base is None:
        return Promise(is_cut_off=is_cut_off and name == _MP4)
    end_s = float(((stream.start_time or 0) + stream.duration) * stream.time_base) - zero_s
    return Promise(end_s, is_cut_off=is_cut_off)


def tag_ranges(container: InputContainer, path: Path) -> tuple[range, ...]:
    """Return the byte ranges of tags within or after sound that has no container."""
    if container.format.name not in FORMATS_OF_FRAMES:
        return ()
    with path.open("rb") as file:
        size = file.seek(0, 2)
        sound_end = _find_sound_end(file, size)
        ranges = [range(sound_end, size)] if sound_end < size else []
        if container.format.name != "flac":
            ranges += _find_inner_id3(file, sound_end)
    return tuple(ranges)


def is_only_tag(path: Path) -> bool:
    """Return whether a file ends with its ID3v2 tag, or with the padding or the ID3v1 tag after it."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = _id3_size(file)
        end = _find_sound_end(file, size)
        if not 0 < start <= size or end - start > _MAX_PADDING_BYTES:
            return False
        file.seek(start)
        return not any(file.read(max(0, end - start)))


def is_complete_mp4(path: Path) -> bool:
    """Return whether the last box of an MP4 file ends at the end of the file."""
    size = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            length, _, long_length = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
            length = {0: size - position, 1: long_length}.get(length, length)
            if length < 8:
                # Programs pad with null bytes after the last box.
                return bool(length == 0)
            position += length
    return bool(position <= size)


def _read_iff_size(path: Path, byte_order: str) -> int:
    """Return the size that the header of a RIFF or FORM file states, or 0 if it was never set."""
    with path.open("rb") as file:
        _, stated = struct.unpack(f"{byte_order}4sI", file.read(8).ljust(8, b"\0"))
    return 0 if stated >= _UNSET_WAV_SIZE else int(stated) + 8


def _read_asf_promise(path: Path) -> Promise:
    with path.open("rb") as file:
        head = file.read(_ASF_HEADER_SEARCH_BYTES)
    at = head.find(_ASF_FILE_PROPERTIES)
    if at < 0 or len(head) < at + 92:
        return Promise()
    size, _, _, length, _, preroll, flags = struct.unpack_from("<7Q", head, at + 40)
    is_broadcast = bool(flags & 1)
    end_s = length / 1e7 - preroll / 1e3
    return Promise(end_s, is_cut_off=size > path.stat().st_size) if length and not is_broadcast else Promise()


def _read_caf_size(path: Path) -> int:
    size = path.stat().st_size
    with path.open("rb") as file:
        position = 8
        while position + 12 <= size:
            file.seek(position)
            _, length = struct.unpack(">4sq", file.read(12))
            if length < 0:
                # Data of a length that was never set lasts to the end of the file.
                return 0
            position += 12 + length
    return position


def _read_flac_promise(path: Path) -> Promise:
    with path.open("rb") as file:
        file.seek(_id3_size(file))
        head = file.read(42)
    if head[:4] != b"fLaC" or len(head) < 42 or head[4] & 0x7F:
        return Promise()
    packed = int.from_bytes(head[18:26], "big")
    rate, samples = packed >> 44, packed & (1 << 36) - 1
    return Promise(samples / rate, is_cut_off=True) if rate and samples else Promise()


def _read_wav_promise(path: Path, stream: AudioStream) -> Promise:
    """Return the length by the size of the data, if the stated size of the file is too large as well."""
    size = path.stat().st_size
    with path.open("rb") as file:
        magic, stated = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
        if magic == b"RF64" and size > 28:
            file.seek(20)
            (long_size,) = struct.unpack("<Q", file.read(8))
            return Promise(stated_bytes=0 if long_size >= 1 << 62 else long_size + 8)
        if magic != b"RIFF" or stated + 8 <= size or stated >= _UNSET_WAV_SIZE:
            return Promise()
        position = 12
        while position + 8 <= size:
            file.seek(position)
            chunk, length = struct.unpack("<4sI", file.read(8))
            position += 8
            if chunk == b"data":
                present = size - position
                if not present < length < _UNSET_WAV_SIZE or not stream.duration or stream.time_base is None:
                    return Promise()
                known_s = float(stream.duration * stream.time_base)
                # FFmpeg reports the length of the bytes that are present or of those that are stated.
                states_all = stream.bit_rate and abs(known_s * stream.bit_rate / 8 - length) < present / 100
                share = 1.0 if states_all or not present else length / present
                return Promise(known_s * share, is_cut_off=True)
            position += length + length % 2
    return Promise(is_cut_off=True)


def _read_mp3_promise(path: Path) -> Promise:
    """Return the length by the frame count of a Xing, Info or VBRI header, which covers the first part."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = _id3_size(file)
        file.seek(start)
        head = file.read(_MP3_HEADER_SEARCH_BYTES)
        for at in range(len(head) - 3):
            parsed = _parse_mp3_header(head[at : at + 4])
            frames = _count_stated_mp3_frames(head[at:]) if parsed is not None else 0
            if parsed is not None and frames:
                _, samples, rate = parsed
                is_cut_off = _ends_within_mp3_frame(file, _find_sound_end(file, size))
                return Promise(frames * samples / rate, is_cut_off=is_cut_off)
    return Promise()


def _count_stated_mp3_frames(frame: bytes) -> int:
    for magic in (b"Xing", b"Info"):
        at = frame.find(magic, 0, 64)
        if at >= 0 and len(frame) >= at + 12:
            flags, frames = struct.unpack_from(">II", frame, at + 4)
            return int(frames) if flags & 1 else 0
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return int.from_bytes(frame[50:54], "big")
    return 0


def _ends_within_mp3_frame(file: BinaryIO, sound_end: int) -> bool:
    """Return whether the last frame of an MP3 file is incomplete, as after an interrupted copy."""
    start = max(0, sound_end - 64 * 1024)
    file.seek(start)
    tail = file.read(sound_end - start)
    # Frames follow each other; the chain of frames that is found first is the right one.
    for first in range(min(len(tail), 8 * 1024)):
        position, count = first, 0
        while (parsed := _parse_mp3_header(tail[position : position + 4])) is not None:
            position, count = position + parsed[0], count + 1
            if position >= len(tail):
                break
        if count >= 3 or (count and position >= len(tail)):
            return position > len(tail) or len(tail) - position in range(1, 4)
    return False


def _parse_mp3_header(head: bytes) -> tuple[int, int, int] | None:
    """Return the length in bytes, the samples and the sample rate of an MPEG audio frame."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    kbits_index, rate_index = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or kbits_index in {0, 15} or rate_index == 3:
        return None
    is_mpeg1 = version == 3
    rate = _MP3_RATES[version][rate_index]
    bit_rate = _MP3_KBITS[is_mpeg1, layer][kbits_index - 1] * 1000
    padding = head[2] >> 1 & 1
    if layer == 1:
        return (12 * bit_rate // rate + padding) * 4, 384, rate
    samples = 1152 if is_mpeg1 or layer == 2 else 576
    return samples // 8 * bit_rate // rate + padding, samples, rate


def _id3_size(file: BinaryIO, position: int = 0) -> int:
    """Return the size of the ID3v2 tags at a position."""
    start = position
    while True:
        file.seek(position)
        size = _parse_id3_size(file.read(10))
        if not size:
            return position - start
        position += size


def _parse_id3_size(head: bytes) -> int:
    is_tag = len(head) == 10 and head[:3] == b"ID3" and head[3] in {2, 3, 4}
    if not is_tag or any(byte & 0x80 for byte in head[6:]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _find_sound_end(file: BinaryIO, size: int) -> int:
    """Return the offset of the first tag after the sound: ID3v1, ID3v2 with a footer, Lyrics3 or APEv2."""
    end = size
    while True:
        start = max(0, end - 160)
        file.seek(start)
        tail = file.read(end - start)
        length = 0
        if tail[-128:-125] == b"TAG":
            length = 128
            file.seek(max(0, end - 128 - 227))
            length += 227 if file.read(4) == b"TAG+" else 0
        elif tail[-32:-24] == b"APETAGEX":
            stated, _, flags = struct.unpack("<III", tail[-20:-8])
            length = stated + (32 if flags & 0x8000_0000 else 0)
        elif tail[-9:] == b"LYRICS200" and tail[-15:-9].isdigit():
            length = int(tail[-15:-9]) + 15
        elif tail[-9:] == b"LYRICSEND":
            file.seek(max(0, end - 5100))
            found = file.read(min(end, 5100)).rfind(b"LYRICSBEGIN")
            length = min(end, 5100) - found if found >= 0 else 9
        elif tail[-10:-7] == b"3DI":
            length = _parse_id3_size(b"ID3" + tail[-7:])
        if not 0 < length <= end:
            return end
        end -= length


def _find_inner_id3(file: BinaryIO, end: int) -> list[range]:
    """Return the ID3v2 tags between joined parts; their pictures may contain what looks like a frame."""
    ranges: list[range] = []
    if not end:
        return ranges
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position = data.find(b"ID3", 0, end)
        while position >= 0:
            size = _id3_size(file, position)
            after = position + size
            if size and (after >= end or _parse_mp3_header(data[after : after + 4]) is not None):
                ranges.append(range(position, min(after, end)))
                position = data.find(b"ID3", after, end)
            else:
                position = data.find(b"ID3", position + 3, end)
    return ranges


def _read_matroska_promise(path: Path, zero_s: float) -> Promise:
    size = path.stat().st_size
    with path.open("rb") as file:
        position, is_cut_off, in_info, scale = 0, False, False, 1_000_000
        info_end = size
        while position < size:
            file.seek(position)
            element, length, header = _read_ebml_header(file)
            if not header or element == _EBML_CLUSTER or (in_info and position >= info_end):
                break
            body = position + header
            if element == _EBML_SEGMENT:
                is_cut_off = length is not None and body + length > size
                position = body
            elif element == _EBML_INFO:
                in_info, info_end = True, body + (length or 0)
                position = body
            else:
                file.seek(body)
                if in_info and element == _EBML_TIMESTAMP_SCALE and length:
                    scale = int.from_bytes(file.read(min(length, 8)), "big")
                if in_info and element == _EBML_DURATION and length in {4, 8}:
                    (ticks,) = struct.unpack(">f" if length == 4 else ">d", file.read(length))
                    # The scale may follow the duration, but every muxer writes it first.
                    if ticks > 0:
                        return Promise(ticks * scale / 1e9 - zero_s, True, is_cut_off)
                if length is None:
                    break
                position = body + length
    return Promise(is_cut_off=is_cut_off)


def _read_ebml_header(file: BinaryIO) -> tuple[int, int | None, int]:
    """Return ID, length (None if unknown) and header size of an EBML element; the size is 0 at the end."""
    head = file.read(12)
    if len(head) < 2 or not head[0] or head[0] < 0x10:
        return 0, None, 0
    id_size = 9 - head[0].bit_length()
    if len(head) <= id_size or not head[id_size]:
        return 0, None, 0
    length_size = 9 - head[id_size].bit_length()
    element = int.from_bytes(head[:id_size], "big")
    length = int.from_bytes(head[id_size : id_size + length_size], "big") & (1 << 7 * length_size) - 1
    is_unknown = length == (1 << 7 * length_size) - 1
    return element, None if is_unknown else length, id_size + length_size


def _read_ogg_promise(path: Path) -> Promise:
    parts = read_parts(path)
    return Promise(is_cut_off=bool(parts) and not parts[-1].has_end_mark)


_HEADER_READERS: Final[Mapping[str, Callable[[Path], Promise]]] = {
    "mp3": _read_mp3_promise,
    "flac": _read_flac_promise,
    "ogg": _read_ogg_promise,
}
