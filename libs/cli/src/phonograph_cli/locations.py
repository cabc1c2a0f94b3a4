"""Paths as a user types them: as URIs for services, and as text for people."""

import os
import unicodedata
from pathlib import Path
from typing import Final

_DIRECTION_CHANGES: Final = frozenset({"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"})
"""Bidirectional classes of invisible characters with which a name can pretend to end otherwise."""


def to_uri(location: str) -> str:
    """Return a path as an absolute, percent-encoded `file://` URI; a URI is returned unchanged.

    Symbolic links are not resolved, so that a file keeps the name that the user knows.
    """
    if "://" in location:
        return location
    # `normpath` removes ".." without resolving links, which no method of `Path` does.
    return Path(os.path.normpath(_expand_home(location).absolute())).as_uri()


def is_folder(location: str) -> bool:
    """Return whether a location as the user typed it is a folder that this command may look at."""
    try:
        return "://" not in location and _expand_home(location).is_dir()
    except OSError:  # a folder above it is closed, or the name is too long: the service reports it
        return False


def local_path(location: str) -> Path:
    """Return a path as the user typed it, with the home folder in place of `~`."""
    return _expand_home(location)


def as_text(location: str) -> str:
    """Return a path as text that can be encoded; bytes that are not UTF-8 become replacement characters."""
    return os.fsencode(location).decode(errors="replace")


def printable(location: str) -> str:
    """Return a path as one line of text.

    Bytes that are not UTF-8 become replacement characters; line breaks, other control characters and those
    that change the direction of text become escapes.
    """
    return "".join(
        _escape(character) if _is_control(character) else character for character in as_text(location)
    )


def _is_control(character: str) -> bool:
    is_override = unicodedata.bidirectional(character) in _DIRECTION_CHANGES
    return is_override or unicodedata.category(character) in {"Cc", "Zl", "Zp"}


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _expand_home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # `~name` where no user has that name is an ordinary file name
        return Path(path)
