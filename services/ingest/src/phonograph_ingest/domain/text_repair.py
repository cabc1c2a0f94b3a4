"""Repair of texts whose bytes were read in the wrong encoding, over all texts of a file together."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from phonograph_runtime.legacy_text import (
    MIN_EVIDENCE,
    WESTERN,
    Detected,
    decode,
    detect_encoding,
    encode_western,
    is_better_in,
)

_REPLACEMENT = "\ufffd"
_EXAMPLE_CHARS = 40


@dataclass(frozen=True, slots=True)
class RepairedTexts:
    """The texts of a file after their repair."""

    texts: dict[str, str | None] = field(default_factory=dict)
    """By the text as it was read; texts that need no repair are absent, and None cannot be read."""
    warnings: tuple[str, ...] = ()

    def text(self, text: str) -> str | None:
        """Return the repaired form of a text, or None if it cannot be read with certainty."""
        return self.texts.get(text, text)


def repair_texts(texts: Iterable[str], *, context: Iterable[str] = ()) -> RepairedTexts:
    """Return the texts of one file in the encoding in which they were written.

    Programs write any code page where formats ask for ISO 8859-1 or UTF-8. A text that has only characters of
    one byte, or bytes that are not UTF-8, may be such a text. Its code page is decided by all of them
    together, and only clear evidence changes a text. Where it is clear that a text is wrong, but not in which
    code page it was written, the text cannot be read: a wrong name is worse than none.

    Args:
        texts: The texts; lone surrogates stand for bytes that are not UTF-8.
        context: Readable text about the same file, such as its name.
    """
    found: dict[str, str | None] = {}
    legacy: dict[str, bytes] = {}
    readable = list(context)
    examples: dict[str, str] = {}
    for text in dict.fromkeys(texts):
        raw = _suspect_bytes(text)
        if _REPLACEMENT in text:
            found[text] = None
        elif raw is None:
            readable.append(text)
        elif (decoded := _decode_utf8(raw)) is not None:
            found[text] = decoded
            examples.setdefault("UTF-8", decoded)
        elif _is_damaged_utf8(raw):
            found[text] = None
        else:
            legacy[text] = raw
    detected = detect_encoding(legacy.values(), context=readable)
    for text, raw in legacy.items():
        encoding, repaired = _read_legacy(text, raw, detected)
        if repaired != text:
            found[text] = repaired
            if repaired is not None:
                examples.setdefault(encoding, repaired)
    return RepairedTexts(found, tuple(_describe_repair(*item) for item in examples.items()))


def _read_legacy(text: str, raw: bytes, detected: Detected) -> tuple[str, str | None]:
    """Return the encoding of a text and its right form, or None if it cannot be read with certainty."""
    if detected.evidence >= MIN_EVIDENCE and is_better_in(raw, detected.encoding):
        return detected.encoding, decode(raw, detected.encoding) if detected.is_clear else None
    return WESTERN, decode(raw, WESTERN) if _has_no_western_letters(text) else text


def _suspect_bytes(text: str) -> bytes | None:
    """Return the bytes of a text that may be in another encoding than it was read in, else None."""
    if text.isascii():
        return None
    if any("\udc80" <= char <= "\udcff" for char in text):
        return text.encode("utf-8", errors="surrogateescape")
    return encode_western(text)


def _has_no_western_letters(text: str) -> bool:
    """Return whether a text was not read as cp1252: it has raw bytes or control characters."""
    return any("\x80" <= char <= "\x9f" or "\udc80" <= char <= "\udcff" for char in text)


def _decode_utf8(raw: bytes) -> str | None:
    decoded = decode(raw, "utf-8")
    return decoded if decoded is not None and not decoded.isascii() else None


def _is_damaged_utf8(raw: bytes) -> bool:
    """Return whether the bytes are UTF-8 but for a few: more characters than damaged bytes."""
    decoded = raw.decode("utf-8", errors="surrogateescape")
    damaged = sum("\udc80" <= char <= "\udcff" for char in decoded)
    return sum(not char.isascii() for char in decoded) > 2 * damaged


def _describe_repair(encoding: str, example: str) -> str:
    shown = " ".join(example.split())[:_EXAMPLE_CHARS]
    return (
        f"tags_reencoded: tags do not state their encoding correctly; they were read as {encoding},"
        f" as in {shown!r}."
    )
