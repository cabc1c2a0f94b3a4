"""A recording's tracklist, from a cue sheet or from chapters."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from typing import Final
from uuid import UUID

from phonograph_events import Chapter
from phonograph_events.documents import Track, TracklistDocument
from phonograph_tracklist.domain.cue import CueSheet, CueTrack, parse_cue, parse_cue_text
from phonograph_tracklist.domain.printable import comparable, printable
from phonograph_tracklist.exceptions import BadCueError

MIN_CHAPTERS: Final = 2
"""One chapter is the file itself, not a list of tracks."""

_SEPARATOR = re.compile(r"\s+[-–—]\s+")
_NUMBERED = re.compile(r"^(?:\[?(?:\d{1,3}:)?\d{1,3}:\d{2}\]?\s+)?(?:\d{1,3}\s*(?:[.)]|\s[-–—])\s+)?")
_REMIX = re.compile(
    r"[(\[]([^()\[\]]*\b(?:remix|mix|edit|rework|bootleg|dub|vip|version|mashup|refix|flip)\b[^()\[\]]*)[)\]]",
    re.IGNORECASE,
)


class SourceType(StrEnum):
    """Where a tracklist comes from; the first one that there is wins."""

    CUE_FILE = "cue_file"
    EMBEDDED_CUE = "embedded_cue"
    CHAPTERS = "chapters"


@dataclass(frozen=True, slots=True)
class TrackEntry:
    """One track of a recording (C-47); times in seconds from the start of the file."""

    position: int
    start_time: float
    end_time: float | None
    """Start of the next track, of the last one the end of the file; null for a track after that end."""
    artist: str | None = None
    title: str | None = None
    remix: str | None = None
    label: str | None = None
    is_id: bool = False
    """Nobody knows what it is; such tracks are called "ID"."""
    confidence: float | None = None
    transition_type: str | None = None
    bpm: float | None = None
    key: str | None = None
    recording_id: UUID | None = None

    def as_document(self) -> Track:
        """The entry as events and documents hold it."""
        return Track.model_validate(
            asdict(self) | {"recording_id": self.recording_id and str(self.recording_id)}
        )


@dataclass(frozen=True, slots=True)
class Tracklist:
    """The tracks in order. `warnings` are sentences for the user."""

    source_type: SourceType
    title: str | None
    artist: str | None
    tracks: tuple[TrackEntry, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A cue file of the media file's folder. `beside`: its own name says which file it belongs to."""

    name: str
    data: bytes
    beside: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What looking for a tracklist led to.

    `reason` is null when there is one, else `bad_cue` (there is a sheet, unreadable) or `no_tracklist`.
    """

    tracklist: Tracklist | None
    reason: str | None
    warnings: tuple[str, ...]
    """About sources that were passed over."""

    def as_document(self) -> TracklistDocument:
        """The full result, with all warnings."""
        if self.tracklist is None:
            return TracklistDocument(source_type=None, warnings=list(self.warnings))
        return TracklistDocument(
            source_type=self.tracklist.source_type,
            title=self.tracklist.title,
            artist=self.tracklist.artist,
            tracks=[entry.as_document() for entry in self.tracklist.tracks],
            warnings=[*self.warnings, *self.tracklist.warnings],
        )


def order_sidecars(file_name: str, cue_names: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Sort the cue files of a folder: `<stem>.cue`, `<name>.<ext>.cue`, then the others.

    Yields:
        The name and whether it matches; upper and lower case and the form of accents do not matter,
        but among several the one spelt exactly comes first.
    """
    stem, _, _ = file_name.rpartition(".")
    wanted = [stem or file_name, file_name]

    def rank(cue_name: str) -> tuple[int, bool, str]:
        cue_stem = cue_name.rpartition(".")[0]
        for place, name in enumerate(wanted):
            if _same_name(cue_stem, name):
                return place, cue_stem != name, cue_name
        return len(wanted), True, cue_name

    for cue_name in sorted(cue_names, key=rank):
        yield cue_name, rank(cue_name)[0] < len(wanted)


def find_tracklist(
    *,
    file_name: str,
    duration_s: float,
    sidecars: Iterable[Sidecar],
    tags: Mapping[str, Sequence[str]],
    chapters: Sequence[Chapter],
) -> Finding:
    """Take the first usable source: cue file, embedded cue sheet, chapters.

    A sheet that cannot be read is passed over with a warning.

    Args:
        file_name: of the media file, without folders.
        duration_s: of the media file.
        sidecars: in the order of `order_sidecars`; one not beside counts only when its FILE names the media.
        tags: by lower-case name.
        chapters: of the container.
    """
    passed_over: list[str] = []
    reason = "no_tracklist"
    for candidate in _candidates(sidecars, tags):
        try:
            sheet = candidate.read()
        except BadCueError as error:
            if candidate.own:
                reason = "bad_cue"
                passed_over.append(f"{candidate.label}: {error.message}")
            continue
        if not candidate.own and not any(file.names(file_name) for file in sheet.files):
            continue
        tracklist = from_cue(sheet, candidate.source_type, file_name=file_name, duration_s=duration_s)
        if tracklist is not None:
            return Finding(tracklist, None, tuple(passed_over))
        passed_over.append(f"{candidate.label}: no track lies in {printable(file_name)!r}.")
    if len(chapters) >= MIN_CHAPTERS:
        return Finding(from_chapters(chapters, duration_s=duration_s), None, tuple(passed_over))
    return Finding(None, reason, tuple(passed_over))


def from_cue(
    sheet: CueSheet, source_type: SourceType, *, file_name: str, duration_s: float
) -> Tracklist | None:
    """The tracks of a sheet that lie in one media file; null when there is none.

    A sheet that names one file is taken to mean the media file, whatever it calls it.
    """
    playable = [(track.start, track) for track in sheet.tracks if track.has_sound]
    placed = [(index, track) for index, track in playable if index is not None]
    if len({comparable(sheet.files[index.file].name) for index, _ in placed}) > 1:
        placed = [(index, track) for index, track in placed if sheet.files[index.file].names(file_name)]
    if not placed:
        return None
    warnings = list(sheet.warnings)
    in_order = sorted(placed, key=lambda pair: pair[0].frames)
    if in_order != placed:
        warnings.append("The tracks are not in order of time; they are sorted by their start.")
    tracks = [track for _, track in in_order]
    return Tracklist(
        source_type=source_type,
        title=sheet.title,
        artist=sheet.performer,
        tracks=_entries(
            [index.start_s for index, _ in in_order],
            _cue_names(tracks, sheet.performer),
            duration_s,
            warnings,
        ),
        warnings=tuple(warnings),
    )


def from_chapters(chapters: Sequence[Chapter], *, duration_s: float) -> Tracklist:
    """Chapters as tracks; "Artist - Title" is split when at least half of them are written so."""
    ordered = sorted(chapters, key=lambda chapter: chapter.start)
    titles = [_NUMBERED.sub("", printable(chapter.title)) for chapter in ordered]
    named = _titles_name_artists(titles)
    names = [_split(title) if named else (None, title or None) for title in titles]
    warnings: list[str] = []
    starts = [max(0.0, chapter.start) for chapter in ordered]
    entries = _entries(starts, names, duration_s, warnings)
    return Tracklist(SourceType.CHAPTERS, None, None, entries, tuple(warnings))


@dataclass(frozen=True, slots=True)
class _Candidate:
    label: str
    source_type: SourceType
    read: Callable[[], CueSheet]
    own: bool
    """Whether it is meant for this file for certain."""


def _candidates(sidecars: Iterable[Sidecar], tags: Mapping[str, Sequence[str]]) -> Iterator[_Candidate]:
    for sidecar in sidecars:
        read = partial(parse_cue, sidecar.data)
        yield _Candidate(printable(sidecar.name), SourceType.CUE_FILE, read, sidecar.beside)
    for name, values in tags.items():
        if is_cue_tag(name):
            for value in values:
                read = partial(parse_cue_text, value)
                yield _Candidate(f"The tag {printable(name)!r}", SourceType.EMBEDDED_CUE, read, own=True)


def is_cue_tag(name: str) -> bool:
    """Whether a tag holds a cue sheet: its name, or the last part of one like `----:…:CUESHEET`, says so."""
    return re.split(r"[:/]", name.casefold())[-1].strip() == "cuesheet"


def _cue_names(
    tracks: Sequence[CueTrack], sheet_performer: str | None
) -> list[tuple[str | None, str | None]]:
    """Artist and title of each track.

    Without a PERFORMER of its own a track has its artist in the title, if at least half of such tracks do;
    else the performer of the sheet is meant.
    """
    named = _titles_name_artists([track.title or "" for track in tracks if track.performer is None])
    names = []
    for track in tracks:
        artist, title = track.performer, track.title
        if artist is None and title is not None and named:
            artist, title = _split(_NUMBERED.sub("", title))
        names.append((artist or sheet_performer, title))
    return names


def _titles_name_artists(titles: Sequence[str]) -> bool:
    with_artist = sum(_split(_NUMBERED.sub("", title))[0] is not None for title in titles)
    return 0 < len(titles) <= 2 * with_artist


def _split(text: str) -> tuple[str | None, str | None]:
    """Artist and title of "Artist - Title"; a title may have more dashes."""
    parts = _SEPARATOR.split(text, maxsplit=1)
    if len(parts) == 2 and all(parts):
        return parts[0], parts[1]
    return None, text or None


def _entries(
    starts: Sequence[float],
    names: Sequence[tuple[str | None, str | None]],
    duration_s: float,
    warnings: list[str],
) -> tuple[TrackEntry, ...]:
    entries = []
    for position, (start, end, (artist, title)) in enumerate(
        zip(starts, [*starts[1:], duration_s], names, strict=True), start=1
    ):
        after_end = start >= duration_s
        if after_end:
            warnings.append(
                f"Track {position} starts at {start:.2f} s, but the file ends at {duration_s:.2f} s."
            )
        elif start == end:
            warnings.append(f"Track {position} has no length: the next one starts at the same time.")
        remix = _REMIX.findall(title or "")
        entries.append(
            TrackEntry(
                position=position,
                start_time=start,
                end_time=None if after_end else min(end, duration_s),
                artist=artist,
                title=title,
                remix=remix[-1].strip() if remix else None,
                is_id="id" in {comparable(artist or ""), comparable(_REMIX.sub("", title or ""))},
            )
        )
    return tuple(entries)


def _same_name(one: str, other: str) -> bool:
    return unicodedata.normalize("NFC", one).casefold() == unicodedata.normalize("NFC", other).casefold()
