"""Pages of an Ogg file: its chained parts, and whether it has an end mark.

Source of the format: RFC 3533.
"""

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from typing_extensions import override

_HEADER = struct.Struct("<4sBBqIIIB")
_FIRST_PAGE, _LAST_PAGE = 2, 4
_SEARCH_BYTES = 64 * 1024


@dataclass(slots=True)
class OggPart:
    """A part of a chained Ogg file: one or more streams from their first pages to their last."""

    start: int
    """Offset of the first byte."""
    end: int
    serials: set[int]
    last_granule: int = 0
    has_end_mark: bool = False


def read_parts(path: Path) -> list[OggPart]:
    """Return the parts of an Ogg file in file order; more than one if the file is chained."""
    parts: list[OggPart] = []
    is_in_heads = False
    size = path.stat().st_size
    with path.open("rb") as file:
        position = 0
        while True:
            file.seek(position)
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size:
                break
            magic, _, flags, granule, serial, _, _, count = _HEADER.unpack(head)
            if magic != b"OggS":
                position = _find_page(file, position + 1)
                if position < 0:
                    break
                continue
            is_first = bool(flags & _FIRST_PAGE)
            if is_first and not is_in_heads:
                parts.append(OggPart(position, position, set()))
            is_in_heads = is_first
            position += _HEADER.size + count + sum(file.read(count))
            if parts:
                part = parts[-1]
                part.serials.add(serial)
                part.end = min(position, size)
                part.has_end_mark = bool(flags & _LAST_PAGE) and position <= size
                part.last_granule = max(part.last_granule, granule)
    return parts


def _find_page(file: BinaryIO, position: int) -> int:
    while True:
        file.seek(position)
        block = file.read(_SEARCH_BYTES)
        found = block.find(b"OggS")
        if found >= 0:
            return position + found
        if len(block) < _SEARCH_BYTES:
            return -1
        position += len(block) - 3


class FileSlice(io.RawIOBase):
    """A range of bytes of a file, for reading."""

    def __init__(self, path: Path, start: int, end: int) -> None:
        """Open the file.

        Args:
            path: The file.
            start: Offset of the first byte.
            end: Offset after the last byte.
        """
        super().__init__()
        self._file = path.open("rb")
        self._start, self._end = start, end
        self._file.seek(start)

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def read(self, size: int = -1, /) -> bytes:
        left = self._end - self._file.tell()
        return self._file.read(left if size < 0 else min(size, left)) if left > 0 else b""

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: self._start, io.SEEK_CUR: self._file.tell(), io.SEEK_END: self._end}[whence]
        return self._file.seek(max(self._start, base + offset)) - self._start

    @override
    def tell(self) -> int:
        return self._file.tell() - self._start

    @override
    def close(self) -> None:
        self._file.close()
        super().close()
