"""Cue sheets: a tolerant parser whose errors name the line.

Source of the format: CDRWIN user's guide 3.0, appendix A. Real sheets go beyond it, and the parser accepts
that: any number of minutes, more than 99 tracks, a FILE between INDEX 00 and INDEX 01 (the "noncompliant"
sheets of EAC).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from phonograph_tracklist.constants import MAX_TITLE_CHARS, MAX_TRACKS, MAX_WARNINGS
from phonograph_tracklist.domain.cue_text import decode_cue
from phonograph_tracklist.domain.printable import comparable, printable
from phonograph_tracklist.exceptions import BadCueError

FRAMES_PER_SECOND: Final = 75

_LINE_END = re.compile(r"\r\n|\r|\n")
_TIME = re.compile(r"([0-9]{1,6}):([0-9]{1,2}):([0-9]{1,2})")
_FILE_TYPES = frozenset({"AIFF", "BINARY", "FLAC", "MOTOROLA", "MP3", "WAVE"})
_AUDIO_TYPES = frozenset({"AUDIO", "CDG"})


@dataclass(frozen=True, slots=True)
class CueFile:
    """A FILE line: the name as written, with any folders, and the type in capitals."""

    name: str
    type: str

    def matches(self, file_name: str) -> bool:
        """Return whether it names a file; the extension may differ, because audio is often transcoded."""
        own_name = re.split(r"[/\\]", self.name)[-1]
        return comparable(_stem(own_name)) == comparable(_stem(file_name)) != ""


@dataclass(frozen=True, slots=True)
class CueIndex:
    """An INDEX line: number 0 is the pre-gap, 1 the start of the track."""

    number: int
    frames: int
    """Position from the start of the file; one second has 75 frames."""
    file: int
    """Index into `CueSheet.files`."""

    @property
    def start_s(self) -> float:
        """Return the position in seconds from the start of the file."""
        return self.frames / FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class CueTrack:
    """A TRACK line with the lines that belong to it."""

    number: int
    line: int
    """Line of the TRACK keyword, from 1."""
    type: str
    title: str | None
    performer: str | None
    songwriter: str | None
    isrc: str | None
    flags: tuple[str, ...]
    pregap_frames: int
    postgap_frames: int
    remarks: tuple[tuple[str, str], ...]
    """REM lines: the keyword in capitals and the rest; keywords may repeat."""
    indexes: tuple[CueIndex, ...]

    @property
    def start(self) -> CueIndex | None:
        """Return INDEX 01 or, if there is none, the first index."""
        return next((index for index in self.indexes if index.number == 1), next(iter(self.indexes), None))

    @property
    def has_audio(self) -> bool:
        """Return False for the data track of an enhanced disc."""
        return self.type in _AUDIO_TYPES


@dataclass(frozen=True, slots=True)
class CueSheet:
    """A cue sheet."""

    title: str | None
    performer: str | None
    songwriter: str | None
    catalog_number: str | None
    cdtext_file: str | None
    remarks: tuple[tuple[str, str], ...]
    files: tuple[CueFile, ...]
    tracks: tuple[CueTrack, ...]
    warnings: tuple[str, ...]
    """Sentences for the user, which name the line."""


def parse_cue(data: bytes) -> CueSheet:
    """Parse a sheet from bytes in any usual encoding.

    Raises:
        BadCueError: If the bytes are not text, contain no track, or have an invalid TRACK, INDEX or gap.
    """
    return parse_cue_text(decode_cue(data))


def parse_cue_text(text: str) -> CueSheet:
    """Parse a sheet from text, as tags contain it. Raises as `parse_cue`."""
    parser = _Parser()
    cleaned = text.replace("\0", "").replace("\ufeff", "")
    for number, line in enumerate(_LINE_END.split(cleaned), start=1):
        parser.read_line(number, line)
    return parser.finish()


@dataclass(slots=True)
class _OpenTrack:
    number: int
    line: int
    type: str
    texts: dict[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    gaps: dict[str, int] = field(default_factory=dict)
    remarks: list[tuple[str, str]] = field(default_factory=list)
    indexes: list[CueIndex] = field(default_factory=list)

    def to_track(self) -> CueTrack:
        return CueTrack(
            number=self.number,
            line=self.line,
            type=self.type,
            title=self.texts.get("TITLE"),
            performer=self.texts.get("PERFORMER"),
            songwriter=self.texts.get("SONGWRITER"),
            isrc=self.texts.get("ISRC"),
            flags=self.flags,
            pregap_frames=self.gaps.get("PREGAP", 0),
            postgap_frames=self.gaps.get("POSTGAP", 0),
            remarks=tuple(self.remarks),
            indexes=tuple(self.indexes),
        )


class _Parser:
    """Reads line after line; the last file and the last track are the open ones."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._remarks: list[tuple[str, str]] = []
        self._files: list[CueFile] = []
        self._tracks: list[_OpenTrack] = []
        self._warnings: list[str] = []
        self._warning_count = 0
        self._line = 0
        self._commands: dict[str, Callable[[str, str], None]] = {
            "FILE": self._read_file,
            "TRACK": self._read_track,
            "INDEX": self._read_index,
            "REM": self._read_remark,
            "FLAGS": self._read_flags,
            "PREGAP": self._read_gap,
            "POSTGAP": self._read_gap,
            "TITLE": self._read_text,
            "PERFORMER": self._read_text,
            "SONGWRITER": self._read_text,
            "ISRC": self._read_text,
            "CATALOG": self._read_text,
            "CDTEXTFILE": self._read_text,
        }

    def read_line(self, number: int, line: str) -> None:
        """Read one line; `number` counts from 1."""
        self._line = number
        keyword, _, rest = line.replace("\t", " ").strip().partition(" ")
        if not keyword:
            return
        command = self._commands.get(keyword.upper())
        if command is None:
            self._warn(f"{printable(keyword)[:40]!r} is not a keyword of cue sheets; the line is ignored.")
            return
        command(keyword.upper(), rest.strip())

    def finish(self) -> CueSheet:
        """Return the sheet when all lines are read."""
        if not self._tracks:
            raise BadCueError("This is not a cue sheet: it has no TRACK line.")
        if not any(track.indexes for track in self._tracks):
            raise BadCueError("No track of the cue sheet has an INDEX, so all starts are unknown.")
        for track in self._tracks:
            self._line = track.line
            if not track.indexes:
                self._warn(f"Track {track.number} has no INDEX; it is left out of the tracklist.")
            elif all(index.number != 1 for index in track.indexes):
                self._warn(f"Track {track.number} has no INDEX 01; its first index is used as the start.")
        if self._warning_count > MAX_WARNINGS:
            self._warnings.append(f"{self._warning_count - MAX_WARNINGS} more warnings are left out.")
        return CueSheet(
            title=self._texts.get("TITLE"),
            performer=self._texts.get("PERFORMER"),
            songwriter=self._texts.get("SONGWRITER"),
            catalog_number=self._texts.get("CATALOG"),
            cdtext_file=self._texts.get("CDTEXTFILE"),
            remarks=tuple(self._remarks),
            files=tuple(self._files),
            tracks=tuple(track.to_track() for track in self._tracks),
            warnings=tuple(self._warnings),
        )

    def _read_file(self, _: str, rest: str) -> None:
        name, kind = self._split_file(rest)
        if not name:
            self._warn("FILE has no file name.")
        self._files.append(CueFile(printable(name), kind))

    def _split_file(self, rest: str) -> tuple[str, str]:
        if rest.startswith('"') and '"' in rest[1:]:
            name, _, kind = rest[1:].rpartition('"')
            return name, kind.strip().upper()
        name, _, kind = rest.rpartition(" ")
        if kind.upper() not in _FILE_TYPES:
            name, kind = rest, ""
        if name.startswith('"'):
            self._warn("The quote around the file name is not closed.")
        return name.strip(' "'), kind.upper()

    def _read_track(self, _: str, rest: str) -> None:
        number, _, kind = rest.partition(" ")
        if re.fullmatch("[0-9]{1,5}", number) is None:
            raise BadCueError(
                f"TRACK needs a number, as in `TRACK 01 AUDIO`; it has {_quote(rest)}.", line=self._line
            )
        if len(self._tracks) == MAX_TRACKS:
            raise BadCueError(f"A cue sheet has at most {MAX_TRACKS} tracks.", line=self._line)
        if any(track.number == int(number) for track in self._tracks[-1:]):
            self._warn(f"Track {int(number)} appears twice.")
        self._tracks.append(_OpenTrack(int(number), self._line, kind.strip().upper() or "AUDIO"))

    def _read_index(self, _: str, rest: str) -> None:
        number, _, time = rest.partition(" ")
        if re.fullmatch("[0-9]{1,2}", number) is None:
            raise BadCueError(
                f"INDEX needs a number and a time, as in `INDEX 01 04:22:73`; it has {_quote(rest)}.",
                line=self._line,
            )
        frames = self._parse_time(time)
        if not self._tracks:
            raise BadCueError("INDEX comes before the first TRACK.", line=self._line)
        if not self._files:
            self._warn("INDEX comes before the first FILE; the sheet is assumed to describe the media file.")
            self._files.append(CueFile("", ""))
        track = self._tracks[-1]
        if any(index.number == int(number) for index in track.indexes):
            self._warn(f"INDEX {number} of track {track.number} appears twice; the first one is used.")
            return
        track.indexes.append(CueIndex(int(number), frames, len(self._files) - 1))

    def _parse_time(self, time: str) -> int:
        match = _TIME.fullmatch(time.strip())
        if match is None:
            raise BadCueError(
                f"A time is minutes:seconds:frames, as in 134:22:73; this is {_quote(time)}.", line=self._line
            )
        minutes, seconds, frames = map(int, match.groups())
        if seconds >= 60:
            raise BadCueError(f"Seconds go from 0 to 59; {_quote(time)} has {seconds}.", line=self._line)
        if frames >= FRAMES_PER_SECOND:
            raise BadCueError(f"Frames go from 0 to 74; {_quote(time)} has {frames}.", line=self._line)
        return (minutes * 60 + seconds) * FRAMES_PER_SECOND + frames

    def _read_remark(self, _: str, rest: str) -> None:
        keyword, _, value = rest.partition(" ")
        if keyword:
            remarks = self._tracks[-1].remarks if self._tracks else self._remarks
            remarks.append((printable(keyword).upper(), self._unquote(value)))

    def _read_flags(self, keyword: str, rest: str) -> None:
        if not self._tracks:
            self._warn(f"{keyword} comes before the first TRACK; the line is ignored.")
            return
        self._tracks[-1].flags = tuple(printable(rest).upper().split())

    def _read_gap(self, keyword: str, rest: str) -> None:
        frames = self._parse_time(rest)
        if not self._tracks:
            self._warn(f"{keyword} comes before the first TRACK; the line is ignored.")
            return
        self._tracks[-1].gaps[keyword] = frames

    def _read_text(self, keyword: str, rest: str) -> None:
        texts = self._tracks[-1].texts if self._tracks else self._texts
        value = self._unquote(rest)
        if not value:
            return
        if keyword in texts:
            self._warn(f"{keyword} appears twice; the first one is used.")
            return
        texts[keyword] = value

    def _unquote(self, value: str) -> str:
        value = value.strip()
        if value.startswith('"'):
            closed = len(value) > 1 and value.endswith('"')
            if not closed:
                self._warn("The quote is not closed.")
            value = value[1:-1] if closed else value[1:]
        return printable(value)[:MAX_TITLE_CHARS].strip()

    def _warn(self, message: str) -> None:
        self._warning_count += 1
        if self._warning_count <= MAX_WARNINGS:
            self._warnings.append(f"Line {self._line}: {message}")


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _quote(text: str) -> str:
    return repr(printable(text)[:40]) if text.strip() else "nothing"
