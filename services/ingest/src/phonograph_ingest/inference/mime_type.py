"""MIME types of media files, by their content."""

from pathlib import Path
from typing import Final

import puremagic

from phonograph_events import MediaKind

_MP4: Final = "mov,mp4,m4a,3gp,3g2,mj2"
_MATROSKA: Final = "matroska,webm"
_TYPES: Final = {
    "aac": "audio/aac",
    "ac3": "audio/ac3",
    "adx": "audio/x-adx",
    "aiff": "audio/x-aiff",
    "amr": "audio/amr",
    "ape": "audio/x-ape",
    "aptx": "audio/aptx",
    "au": "audio/x-au",
    "avi": "video/x-msvideo",
    "caf": "audio/x-caf",
    "dsf": "audio/x-dsf",
    "dts": "audio/vnd.dts",
    "eac3": "audio/eac3",
    "flac": "audio/flac",
    "flv": "video/x-flv",
    "g722": "audio/G722",
    "ircam": "audio/x-ircam",
    "mp3": "audio/mpeg",
    "mpc": "audio/x-musepack",
    "mpc8": "audio/x-musepack",
    "mpeg": "video/mpeg",
    "mpegts": "video/mp2t",
    "mxf": "application/mxf",
    "nut": "video/x-nut",
    "sox": "audio/x-sox",
    "tak": "audio/x-tak",
    "tta": "audio/x-tta",
    "w64": "audio/x-w64",
    "wav": "audio/wave",
    "wv": "audio/x-wavpack",
}
"""By FFmpeg's name of the container. MPEG streams, AVI and FLV have one type, with and without video."""
_TYPES_BY_KIND: Final = {"asf": ("audio/x-ms-wma", "video/x-ms-wmv"), "ogg": ("audio/ogg", "video/ogg")}


def detect_mime_type(path: Path, *, container: str, kind: MediaKind) -> str:
    """Return the MIME type of a file.

    Args:
        path: The file; its name decides only between types that fit its content equally well.
        container: FFmpeg's name of the container, which is known to be right: the file was opened with it.
        kind: Whether the file has video.

    Raises:
        OSError: If the file cannot be read.
    """
    if container in _TYPES:
        return _TYPES[container]
    if container in _TYPES_BY_KIND:
        return _TYPES_BY_KIND[container][kind is MediaKind.VIDEO]
    if container in {_MP4, _MATROSKA}:
        with path.open("rb") as file:
            head = file.read(64)
        return f"{kind}/{_matroska_subtype(head) if container == _MATROSKA else _mp4_subtype(head, kind)}"
    return _detect_by_signature(path, kind)


def _matroska_subtype(head: bytes) -> str:
    # The document type is in the header, which the first bytes contain.
    return "webm" if b"webm" in head else "x-matroska"


def _mp4_subtype(head: bytes, kind: MediaKind) -> str:
    brand = head[8:12] if head[4:8] == b"ftyp" else b"qt  "
    if brand.startswith(b"3g2"):
        return "3gpp2"
    if brand.startswith(b"3g"):
        return "3gpp"
    return "quicktime" if brand == b"qt  " and kind is MediaKind.VIDEO else "mp4"


def _detect_by_signature(path: Path, kind: MediaKind) -> str:
    try:
        matches = puremagic.magic_file(str(path))
    except (ValueError, puremagic.PureError):
        matches = []
    fitting = [match.mime_type for match in matches if match.mime_type.startswith(f"{kind}/")]
    return fitting[0] if fitting else f"{kind}/x-unknown"
