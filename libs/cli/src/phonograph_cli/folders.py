"""Media files of a folder, found without reading more than the first bytes of any file."""

import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from phonograph_cli.locations import is_folder, local_path, printable

_MEDIA_SUFFIX: Final = re.compile(
    r"\.(aac|ac3|aif|aifc|aiff|amr|ape|asf|au|avi|caf|dff|dsf|dts|eac3|flac|flv|m4a|m4b|m4p|m4r|m4v|mka|mkv"
    r"|mov|mp1|mp2|mp3|mp4|mpc|mpeg|mpg|oga|ogg|ogm|ogv|opus|qt|ra|rm|rmvb|snd|spx|tak|tta|voc|vob|w64|wav"
    r"|wave|webm|wma|wmv|wv|3ga|3gp|3g2)",
    re.IGNORECASE,
)
_HEAD_BYTES: Final = 204
_SIGNATURES: Final = (
    *(b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"MAC ", b"wvpk", b"#!AMR", b"caff", b".snd"),
    b"0&\xb2u\x8ef\xcf\x11",  # ASF
)
_RIFF_FORMS: Final = (b"WAVE", b"AVI ")
_AIFF_FORMS: Final = (b"AIFF", b"AIFC")
_PICTURE_BRANDS: Final = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis", b"crx ")
_TS_SYNC: Final = 0x47
_TS_PACKET_BYTES: Final = 188

_HIDDEN: Final = "hidden"
_OTHER_NAME: Final = "further name of an included file"
_NO_SUFFIX: Final = "without suffix"
_SPECIAL: Final = "not a file"
_UNREADABLE: Final = "unreadable"


@dataclass(slots=True)
class FoundRecordings:
    """The files to ingest, and how many other entries were left out."""

    paths: list[str] = field(default_factory=list)
    """Files and URIs as the user typed them, then those in the folders, by name within each."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of entries by suffix, or by the reason why they are left out."""

    def describe_left_out(self) -> str:
        """Return the number of entries that were left out, with the most frequent kinds first."""
        kinds = ", ".join(f"{count} {printable(kind)}" for kind, count in self.left_out.most_common())
        return f"Left out: {self.left_out.total()} ({kinds})."


def find_recordings(locations: Iterable[str]) -> FoundRecordings:
    """Return files as they are, and the media files in folders and below them; symbolic links are followed.

    A file that several names reach is one recording: it is included once, under its own name if that is one
    of them.

    Args:
        locations: Files, folders and URIs as the user typed them.
    """
    found = FoundRecordings()
    seen: set[tuple[int, int]] = set()
    by_target: dict[str, str] = {}
    typed = list(locations)
    # Files before folders: what the user has named is included under that name.
    for location in sorted(typed, key=is_folder):
        if "://" in location:
            by_target[location] = location
            continue
        path = local_path(location)
        candidates = _walk(path, found.left_out, seen) if is_folder(location) else [path]
        for candidate in candidates:
            target = str(candidate.resolve())
            name = location if candidate is path else str(candidate)
            if target not in by_target:
                by_target[target] = name
                continue
            found.left_out[_OTHER_NAME] += 1
            if _is_own_name(candidate, target) and not _is_own_name(local_path(by_target[target]), target):
                by_target[target] = name
    found.paths = list(by_target.values())
    return found


def _is_own_name(path: Path, target: str) -> bool:
    """Return whether no symbolic link is in a path."""
    return str(path.absolute()) == target


def is_media(path: Path) -> bool:
    """Return whether a file is a recording by its suffix, or else by its first bytes.

    Raises:
        OSError: If the file cannot be read.
    """
    if _MEDIA_SUFFIX.fullmatch(path.suffix):
        return True
    with path.open("rb") as file:
        return has_media_signature(file.read(_HEAD_BYTES))


def has_media_signature(head: bytes) -> bool:
    """Return whether a file that begins with these bytes is probably a recording."""
    kind, form = head[:4], head[8:12]
    if kind in {b"RIFF", b"RF64", b"RIFX"}:
        return form in _RIFF_FORMS
    if kind == b"FORM":
        return form in _AIFF_FORMS
    if head[4:8] == b"ftyp":
        return form not in _PICTURE_BRANDS
    return head.startswith(_SIGNATURES) or _is_transport_stream(head) or _is_mpeg_audio(head)


def _is_transport_stream(head: bytes) -> bool:
    starts = (0, 4)  # a Blu-ray puts a time stamp of 4 bytes before each packet
    return any(
        len(head) > start + _TS_PACKET_BYTES and head[start] == head[start + _TS_PACKET_BYTES] == _TS_SYNC
        for start in starts
    )


def _is_mpeg_audio(head: bytes) -> bool:
    """Return whether bytes are a frame header of layer II or III; the mark of UTF-16 looks like layer I."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, sample_rate = head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and layer in {1, 2} and bit_rate not in {0, 15} and sample_rate != 3


def _walk(folder: Path, left_out: Counter[str], seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Yield the media files of a folder and of those below it, and count what is left out.

    Args:
        folder: Folder to search.
        left_out: Counter to update.
        seen: Device and inode of the folders that were searched: a link may lead back to one of them.
    """
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError:
        left_out[_UNREADABLE] += 1
        return
    identity = status.st_dev, status.st_ino
    if identity in seen:
        return
    seen.add(identity)
    for entry in entries:
        if entry.name.startswith("."):
            left_out[_HIDDEN] += 1
            continue
        try:
            mode = entry.stat().st_mode
            if stat.S_ISDIR(mode):
                yield from _walk(entry, left_out, seen)
            elif not stat.S_ISREG(mode):  # to open a pipe would wait for its writer
                left_out[_SPECIAL] += 1
            elif is_media(entry):
                yield entry
            else:
                left_out[entry.suffix.lower() or _NO_SUFFIX] += 1
        except OSError:
            left_out[_UNREADABLE] += 1
