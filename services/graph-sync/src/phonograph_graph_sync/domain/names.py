"""Spellings of names, so that the same thing is one node."""

import hashlib
import re
import unicodedata
from typing import Final
from urllib.parse import unquote, urlsplit

MAX_INDEXED_BYTES: Final = 7_000
"""Neo4j refuses a transaction that indexes more than about 8,160 bytes."""

_FEATURING = re.compile(r"\s+[(\[]?(?:feat\.?|ft\.?|featuring)\s+", re.IGNORECASE)
_KEY = re.compile(r"([A-Ga-g])\s*([#♯b♭]?)\s*(?:(m|min|minor)|(M|maj|major))?")
_FLATS: Final = {"A#": "Bb", "D#": "Eb", "G#": "Ab", "Db": "C#", "Gb": "F#", "Cb": "B", "Fb": "E"}
_SHARPS: Final = {"E#": "F", "B#": "C"}


def indexable(text: str) -> str:
    """The text, or for a very long one its beginning with a digest: a key that Neo4j can index."""
    encoded = text.encode()
    if len(encoded) <= MAX_INDEXED_BYTES:
        return text
    digest = hashlib.sha256(encoded).hexdigest()
    return f"{encoded[: MAX_INDEXED_BYTES - 80].decode(errors='ignore')}…{digest}"


def display(name: str) -> str:
    """A name as it is shown: composed characters, single spaces."""
    return indexable(" ".join(unicodedata.normalize("NFC", name).split()))


def normalized(name: str) -> str:
    """A name as it is compared: compatibility forms and case folded, single spaces."""
    return indexable(" ".join(unicodedata.normalize("NFKC", name).casefold().split()))


def performers(name: str) -> tuple[str, list[str]]:
    """The main artist and the featured ones of a credit such as "A feat. B"."""
    main, *featured = _FEATURING.split(name)
    return display(main), [guest for part in featured if (guest := display(part.rstrip(" )]")))]


def musical_key(text: str) -> tuple[str, str] | None:
    """Key and scale of a tag such as `Am`, `F# minor` or `B♭`; null for other notations."""
    match = _KEY.fullmatch(text.strip())
    if match is None:
        return None
    note, accidental, minor, _ = match.groups()
    spelled = note.upper() + accidental.replace("♯", "#").replace("♭", "b")
    return (_FLATS | _SHARPS).get(spelled, spelled), "minor" if minor else "major"


def decoded_path(uri: str) -> str:
    """The path behind a `file://` address, as people write it; any other address as it is."""
    if not uri.lower().startswith("file://"):
        return indexable(uri)
    return indexable(unquote(urlsplit(uri).path, errors="replace"))
