r"""A better file name from the tags.

Naming guides contradict each other and themselves; this table decides once:

| question | decision | because |
|---|---|---|
| pattern | `Artist - Title.ext` | every player and tagger reads it back |
| spaces | stay | safe everywhere today |
| apostrophe | stays, typographic ones become `'` | "Don't Stop" is the title |
| brackets, `!`, `&`, `,` | stay | no file system reserves them |
| quotation mark | becomes `'` | Windows reserves it |
| `?` `*` | dropped | Windows reserves them, and nothing is lost |
| `<` `>` | become `(` `)` | Windows reserves them |
| `/` `\` `|` `:` | become `-`, a colon before a space ` - ` | reserved; a path in a tag must stay a word |
| several artists | three joined with `, `; of more three `and others` | clearer than "Various Artists" |
| letters beyond ASCII | stay, composed (NFC) | file systems keep them |
| transliteration (anyascii) | only of Latin, Greek, Cyrillic names over 255 bytes | better than cutting |
| longer still | the title is cut down to 24 bytes, then the artist | artists keep files together |
| dots and dashes at the start, dots at the end | dropped | hidden files, options of commands, Windows |
| `CON`, `NUL`, `COM1`, … before the first dot | get a `_` | Windows keeps them for devices |
| extension | kept, lower-case | it says what the file is; tags don't |
| track number before the present name | no reason for a proposal | it keeps albums in order |
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from anyascii import anyascii
from rapidfuzz import fuzz, utils

from phonograph_tracklist.constants import MAX_FILE_NAME
from phonograph_tracklist.domain.metadata import tag_values
from phonograph_tracklist.domain.printable import comparable, printable

SEPARATOR: Final = " - "
MAX_ARTISTS: Final = 3
MIN_PART_BYTES: Final = 24
"""Room that artist and title each keep when a name is cut."""
SHORTENED_CONFIDENCE: Final = 0.8
"""Factor for a name that had to be cut or transliterated."""

WEIGHTS: Final = {"artist": 0.35, "title": 0.35, "album": 0.1, "year": 0.1, "genre": 0.05, "track": 0.05}
"""What each tag adds to the confidence; whoever filled in all of them took care."""
ALBUM_ARTIST_WEIGHT: Final = 0.2
"""In place of the artist's: the album's artist need not be the track's."""

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
_DERIVABLE: Final = ("LATIN", "GREEK", "CYRILLIC")
_REPLACED: Final = str.maketrans(
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
    """0 to 1, by how complete the tags are."""
    metadata_used: dict[str, str]


def propose_rename(
    file_name: str, tags: Mapping[str, Sequence[str]], *, folder_name: str = ""
) -> RenameProposal | None:
    """Propose `Artist - Title.ext` where the file is not called so already.

    Null when artist or title is missing or a placeholder, when nothing of them may stand in a name, or when
    the present name differs only in case, accents, punctuation, white space or a track number before it.

    Args:
        file_name: present name, without folders.
        tags: by lower-case name, each with its values.
        folder_name: name of the folder around it; with it the name stays within 255, too (C-50).
    """
    found = {name: _first_known(tags, aliases) for name, aliases in _ALIASES.items()}
    artists = found["artist"] or found["albumartist"]
    title = safe_part(" ".join(found["title"][:1]))
    artist = safe_part(_joined(artists))
    extension = _EXTENSION.search(file_name)
    suffix = extension.group().lower() if extension else ""
    if not artist or not title:
        return None
    room = MAX_FILE_NAME - len(suffix.encode()) - len(folder_name.encode(errors="surrogateescape"))
    fitted = _fitted(artist, title, room)
    if fitted is None:
        return None
    stem, shortened = fitted
    current_stem = file_name[: extension.start()] if extension else file_name
    if _is_named_so(printable(current_stem), stem):
        return None
    used = {name: found[name][0] for name in ("title", "album", "year", "genre", "track") if found[name]}
    used["artist" if found["artist"] else "albumartist"] = "; ".join(artists)
    confidence = sum(WEIGHTS.get(name, ALBUM_ARTIST_WEIGHT) for name in used)
    return RenameProposal(
        current_filename=file_name,
        proposed_filename=stem + suffix,
        reason=_reason(current_stem, stem, by_album=not found["artist"]),
        confidence=round(confidence * (SHORTENED_CONFIDENCE if shortened else 1), 2),
        metadata_used=used,
    )


def safe_part(text: str) -> str:
    """Text that may stand in a file name on any system; may be empty."""
    text = re.sub(r"\s*:\s+", SEPARATOR, printable(text)).translate(_REPLACED)
    return _trimmed(" ".join(text.split()))


def _trimmed(text: str) -> str:
    return re.sub(r"^[\s.~-]+|[\s.]+$|(?<=\s)-+$", "", text).strip()


def _first_known(tags: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[str]:
    for name in names:
        values = [
            value for value in tag_values(name, tags.get(name, ())) if not _PLACEHOLDER.fullmatch(value)
        ]
        if values:
            return values
    return []


def _joined(artists: Sequence[str]) -> str:
    more = " and others" if len(artists) > MAX_ARTISTS else ""
    return ", ".join(artists[:MAX_ARTISTS]) + more


def _fitted(artist: str, title: str, room: int) -> tuple[str, bool] | None:
    """The name within so many bytes and whether it had to change for that; null when there is no room."""
    name = _name(artist, title)
    if len(name.encode()) <= room:
        return name, False
    if len(name) <= room and all(map(_is_derivable, name)):
        plain_artist, plain_title = safe_part(anyascii(artist)), safe_part(anyascii(title))
        plain = _name(plain_artist, plain_title)
        if plain_artist and plain_title and len(plain) <= room:
            return plain, True
    if room < 2 * MIN_PART_BYTES + len(_name("", "")):
        return None
    artist = _cut(artist, room - len(_name("", "")) - min(len(title.encode()), MIN_PART_BYTES))
    title = _cut(title, room - len(_name(artist, "").encode()))
    return (_name(artist, title), True) if artist and title else None


def _is_derivable(char: str) -> bool:
    """Whether the Latin spelling follows from the character; 坂本 is Sakamoto, but could be Banben."""
    return not char.isalpha() or unicodedata.name(char, "").startswith(_DERIVABLE)


def _name(artist: str, title: str) -> str:
    device, dot, rest = artist.partition(".")
    if dot and _DEVICE.fullmatch(device.strip()):
        artist = f"{device.strip()}_{dot}{rest}"
    return f"{artist}{SEPARATOR}{title}"


def _cut(text: str, size: int) -> str:
    return _trimmed(text.encode()[:size].decode(errors="ignore"))


def _is_named_so(current_stem: str, stem: str) -> bool:
    names = (current_stem, _TRACK_NUMBER.sub("", current_stem))
    return comparable(stem) in map(comparable, names)


def _reason(current_stem: str, stem: str, *, by_album: bool) -> str:
    present, proposed = (utils.default_process(name) for name in (current_stem, stem))
    alike = f"{fuzz.token_sort_ratio(present, proposed):.0f} % alike"
    words, wanted = set(present.split()), set(proposed.split())
    if words == wanted:
        reason = "The present name has the words of artist and title in another order."
    elif wanted < words:
        reason = f"The present name has more words than artist and title ({alike})."
    elif words < wanted:
        reason = f"The present name has only a part of artist and title ({alike})."
    else:
        reason = f"The tags name another artist or title than the present name ({alike})."
    return f"{reason} The artist is the album's, the track names none." if by_album else reason
