"""Spellings of names: the same thing must be one node."""

import hashlib
import os
import re
import unicodedata
from typing import Final

from phonograph_events import file_uri_to_path

MAX_INDEXED_BYTES: Final = 7_000
"""Neo4j refuses a transaction that indexes more than about 8,160 bytes."""

_FEATURING = re.compile(r"\s+[(\[]?(?:feat\.?|ft\.?|featuring)\s+", re.IGNORECASE)
_KEY = re.compile(r"([A-Ga-g])\s*([#♯b♭]?)\s*(?:(m|min|minor)|(M|maj|major))?")
_FLATS: Final = {"A#": "Bb", "D#": "Eb", "G#": "Ab", "Db": "C#", "Gb": "F#", "Cb": "B", "Fb": "E"}
_SHARPS: Final = {"E#": "F", "B#": "C"}


def shorten_for_index(text: str) -> str:
    """Return the text; of a very long one its beginning and a digest, which Neo4j can index."""
    encoded = text.encode()
    if len(encoded) <= MAX_INDEXED_BYTES:
        return text
    digest = hashlib.sha256(encoded).hexdigest()
    return f"{encoded[: MAX_INDEXED_BYTES - 80].decode(errors='ignore')}…{digest}"


def clean_name(name: str) -> str:
    """Return a name as it is displayed: composed characters, single spaces."""
    return shorten_for_index(" ".join(unicodedata.normalize("NFC", name).split()))


def normalize_name(name: str) -> str:
    """Return a name as it is compared: compatibility forms, folded case, single spaces."""
    return shorten_for_index(" ".join(unicodedata.normalize("NFKC", name).casefold().split()))


def split_credit(credit: str) -> tuple[str, list[str]]:
    """Return the main artist and the featured ones of a credit such as "A feat. B"."""
    main, *featured = _FEATURING.split(credit)
    return clean_name(main), [guest for name in featured if (guest := clean_name(name.rstrip(" )]")))]


def parse_musical_key(text: str) -> tuple[str, str] | None:
    """Return key and scale of a tag such as `Am`, `F# minor` or `B♭`; None for other notations."""
    match = _KEY.fullmatch(text.strip())
    if match is None:
        return None
    note, accidental, minor, _ = match.groups()
    spelled = note.upper() + accidental.replace("♯", "#").replace("♭", "b")
    return (_FLATS | _SHARPS).get(spelled, spelled), "minor" if minor else "major"


def readable_path(uri: str) -> str:
    """Return the path of a `file://` URI as readable text, or any other URI unchanged.

    Bytes that are not UTF-8 become replacement characters: Neo4j stores no surrogates.
    """
    path = file_uri_to_path(uri)
    return shorten_for_index(uri if path is None else os.fsencode(path).decode(errors="replace"))
