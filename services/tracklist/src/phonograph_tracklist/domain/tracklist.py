"""The tracklist of a recording, from a cue sheet or from chapters."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Final
from uuid import UUID

from phonograph_events import Chapter
from phonograph_events.documents import Track, TracklistDocument
from phonograph_tracklist.domain.cue import CueSheet, CueTrack, parse_cue_text
from phonograph_tracklist.domain.cue_text import decode_cue
from phonograph_tracklist.domain.printable import comparable, printable
from phonograph_tracklist.domain.tags import is_cue_tag
from phonograph_tracklist.exceptions import BadCueError

MIN_CHAPTERS: Final = 2
"""A single chapter is the whole file and not a list of tracks."""

_SEPARATOR = re.compile(r"\s+[-–—]\s+")
_TRACK_NUMBER = re.compile(r"^(?:\[?(?:\d{1,3}:)?\d{1,3}:\d{2}\]?\s+)?(?:\d{1,3}\s*(?:[.)]|\s[-–—])\s+)?")
_ISRC = re.compile(r"(?:ISRC[ :]*)?[A-Z0-9]{2}-?[A-Z0-9]{3}-?[0-9]{2}-?[0-9]{5}")
_REMIX = re.compile(
    r"[(\[]([^()\[\]]*\b(?:remix|mix|edit|rework|bootleg|dub|vip|version|mashup|refix|flip)\b[^()\[\]]*)[)\]]",
    re.IGNORECASE,
)


class SourceType(StrEnum):
    """Source of a tracklist; the first one that is usable wins, in this order."""

    CUE_FILE = "cue_file"
    EMBEDDED_CUE = "embedded_cue"
    CHAPTERS = "chapters"


@dataclass(frozen=True, slots=True)
class TrackEntry:
    """One track of a recording (C-47); times are in seconds from the start of the file."""

    position: int
    start_time: float
    end_time: float | None
    """Start of the next track or end of the file; None for a track that starts after the end of the file."""
    artist: str | None = None
    title: str | None = None
    remix: str | None = None
    label: str | None = None
    is_id: bool = False
    """Whether the track is not identified; sheets call such a track "ID"."""
    confidence: float | None = None
    transition_type: str | None = None
    bpm: float | None = None
    key: str | None = None
    recording_id: UUID | None = None

    def to_document(self) -> Track:
        """Return the entry as events and documents contain it."""
        return Track.model_validate(
            asdict(self) | {"recording_id": self.recording_id and str(self.recording_id)}
        )


@dataclass(frozen=True, slots=True)
class Tracklist:
    """A tracklist of a recording."""

    source_type: SourceType
    title: str | None
    artist: str | None
    tracks: tuple[TrackEntry, ...]
    """In order of their start."""
    warnings: tuple[str, ...]
    """Sentences for the user."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A cue file in the folder of a media file."""

    name: str
    data: bytes
    matches_media: bool
    """Whether its name is that of the media file; if not, its FILE lines must name it."""


@dataclass(frozen=True, slots=True)
class TracklistSearch:
    """The outcome of the search for a tracklist."""

    tracklist: Tracklist | None
    reason: str | None
    """None if there is a tracklist, else `bad_cue` (a sheet cannot be parsed) or `no_tracklist`."""
    warnings: tuple[str, ...]
    """Sentences for the user about sources that were skipped."""

    def to_document(self) -> TracklistDocument:
        """Return the full result with all warnings."""
        if self.tracklist is None:
            return TracklistDocument(source_type=None, warnings=list(self.warnings))
        return TracklistDocument(
            source_type=self.tracklist.source_type,
            title=self.tracklist.title,
            artist=self.tracklist.artist,
            tracks=[entry.to_document() for entry in self.tracklist.tracks],
            warnings=[*self.warnings, *self.tracklist.warnings],
        )


def order_sidecars(file_name: str, cue_names: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Sort the cue files of a folder: `<stem>.cue`, `<stem>.<ext>.cue`, then the others.

    Yields:
        The name, and whether it matches the media file. Case and the form of accents are ignored,
        but of several matches the one with exactly the same spelling comes first.
    """
    stem, _, _ = file_name.rpartition(".")
    wanted = [stem or file_name, file_name]

    def rank(cue_name: str) -> tuple[int, bool, str]:
        cue_stem = cue_name.rpartition(".")[0]
        for position, name in enumerate(wanted):
            if _is_same_name(cue_stem, name):
                return position, cue_stem != name, cue_name
        return len(wanted), True, cue_name

    for cue_name in sorted(cue_names, key=rank):
        yield cue_name, rank(cue_name)[0] < len(wanted)


def search_for_tracklist(
    *,
    file_name: str,
    duration_s: float,
    sidecars: Iterable[Sidecar],
    tags: Mapping[str, Sequence[str]],
    chapters: Sequence[Chapter],
) -> TracklistSearch:
    """Return the tracklist of the first usable source: cue file, embedded cue sheet, chapters.

    A sheet that cannot be parsed is skipped, with a warning if it is certain to be meant for this file.

    Args:
        file_name: Name of the media file, without folders.
        duration_s: Duration of the media file.
        sidecars: Cue files in the order of `order_sidecars`; they are consumed up to the first usable one.
        tags: Tags by lower-case name, each with its values.
        chapters: Chapters of the container.
    """
    skipped: list[str] = []
    reason = "no_tracklist"
    for candidate in _list_candidates(sidecars, tags, duration_s):
        try:
            sheet = candidate.parse()
        except BadCueError as error:
            # A sheet that cannot be parsed names no file, so only its own name can relate it to this one.
            if candidate.matches_media:
                reason = "bad_cue"
                skipped.append(f"{candidate.label}: {error.message}")
            continue
        if not candidate.matches_media and not any(file.matches(file_name) for file in sheet.files):
            continue
        tracklist = from_cue(sheet, candidate.source_type, file_name=file_name, duration_s=duration_s)
        if tracklist is not None:
            return TracklistSearch(tracklist, None, tuple(skipped))
        skipped.append(f"{candidate.label}: no track is in {printable(file_name)!r}.")
    if len(chapters) >= MIN_CHAPTERS:
        return TracklistSearch(from_chapters(chapters, duration_s=duration_s), None, tuple(skipped))
    return TracklistSearch(None, reason, tuple(skipped))


def from_cue(
    sheet: CueSheet, source_type: SourceType, *, file_name: str, duration_s: float
) -> Tracklist | None:
    """Return the tracks of a sheet that are in one media file, or None if there are none.

    A sheet that names a single file is assumed to describe the media file, even under another name.

    Args:
        sheet: The sheet; it may describe several files.
        source_type: Where the sheet was found.
        file_name: Name of the media file, without folders.
        duration_s: Duration of the media file.
    """
    playable = [(track.start, track) for track in sheet.tracks if track.has_audio]
    placed = [(index, track) for index, track in playable if index is not None]
    # By name, not by line: some sheets repeat the same FILE line before each track.
    if len({comparable(sheet.files[index.file].name) for index, _ in placed}) > 1:
        placed = [(index, track) for index, track in placed if sheet.files[index.file].matches(file_name)]
    if not placed:
        return None
    warnings = list(sheet.warnings)
    data_tracks = [str(track.number) for track in sheet.tracks if not track.has_audio]
    if data_tracks:
        warnings.append(f"Data tracks are left out: {', '.join(data_tracks)}.")
    in_order = sorted(placed, key=lambda pair: pair[0].frames)
    if in_order != placed:
        warnings.append("The tracks are not in order of time; they are sorted by their start.")
    tracks = [track for _, track in in_order]
    return Tracklist(
        source_type=source_type,
        title=sheet.title,
        artist=sheet.performer,
        tracks=_build_entries(
            [index.start_s for index, _ in in_order],
            _artists_and_titles(tracks, sheet.performer),
            duration_s,
            warnings,
        ),
        warnings=tuple(warnings),
    )


def from_chapters(chapters: Sequence[Chapter], *, duration_s: float) -> Tracklist:
    """Return chapters as tracks; "Artist - Title" is split if at least half of the titles have this form."""
    ordered = sorted(chapters, key=lambda chapter: chapter.start)
    titles = [_clean_chapter_title(chapter.title) for chapter in ordered]
    have_artists = _titles_contain_artists(titles)
    names = [_split_artist(title) if have_artists else (None, title or None) for title in titles]
    warnings: list[str] = []
    starts = [max(0.0, chapter.start) for chapter in ordered]
    entries = _build_entries(starts, names, duration_s, warnings)
    return Tracklist(SourceType.CHAPTERS, None, None, entries, tuple(warnings))


def _clean_chapter_title(title: str) -> str:
    """Return a title without track number; the code of a recording (ISRC) is no title."""
    cleaned = printable(title)
    return "" if "\ufffd" in cleaned or _ISRC.fullmatch(cleaned) else _TRACK_NUMBER.sub("", cleaned)


@dataclass(frozen=True, slots=True)
class _Candidate:
    label: str
    """Name of the source in warnings."""
    source_type: SourceType
    parse: Callable[[], CueSheet]
    matches_media: bool
    """Whether the sheet is certain to be meant for this file."""


def _list_candidates(
    sidecars: Iterable[Sidecar], tags: Mapping[str, Sequence[str]], duration_s: float
) -> Iterator[_Candidate]:
    for sidecar in sidecars:
        parse = partial(_parse_sidecar, sidecar.data, duration_s)
        yield _Candidate(printable(sidecar.name), SourceType.CUE_FILE, parse, sidecar.matches_media)
    for name, values in tags.items():
        if is_cue_tag(name):
            for value in values:
                parse = partial(parse_cue_text, value, duration_s=duration_s)
                label = f"The tag {printable(name)!r}"
                yield _Candidate(label, SourceType.EMBEDDED_CUE, parse, matches_media=True)


def _parse_sidecar(data: bytes, duration_s: float) -> CueSheet:
    """Return the sheet, with a warning if its encoding is a guess. Raises as `parse_cue`."""
    decoded = decode_cue(data)
    sheet = parse_cue_text(decoded.text, duration_s=duration_s)
    if decoded.guessed is None:
        return sheet
    note = f"The cue sheet does not state its encoding; it is read as {decoded.guessed}."
    return replace(sheet, warnings=(note, *sheet.warnings))


def _artists_and_titles(
    tracks: Sequence[CueTrack], sheet_performer: str | None
) -> list[tuple[str | None, str | None]]:
    """Return the artist and the title of each track.

    The artist of a track without PERFORMER is taken from its title, if at least half of such tracks have one
    there, else from the performer of the sheet.
    """
    have_artists = _titles_contain_artists([track.title or "" for track in tracks if track.performer is None])
    names = []
    for track in tracks:
        artist, title = track.performer, track.title
        if artist is None and title is not None and have_artists:
            artist, title = _split_artist(_TRACK_NUMBER.sub("", title))
        names.append((artist or sheet_performer, title))
    return names


def _titles_contain_artists(titles: Sequence[str]) -> bool:
    with_artist = sum(_split_artist(_TRACK_NUMBER.sub("", title))[0] is not None for title in titles)
    return 0 < len(titles) <= 2 * with_artist


def _split_artist(text: str) -> tuple[str | None, str | None]:
    """Return artist and title of "Artist - Title"; a title may contain more dashes."""
    parts = _SEPARATOR.split(text, maxsplit=1)
    if len(parts) == 2 and all(parts):
        return parts[0], parts[1]
    return None, text or None


def _build_entries(
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


def _is_same_name(one: str, other: str) -> bool:
    return unicodedata.normalize("NFC", one).casefold() == unicodedata.normalize("NFC", other).casefold()
