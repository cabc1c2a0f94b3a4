"""Decoding of cue sheets, which do not declare their encoding."""

import codecs
import re

from charset_normalizer import from_bytes

from phonograph_tracklist.constants import MAX_CUE_BYTES
from phonograph_tracklist.exceptions import BadCueError

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before utf-16, whose mark is a prefix of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COMMON_CODE_PAGES = ["cp1252", "cp1250", "cp1251", "koi8_r", "cp932", "gb18030", "big5", "euc_kr"]
_WORD = re.compile(r"[^\W\d_]{2,}")
_RUSSIAN = re.compile(r"[А-ЯЁІЇЄҐ]?[а-яёіїєґ]+")
_RUSSIAN_CAPITALS = re.compile(r"[А-ЯЁІЇЄҐ]+")
_MIN_CAPITALS = 8


def decode_cue(data: bytes) -> str:
    """Decode a sheet by its byte order mark, else as strict UTF-8, else in the likeliest old code page.

    Raises:
        BadCueError: If the bytes are empty, too many or not text.
    """
    if len(data) > MAX_CUE_BYTES:
        raise BadCueError(f"A cue sheet has at most {MAX_CUE_BYTES} bytes; this one has more.")
    if not data.strip():
        raise BadCueError("The cue sheet is empty.")
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), None)
    encoding = encoding or _utf16_without_mark(data)
    try:
        return data.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise BadCueError(
                f"The cue sheet is marked as {encoding} but is not valid: {error.reason}."
            ) from error
    return _decode_code_page(data)


def _utf16_without_mark(data: bytes) -> str | None:
    # Latin keywords in UTF-16 have a NUL in every second byte, which strict UTF-8 would let through.
    head = data[:2000]
    for offset, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if head[offset::2].count(0) > len(head) // 4:
            return name
    return None


def _decode_code_page(data: bytes) -> str:
    if _is_russian(data):
        return data.decode("cp1251")
    best = from_bytes(data, cp_isolation=_COMMON_CODE_PAGES).best() or from_bytes(data).best()
    if best is None:
        if b"\0" in data:
            raise BadCueError("The cue sheet is not text.")
        return data.decode("cp1252", errors="replace")
    return data.decode(best.encoding, errors="replace")


def _is_russian(data: bytes) -> bool:
    """Return whether the bytes are Russian words in cp1251.

    charset-normalizer 3.5 mistakes four such letters for Big5; but a capital followed by small letters,
    or eight capitals, are unlikely to be an accident.
    """
    try:
        text = data.decode("cp1251")
    except UnicodeDecodeError:
        return False
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    small = sum(bool(_RUSSIAN.fullmatch(word)) for word in words)
    capitals = [word for word in words if _RUSSIAN_CAPITALS.fullmatch(word)]
    if sum(map(len, capitals)) < _MIN_CAPITALS and not small:
        capitals = []
    return bool(words) and small + len(capitals) >= 0.8 * len(words)
