"""Tags and chapters as events hold them: readable, in the right encoding, and of bounded size."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from phonograph_events import Chapter
from phonograph_ingest.constants import (
    MAX_CHAPTER_TITLE_CHARS,
    MAX_CHAPTERS_BYTES,
    MAX_CUE_TAG_BYTES,
    MAX_TAG_BYTES,
    MAX_TAGS_BYTES,
)
from phonograph_ingest.domain.text_repair import repair_texts

_CHAPTER_FRAME_BYTES: Final = 60
"""JSON of a chapter without its title."""
_MAX_NAME_CHARS: Final = 100
_NAMES_IN_WARNING: Final = 5
_FIRST_KEYS: Final = ("title", "artist", "albumartist", "album", "cuesheet")
"""Kept before all others if the tags together are too large."""

_PICTURE_KEYS: Final = frozenset(
    {"metadata_block_picture", "coverart", "coverartmime", "covr", "apic", "pic", "wm/picture"}
)
_PICTURE_KEY = re.compile(r"cover ?art\b.*", re.IGNORECASE)
_PICTURE_VALUE = re.compile(r"\s*(?:data:image/|/9j/[A-Za-z0-9+/]{200}|iVBORw0KGgo[A-Za-z0-9+/]{200})")


@dataclass(frozen=True, slots=True)
class Description:
    """Tags and chapters of a file."""

    tags: dict[str, list[str]]
    """Names in lower case."""
    chapters: tuple[Chapter, ...]
    warnings: tuple[str, ...] = ()
    """Sentences for the user: what was repaired and what was left out."""


def tidy(description: Description, *, file_name: str) -> Description:
    """Return tags and chapters in the right encoding, without pictures, and no larger than an event may be.

    Texts may contain lone surrogates for bytes that are not UTF-8. The returned ones contain none, and
    neither NUL characters, which PostgreSQL refuses, nor replacement characters.

    Args:
        description: Tags and chapters as the file contains them.
        file_name: Name of the file, whose script is a hint to the encoding.
    """
    warnings = list(description.warnings)
    tags, chapters = _without_pictures(description.tags, warnings), description.chapters
    sample = [*_texts(tags), *(chapter.title for chapter in chapters)]
    repaired = repair_texts(sample, context=[file_name])
    warnings += repaired.warnings
    unreadable = []
    readable: dict[str, list[str]] = {}
    for key, values in tags.items():
        kept = [text for text in map(repaired.text, values) if text is not None]
        if len(kept) < len(values):
            unreadable.append(key)
        name = _clean(key).replace("\ufffd", "")[:_MAX_NAME_CHARS]
        texts = [text for text in map(_clean, kept) if text]
        if name and texts:
            readable[name] = texts
    titles = [repaired.text(chapter.title) for chapter in chapters]
    if None in titles:
        unreadable.append("chapter titles")
    if unreadable:
        warnings.append(
            f"tags_unreadable: {_names(unreadable)} cannot be read in any encoding with certainty and"
            " are left out; write the tags again as UTF-8."
        )
    titled = [
        chapter.model_copy(update={"title": _clean(title or "")[:MAX_CHAPTER_TITLE_CHARS]})
        for chapter, title in zip(chapters, titles, strict=True)
    ]
    return Description(
        _within_limits(readable, warnings), tuple(_take_chapters(titled, warnings)), tuple(warnings)
    )


def _texts(tags: Mapping[str, Sequence[str]]) -> Iterable[str]:
    return (value for values in tags.values() for value in values)


def _clean(text: str) -> str:
    """Return text that JSON and PostgreSQL accept."""
    return "".join(" " if char == "\0" else char for char in text if not "\ud800" <= char <= "\udfff").strip()


def _without_pictures(tags: Mapping[str, list[str]], warnings: list[str]) -> dict[str, list[str]]:
    kept, pictures = {}, []
    for key, values in tags.items():
        is_picture = key in _PICTURE_KEYS or _PICTURE_KEY.fullmatch(key) is not None
        texts = [] if is_picture else [value for value in values if _PICTURE_VALUE.match(value) is None]
        if len(texts) < len(values) and key != "coverartmime":
            pictures.append(key)
        if texts:
            kept[key] = texts
    if pictures:
        warnings.append(f"tags_left_out: {_names(pictures)} hold a picture, which is no text.")
    return kept


def _within_limits(tags: dict[str, list[str]], warnings: list[str]) -> dict[str, list[str]]:
    """Return the tags without those that are too large alone or, the largest first, together."""
    size_of = {
        key: len(json.dumps({key: values}, ensure_ascii=False).encode()) for key, values in tags.items()
    }
    kept, total = set(), 0
    for key in sorted(tags, key=lambda key: (key not in _FIRST_KEYS, size_of[key])):
        limit = MAX_CUE_TAG_BYTES if key.endswith("cuesheet") else MAX_TAG_BYTES
        if size_of[key] > limit:
            warnings.append(
                f"tags_left_out: the tag {key!r} has {size_of[key]} bytes; at most {limit} are kept."
            )
        elif total + size_of[key] > MAX_TAGS_BYTES:
            warnings.append(
                f"tags_left_out: the tag {key!r} is left out; all tags of a file together have at most"
                f" {MAX_TAGS_BYTES} bytes."
            )
        else:
            kept.add(key)
            total += size_of[key]
    return {key: values for key, values in tags.items() if key in kept}


def _take_chapters(chapters: Sequence[Chapter], warnings: list[str]) -> Iterable[Chapter]:
    taken, total = 0, 0
    for chapter in chapters:
        total += len(json.dumps(chapter.title, ensure_ascii=False).encode()) + _CHAPTER_FRAME_BYTES
        if total > MAX_CHAPTERS_BYTES:
            warnings.append(f"chapters_left_out: the first {taken} of {len(chapters)} chapters are kept.")
            break
        taken += 1
    return chapters[:taken]


def _names(keys: Sequence[str]) -> str:
    shown = ", ".join(repr(_clean(key)[:_MAX_NAME_CHARS]) for key in keys[:_NAMES_IN_WARNING])
    more = len(keys) - _NAMES_IN_WARNING
    return f"the tags {shown}" + (f" and {more} more" if more > 0 else "")
