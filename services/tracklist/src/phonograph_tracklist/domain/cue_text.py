"""Decoding of cue sheets, which do not declare their encoding."""

import codecs
from dataclasses import dataclass
from typing import Final

from phonograph_runtime.legacy_text import MIN_EVIDENCE, WESTERN, decode, detect_encoding
from phonograph_tracklist.constants import MAX_CUE_BYTES
from phonograph_tracklist.exceptions import BadCueError

_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before utf-16, whose mark is a prefix of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MAX_SAMPLED_LINES: Final = 400


@dataclass(frozen=True, slots=True)
class DecodedCue:
    """The text of a cue sheet."""

    text: str
    """Bytes that cannot be decoded are U+FFFD."""
    guessed: str | None = None
    """The encoding, if the sheet neither states it nor is UTF-8."""


def decode_cue(data: bytes) -> DecodedCue:
    """Decode a sheet by its byte order mark, else as UTF-8, else in the likeliest old code page.

    Raises:
        BadCueError: If the bytes are empty, too many or not text.
    """
    if len(data) > MAX_CUE_BYTES:
        raise BadCueError(f"A cue sheet has at most {MAX_CUE_BYTES} bytes; this one has more.")
    if not data.strip():
        raise BadCueError("The cue sheet is empty.")
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    encoding = encoding or _utf16_without_mark(data)
    if encoding is None and _is_utf8(data):
        encoding = "utf-8"
    if encoding is not None:
        return DecodedCue(data.decode(encoding, errors="replace"))
    # One text per line, because a cut or damaged one must not decide.
    texts = [_value(line) for line in data.splitlines() if not line.isascii()]
    detected = detect_encoding(texts[:_MAX_SAMPLED_LINES])
    text = decode(data, detected.encoding)
    if text is None and detected.evidence < MIN_EVIDENCE:
        return DecodedCue(decode(data, WESTERN) or "", WESTERN)
    return DecodedCue(text or data.decode(detected.encoding, errors="replace"), detected.encoding)


def _value(line: bytes) -> bytes:
    """Return the text of a line without its keyword: texts begin with capitals."""
    keyword, _, value = line.strip().partition(b" ")
    return value.strip(b' "') if keyword.isascii() else line


def _is_utf8(data: bytes) -> bool:
    """Return whether the bytes are UTF-8, but for a few damaged ones."""
    decoded = data.decode(errors="surrogateescape")
    damaged = sum("\udc80" <= char <= "\udcff" for char in decoded)
    return damaged == 0 or sum(not char.isascii() for char in decoded) > 2 * damaged


def _utf16_without_mark(data: bytes) -> str | None:
    # Latin keywords in UTF-16 have a NUL in every second byte, which strict UTF-8 would let through.
    head = data[:2000]
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if head[offset::2].count(0) > len(head) // 4:
            return name
    return None
