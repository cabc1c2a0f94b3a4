r"""A better file name from the tags.

Naming guides contradict each other and themselves; this table decides once:

| question | decision | reason |
|---|---|---|
| pattern | `Artist - Title.ext` | every player and tagger can read it |
| spaces | stay | safe everywhere today |
| apostrophe | stays, typographic ones become `'` | "Don't Stop" is the title |
| brackets, `!`, `&`, `,` | stay | no file system reserves them |
| quotation mark | becomes `'` | Windows reserves it |
| `?` `*` | dropped | Windows reserves them, and nothing is lost |
| `<` `>` | become `(` `)` | Windows reserves them |
| `/` `\` `|` `:` | become `-`, a colon before a space ` - ` | reserved; a tag must not create folders |
| several artists | up to three joined with `, `, then `and others` | clearer than "Various Artists" |
| letters beyond ASCII | stay, composed (NFC) | file systems keep them |
| transliteration (anyascii) | only of Latin, Greek, Cyrillic names over 255 bytes | better than cutting |
| still too long | the title is cut to no less than 24 bytes, then the artist | artists keep files together |
| dots and dashes at the start, dots at the end | dropped | hidden files, command options, Windows |
| `CON`, `NUL`, `COM1`, … before the first dot | get a `_` | Windows reserves them for devices |
| extension | kept, lower-case | it states the format; tags do not |
| track number before the current name | no reason for a proposal | it keeps albums in order |
| another file of the folder has the name | ` (2)`, ` (3)`, … | no file may overwrite another |
| names that differ in case or form of accents | are one name | some file systems confuse them |
"""

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from anyascii import anyascii
from rapidfuzz import fuzz, utils

from phonograph_events import file_uri_to_path
from phonograph_tracklist.constants import MAX_FILE_NAME
from phonograph_tracklist.domain.printable import comparable, printable
from phonograph_tracklist.domain.tags import tag_values

SEPARATOR: Final = " - "
MAX_ARTISTS: Final = 3
MIN_KEPT_BYTES: Final = 24
"""Bytes that artist and title each keep when a name is cut."""
SHORTENED_CONFIDENCE: Final = 0.8
"""Factor for a name that had to be cut, transliterated or numbered."""
MAX_NUMBER: Final = 99
"""Of a name that other files of the folder have, too."""

WEIGHTS: Final = {"artist": 0.35, "title": 0.35, "album": 0.1, "year": 0.1, "genre": 0.05, "track": 0.05}
"""What each tag adds to the confidence: complete tags were filled in with care."""
ALBUM_ARTIST_WEIGHT: Final = 0.2
"""Replaces the weight of the artist: the artist of the album may differ from that of the track."""

_ALIASES: Final = {
    "artist": ("artist",),
    "albumartist": ("albumartist", "album_artist", "album artist"),
    "title": ("title",),
    "album": ("album",),
    "year": ("year", "date"),
    "genre": ("genre",),
    "track": ("track", "tracknumber"),
}
_PLACEHOLDER = re.compile(
    r"\W*(?:(?:unknown|no)(?:\s+(?:artist|title|album))?|untitled|n/?a|none|null|artist|title|track\s*\d*)\W*",
    re.IGNORECASE,
)
_EXTENSION = re.compile(r"\.(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{1,5}$")
_TRACK_NUMBER = re.compile(r"^\(?\d{1,3}[\s._)-]+")
_DEVICE = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|COM[0-9¹²³]|LPT[0-9¹²³])", re.IGNORECASE)
_ROMANIZABLE_SCRIPTS: Final = ("LATIN", "GREEK", "CYRILLIC")
_REPLACEMENTS: Final = str.maketrans(
    {"“": "'", "”": "'", "„": "'", '"': "'", "’": "'", "‘": "'", "`": "'", "´": "'"}
    | {"<": "(", ">": ")", "?": None, "*": None}
    | {"/": "-", "\\": "-", "|": "-", ":": "-"}
)


@dataclass(frozen=True, slots=True)
class RenameProposal:
    """A file name that the tags suggest."""

    current_filename: str
    proposed_filename: str
    reason: str
    """A sentence for the user."""
    confidence: float
    """In [0, 1]; grows with the completeness of the tags."""
    metadata_used: dict[str, str]
    """The tags from which the name was made."""


def name_key(file_name: str) -> str:
    """Return what is equal for two names that some file system cannot tell apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", file_name).casefold())


def folder_name(uri: str) -> str:
    """Return the name of the folder of a file, or an empty text if it is not on this machine."""
    path = file_uri_to_path(uri)
    return path.parent.name if path else ""


def propose_rename(
    file_name: str,
    tags: Mapping[str, Sequence[str]],
    *,
    folder_name: str = "",
    taken: Collection[str] = frozenset(),
) -> RenameProposal | None:
    """Propose the name `Artist - Title.ext` for a file, with a number if another file has that name.

    Args:
        file_name: Current name, without folders.
        tags: Tags by lower-case name, each with its values.
        folder_name: Name of the folder that contains the file; both together have at most 255 bytes (C-50).
        taken: Keys (`name_key`) of the names that other files of the folder have or are to get.

    Returns:
        None if artist or title is missing or a placeholder, if no character of one of them is allowed in a
        name, if the name would not fit, or if the current name differs only in case, accents, punctuation,
        white space, a track number before it or the number behind it.
    """
    found = {name: _first_values(tags, aliases) for name, aliases in _ALIASES.items()}
    artists = found["artist"] or found["albumartist"]
    title = make_safe(" ".join(found["title"][:1]))
    artist = make_safe(_join_artists(artists))
    extension = _EXTENSION.search(file_name)
    suffix = extension.group().lower() if extension else ""
    if not artist or not title:
        return None
    max_bytes = MAX_FILE_NAME - len(suffix.encode()) - len(folder_name.encode(errors="surrogateescape"))
    current_stem = file_name[: extension.start()] if extension else file_name
    fitted = _fit(artist, title, max_bytes)
    if fitted is None or _is_current_name(printable(current_stem), fitted[0]):
        return None
    number = 1
    while name_key(fitted[0] + suffix) in taken:
        number += 1
        mark = f" ({number})"
        fitted = _fit(artist, title, max_bytes - len(mark))
        if fitted is None or number > MAX_NUMBER:
            return None
        stem = fitted[0] + mark
        if name_key(stem) == name_key(current_stem):
            return None
        fitted = stem, True
    stem, is_shortened = fitted
    used = {name: found[name][0] for name in ("title", "album", "year", "genre", "track") if found[name]}
    used["artist" if found["artist"] else "albumartist"] = "; ".join(artists)
    confidence = sum(WEIGHTS.get(name, ALBUM_ARTIST_WEIGHT) for name in used)
    return RenameProposal(
        current_filename=file_name,
        proposed_filename=stem + suffix,
        reason=_describe_change(
            current_stem, stem, is_album_artist=not found["artist"], is_numbered=number > 1
        ),
        confidence=round(confidence * (SHORTENED_CONFIDENCE if is_shortened else 1), 2),
        metadata_used=used,
    )


def make_safe(text: str) -> str:
    """Return text without anything that a system forbids in file names; it may be empty."""
    text = re.sub(r"\s*:\s+", SEPARATOR, printable(text)).translate(_REPLACEMENTS)
    return _trim(" ".join(text.split()))


def _trim(text: str) -> str:
    return re.sub(r"^[\s.~-]+|[\s.]+$|(?<=\s)-+$", "", text).strip()


def _first_values(tags: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[str]:
    for name in names:
        values = [
            value for value in tag_values(name, tags.get(name, ())) if not _PLACEHOLDER.fullmatch(value)
        ]
        if values:
            return values
    return []


def _join_artists(artists: Sequence[str]) -> str:
    more = " and others" if len(artists) > MAX_ARTISTS else ""
    return ", ".join(artists[:MAX_ARTISTS]) + more


def _fit(artist: str, title: str, max_bytes: int) -> tuple[str, bool] | None:
    """Return a stem of at most `max_bytes` and whether it was shortened for that, or None if none fits."""
    stem = _build_stem(artist, title)
    if len(stem.encode()) <= max_bytes:
        return stem, False
    if len(stem) <= max_bytes and all(map(_is_romanizable, stem)):
        plain_artist, plain_title = make_safe(anyascii(artist)), make_safe(anyascii(title))
        plain = _build_stem(plain_artist, plain_title)
        if plain_artist and plain_title and len(plain) <= max_bytes:
            return plain, True
    if max_bytes < 2 * MIN_KEPT_BYTES + len(_build_stem("", "")):
        return None
    artist = _cut(artist, max_bytes - len(_build_stem("", "")) - min(len(title.encode()), MIN_KEPT_BYTES))
    title = _cut(title, max_bytes - len(_build_stem(artist, "").encode()))
    return (_build_stem(artist, title), True) if artist and title else None


def _is_romanizable(char: str) -> bool:
    """Return whether a character has one Latin spelling; 坂本 is read Sakamoto, but could be Banben."""
    return not char.isalpha() or unicodedata.name(char, "").startswith(_ROMANIZABLE_SCRIPTS)


def _build_stem(artist: str, title: str) -> str:
    device, dot, rest = artist.partition(".")
    if dot and _DEVICE.fullmatch(device.strip()):
        artist = f"{device.strip()}_{dot}{rest}"
    return f"{artist}{SEPARATOR}{title}"


def _cut(text: str, max_bytes: int) -> str:
    return _trim(text.encode()[:max_bytes].decode(errors="ignore"))


def _is_current_name(current_stem: str, stem: str) -> bool:
    names = (current_stem, _TRACK_NUMBER.sub("", current_stem))
    return comparable(stem) in map(comparable, names)


def _describe_change(current_stem: str, stem: str, *, is_album_artist: bool, is_numbered: bool) -> str:
    current, proposed = (utils.default_process(name) for name in (current_stem, stem))
    similarity = f"{fuzz.token_sort_ratio(current, proposed):.0f}% similar"
    words, proposed_words = set(current.split()), set(proposed.split())
    if words == proposed_words:
        reason = "The current name has the words of artist and title in another order."
    elif proposed_words < words:
        reason = f"The current name has more words than artist and title ({similarity})."
    elif words < proposed_words:
        reason = f"The current name has only a part of artist and title ({similarity})."
    else:
        reason = f"The tags name another artist or title than the current name ({similarity})."
    if is_album_artist:
        reason += " The artist is that of the album; the track names none."
    if is_numbered:
        reason += " Another file of the folder has or gets the name without the number."
    return reason
