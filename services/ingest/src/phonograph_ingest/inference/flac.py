"""The cue sheet block of a FLAC file: starts of tracks, without titles.

Source of the format: RFC 9639, section 8.7.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

_STREAM_INFO: Final = 0
_CUE_SHEET: Final = 5
_LEAD_OUTS: Final = frozenset({170, 255})
_HEADER_BYTES: Final = 128 + 8 + 259 + 1
_TRACK_BYTES: Final = 36
_INDEX_BYTES: Final = 12
_IS_NOT_AUDIO: Final = 0x80
_MAX_BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class CueBlockTrack:
    """A track of the block."""

    number: int
    offset_s: float
    """Where the track begins, with its pre-gap."""
    start_s: float
    """Where its INDEX 01 is."""
    has_audio: bool
    isrc: str


def read_cue_block(path: Path) -> tuple[CueBlockTrack, ...]:
    """Return the tracks of the cue sheet block without the lead-out; none if the file has no such block.

    Raises:
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            # The length has four bytes of seven bits.
            file.seek(10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)))
        else:
            file.seek(0)
        return _read_blocks(file) if file.read(4) == b"fLaC" else ()


def _read_blocks(file: BinaryIO) -> tuple[CueBlockTrack, ...]:
    sample_rate, is_last = 0, False
    while not is_last:
        header = file.read(4)
        if len(header) < 4:
            break
        kind, length = header[0] & 0x7F, int.from_bytes(header[1:], "big")
        is_last = bool(header[0] & 0x80)
        if kind == _STREAM_INFO:
            sample_rate = int.from_bytes(file.read(length)[10:13], "big") >> 4
        elif kind == _CUE_SHEET and sample_rate and length <= _MAX_BLOCK_BYTES:
            return _parse_cue_block(file.read(length), sample_rate)
        else:
            file.seek(length, 1)
    return ()


def _parse_cue_block(block: bytes, sample_rate: int) -> tuple[CueBlockTrack, ...]:
    """Return the tracks of a block; one that ends early has those before its end."""
    if len(block) < _HEADER_BYTES:
        return ()
    tracks = []
    at = _HEADER_BYTES
    for _ in range(block[_HEADER_BYTES - 1]):
        track = block[at : at + _TRACK_BYTES]
        if len(track) < _TRACK_BYTES:
            break
        offset, number, isrc, flags = struct.unpack(">QB12sB", track[:22])
        at += _TRACK_BYTES
        indexes = {}
        for _ in range(track[-1]):
            index = block[at : at + _INDEX_BYTES]
            at += _INDEX_BYTES
            if len(index) == _INDEX_BYTES:
                indexes[index[8]] = int.from_bytes(index[:8], "big")
        if number not in _LEAD_OUTS:
            start = offset + indexes.get(1, next(iter(indexes.values()), 0))
            tracks.append(
                CueBlockTrack(
                    number=number,
                    offset_s=offset / sample_rate,
                    start_s=start / sample_rate,
                    has_audio=not flags & _IS_NOT_AUDIO,
                    isrc=isrc.rstrip(b"\0").decode("latin-1"),
                )
            )
    return tuple(tracks)
