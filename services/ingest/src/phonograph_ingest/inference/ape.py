"""Tags in the format of Monkey's Audio, which MP3, Musepack and WavPack files have at their ends.

Source of the format: APEv2 specification of the Hydrogenaudio wiki.
"""

import re
import struct
from pathlib import Path
from typing import BinaryIO, Final

_MAGIC: Final = b"APETAGEX"
_FRAME_BYTES: Final = 32
"""Header and footer."""
_ID3V1_BYTES: Final = 128
_LYRICS_END: Final = b"LYRICS200"
_MAX_TAG_BYTES: Final = 64 << 20
_MAX_VALUE_BYTES: Final = 16 << 20
_MAX_ITEMS: Final = 10_000
_IS_HEADER: Final = 1 << 29
_TYPE: Final = 0b110
_COUNTED = re.compile(r"\s*(\d+)\s*(?:/\s*(\d+)\s*)?")
_NAMES: Final = {
    "album artist": "albumartist",
    "album_artist": "albumartist",
    "discnumber": "disc",
    "tracknumber": "track",
    "cue sheet": "cuesheet",
}


def read_ape_tags(path: Path) -> dict[str, list[str]]:
    """Return the texts of the APE tag of a file by lower-case name; bytes that are not UTF-8 are surrogates.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        return _read_items(file)


def _read_items(file: BinaryIO) -> dict[str, list[str]]:
    end = _find_footer(file)
    if end is None:
        return {}
    file.seek(end)
    _, _, size, count, _ = struct.unpack("<8sIIII", file.read(_FRAME_BYTES)[:24])
    start = end + _FRAME_BYTES - size
    if start < 0 or not _FRAME_BYTES <= size <= _MAX_TAG_BYTES:
        return {}
    tags: dict[str, list[str]] = {}
    file.seek(start)
    for _ in range(min(count, _MAX_ITEMS)):
        length, flags = struct.unpack("<II", file.read(8).ljust(8, b"\0"))
        key = _read_key(file)
        if not key or file.tell() + length > end:
            break
        if flags & _TYPE or length > _MAX_VALUE_BYTES:
            file.seek(length, 1)
            continue
        text = file.read(length).decode("utf-8", errors="surrogateescape")
        name = _NAMES.get(key, key)
        counted = _COUNTED.fullmatch(text) if name in {"track", "disc"} else None
        if counted is not None:
            tags[name] = [str(int(counted.group(1)))]
            if counted.group(2):
                tags[f"{name}_total"] = [str(int(counted.group(2)))]
        else:
            values = [value for value in text.split("\0") if value.strip()]
            if values:
                tags[name] = [*tags.get(name, []), *values]
    return tags


def _read_key(file: BinaryIO) -> str:
    """Return the key at the position, in lower case, and move behind it; empty if there is none."""
    at = file.tell()
    key, separator, _ = file.read(256).partition(b"\0")
    file.seek(at + len(key) + 1)
    return key.decode("latin-1").strip().lower() if separator else ""


def _find_footer(file: BinaryIO) -> int | None:
    """Return the position of the footer: at the end of the file, or before an ID3v1 tag and lyrics."""
    end = file.seek(0, 2)
    if _read_at(file, end - _ID3V1_BYTES, 3) == b"TAG":
        end -= _ID3V1_BYTES
        if _read_at(file, end - len(_LYRICS_END), len(_LYRICS_END)) == _LYRICS_END:
            digits = _read_at(file, end - len(_LYRICS_END) - 6, 6)
            if digits.isdigit():
                end -= int(digits) + len(_LYRICS_END) + 6
    at = end - _FRAME_BYTES
    frame = _read_at(file, at, _FRAME_BYTES)
    if not frame.startswith(_MAGIC) or len(frame) < _FRAME_BYTES:
        return None
    (flags,) = struct.unpack("<I", frame[20:24])
    return None if flags & _IS_HEADER else at


def _read_at(file: BinaryIO, at: int, length: int) -> bytes:
    if at < 0:
        return b""
    file.seek(at)
    return file.read(length)
