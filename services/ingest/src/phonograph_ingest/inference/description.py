"""Reading of the tags and chapters of a file, with all that its formats offer."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import av
from tinytag import TinyTag, TinyTagException

from phonograph_events import Chapter
from phonograph_ingest.domain.tags import Description
from phonograph_ingest.inference.ape import read_ape_tags
from phonograph_ingest.inference.flac import CueBlockTrack, read_cue_block
from phonograph_media import Probe

_REPLACEMENT: Final = "\ufffd"
_FILE_KEYS: Final = frozenset({"filename", "filesize", "mime_type"})
_CONTAINER_KEYS: Final = {
    "albumartist": "album_artist",
    "year": "date",
    "lyrics": "lyrics-eng",
    "bpm": "tbpm",
}
"""FFmpeg's names of tags where they differ from those of tinytag."""
_MIN_ALIGN_S: Final = 0.01
_MAX_ID3_BYTES: Final = 64 << 20
_CHAPTER_ID = re.compile(rb"CHAP.{6}([\x20-\x7e]{1,64})\0", re.DOTALL)


def read_description(path: Path, probed: Probe) -> Description:
    """Return the tags and chapters of a file as it contains them; bytes that are not UTF-8 are surrogates.

    Tags are those of tinytag, which knows several values of a tag, then those of an APE tag, which tinytag
    does not read, then those of FFmpeg, which keeps bytes that tinytag replaces.

    Args:
        path: The file.
        probed: What FFmpeg reads from its header.

    Raises:
        OSError: If the file cannot be read.
    """
    container, titles = _read_container(path)
    tags = {
        key: [container.get(key, value)]
        for key, value in probed.tags.items()
        if value.replace("\0", " ").strip()
    }
    with path.open("rb") as file:
        has_id3v2 = file.read(3) == b"ID3"
    ape = read_ape_tags(path)
    # An ID3v1 tag is shorter than the APE tag before it, and an ID3v2 tag is what most programs write.
    tags |= {} if has_id3v2 else _read_tinytag(path, container)
    tags |= ape
    tags |= _read_tinytag(path, container) if has_id3v2 else {}
    block = read_cue_block(path)
    chapters, has_block = _read_chapters(path, probed, titles, block)
    data_tracks = ", ".join(str(track.number) for track in block if not track.has_audio)
    warning = f"chapters_left_out: tracks of the cue sheet block that are no audio: {data_tracks}."
    return Description(tags, chapters, (warning,) if has_block and data_tracks else ())


def _read_container(path: Path) -> tuple[dict[str, str], list[str]]:
    """Return FFmpeg's tags by lower-case name, and its chapter titles, with bytes as surrogates."""
    try:
        with av.open(
            str(path), metadata_errors="surrogateescape", options={"protocol_whitelist": "file"}
        ) as container:
            of_stream = next((stream.metadata for stream in container.streams.audio), {})
            tags = {key.lower(): value for key, value in (of_stream | container.metadata).items()}
            return tags, [mark["metadata"].get("title", "") for mark in container.chapters()]
    except (av.FFmpegError, UnicodeError):
        return {}, []


def _read_tinytag(path: Path, container: dict[str, str]) -> dict[str, list[str]]:
    try:
        read = TinyTag.get(str(path), tags=True, duration=False).as_dict()
    except (OSError, TinyTagException):
        return {}
    tags = {}
    for key, value in read.items():
        values = [str(item) for item in (value if isinstance(value, list) else [value])]
        values = [item for item in values if item.replace("\0", " ").strip()]
        if key not in _FILE_KEYS and value is not None and values:
            tags[key.lower()] = _undo_replacement(key.lower(), values, container)
    return tags


def _undo_replacement(key: str, values: list[str], container: dict[str, str]) -> list[str]:
    """Return the values with the bytes that tinytag replaced because they are not UTF-8."""
    if not any(_REPLACEMENT in value for value in values):
        return values
    raw = container.get(key) or container.get(_CONTAINER_KEYS.get(key, key))
    if raw is None:
        return values
    # FFmpeg joins several values of a Vorbis comment.
    several = raw.split(";")
    return several if len(several) == len(values) else [raw]


def _read_chapters(
    path: Path, probed: Probe, titles: Sequence[str], block: Sequence[CueBlockTrack]
) -> tuple[tuple[Chapter, ...], bool]:
    """Return the chapters without titles that FFmpeg made up, and whether they are tracks of the block.

    Args:
        path: The file.
        probed: What FFmpeg reads from its header.
        titles: Titles of the chapters with bytes as surrogates.
        block: Tracks of the cue sheet block of a FLAC file.
    """
    if len(titles) != len(probed.chapters):
        titles = [chapter.title for chapter in probed.chapters]
    made_up = _chapter_ids(path)
    chapters = [
        Chapter(start=chapter.start_s, end=chapter.end_s, title="" if title in made_up else title)
        for chapter, title in zip(probed.chapters, titles, strict=True)
    ]
    chapters = [chapter for chapter in chapters if not _is_of_block(chapter, block)]
    if block and not chapters:
        return tuple(_chapters_of_block(block, probed.duration_s or 0.0)), True
    return tuple(chapters), False


def _chapter_ids(path: Path) -> frozenset[str]:
    """Return the ids of the chapters of an ID3v2 tag, which FFmpeg takes for their missing titles."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return frozenset()
        size = sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        tag = file.read(min(size, _MAX_ID3_BYTES))
    return frozenset(match.decode("ascii") for match in _CHAPTER_ID.findall(tag))


def _is_of_block(chapter: Chapter, block: Sequence[CueBlockTrack]) -> bool:
    """Return whether a chapter is FFmpeg's form of a track of the block, whose title is an ISRC."""
    return any(
        abs(chapter.start - track.offset_s) < _MIN_ALIGN_S and chapter.title in {"", track.isrc}
        for track in block
    )


def _chapters_of_block(block: Sequence[CueBlockTrack], duration_s: float) -> list[Chapter]:
    ends = [*(track.offset_s for track in block[1:]), max(duration_s, block[-1].start_s)]
    return [
        Chapter(start=track.start_s, end=max(end, track.start_s), title="")
        for track, end in zip(block, ends, strict=True)
        if track.has_audio
    ]
