"""Paths as a user types them: as URIs for services, and as text for people."""

import os
import unicodedata
from pathlib import Path


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

    Bytes that are not UTF-8 become replacement characters, and line breaks and other control characters
    become escapes.
    """
    return "".join(
        _escape(character) if _is_control(character) else character for character in as_text(location)
    )


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Zl", "Zp"}


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _expand_home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # `~name` where no user has that name is an ordinary file name
        return Path(path)
