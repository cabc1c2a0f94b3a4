"""Paths as a user types them: as URIs for services, and as text for people."""

import os
from pathlib import Path


def to_uri(location: str) -> str:
    """Return a path as an absolute, percent-encoded `file://` URI; a URI is returned unchanged.

    Symbolic links are not resolved, so that a file keeps the name that the user knows.
    """
    if "://" in location:
        return location
    # `normpath` removes ".." without resolving links, which no method of `Path` does.
    return Path(os.path.normpath(_expand_home(location).absolute())).as_uri()


def printable(location: str) -> str:
    """Return a path as text that can be encoded; bytes that are not UTF-8 become replacement characters."""
    return os.fsencode(location).decode(errors="replace")


def _expand_home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # `~name` where no user has that name is an ordinary file name
        return Path(path)
