"""Tags of a media file: their values, and which of them hold a cue sheet."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from phonograph_tracklist.constants import MAX_VALUE_CHARS
from phonograph_tracklist.domain.printable import printable

_NAME_TAGS: Final = frozenset({"albumartist", "artist", "composer", "genre"})
"""Tags in which taggers separate several values by semicolons; no name contains one."""


def is_cue_tag(name: str) -> bool:
    """Return whether a tag holds a cue sheet: its name is `cuesheet`, or ends so, as in `----:…:CUESHEET`."""
    return re.split(r"[:/]", name.casefold())[-1].strip() == "cuesheet"


def describe_cuts(tags: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a warning for each tag with a value that `tag_values` cuts."""
    return [
        f"The tag {printable(key)!r} is cut to {MAX_VALUE_CHARS} characters."
        for key, values in tags.items()
        if not is_cue_tag(key) and any(len(value) > MAX_VALUE_CHARS for value in values)
    ]


def tag_values(key: str, values: Sequence[str]) -> list[str]:
    """Return the values of a tag, printable, without empty ones and those with replacement characters.

    A value that holds several, separated by NUL or, in a tag of names, by semicolons, is split.
    """
    separator = r"[;\0]" if key in _NAME_TAGS else r"\0"
    pieces = (piece for value in values for piece in re.split(separator, value))
    cleaned = (printable(piece)[:MAX_VALUE_CHARS] for piece in pieces)
    return [value for value in cleaned if value and "\ufffd" not in value]
