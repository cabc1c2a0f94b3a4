"""Cue sheets: a tolerant parser that names the line it cannot take.

Source of the format: CDRWIN user's guide 3.0, appendix A. What real sheets do beyond it is read, too: minutes
without bound, more than 99 tracks, a FILE between INDEX 00 and INDEX 01 (the "noncompliant" sheets of EAC).
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
_SOUND_TYPES = frozenset({"AUDIO", "CDG"})


@dataclass(frozen=True, slots=True)
class CueFile:
    """A FILE line: the name as written, with any folders, and the type word in capitals."""

    name: str
    type: str

    def names(self, file_name: str) -> bool:
        """Whether it means that file: the same name, or the same stem, since sound gets recoded."""
        written = re.split(r"[/\\]", self.name)[-1]
        return comparable(_stem(written)) == comparable(_stem(file_name)) != ""


@dataclass(frozen=True, slots=True)
class CueIndex:
    """A position: 0 is the pre-gap, 1 the start of the track."""

    number: int
    frames: int
    """From the start of the file; 75 frames are a second."""
    file: int
    """Index into `CueSheet.files`."""

    @property
    def start_s(self) -> float:
        """Seconds from the start of the file."""
        return self.frames / FRAMES_PER_SECOND


@dataclass(frozen=True, slots=True)
class CueTrack:
    """A TRACK with everything below it."""

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
    """REM lines: the word in capitals and the rest; words may repeat."""
    indexes: tuple[CueIndex, ...]

    @property
    def start(self) -> CueIndex | None:
        """INDEX 01; where a sheet has none, the first index there is."""
        return next((index for index in self.indexes if index.number == 1), next(iter(self.indexes), None))

    @property
    def has_sound(self) -> bool:
        """False for the data track of an enhanced disc."""
        return self.type in _SOUND_TYPES


@dataclass(frozen=True, slots=True)
class CueSheet:
    """A whole sheet. `warnings` are sentences that name the line."""

    title: str | None
    performer: str | None
    songwriter: str | None
    catalog: str | None
    cdtext_file: str | None
    remarks: tuple[tuple[str, str], ...]
    files: tuple[CueFile, ...]
    tracks: tuple[CueTrack, ...]
    warnings: tuple[str, ...]


def parse_cue(data: bytes) -> CueSheet:
    """Read a sheet from bytes in any usual encoding.

    Raises:
        BadCueError: the bytes are no text, hold no track, or a TRACK, INDEX or gap cannot be read.
    """
    return parse_cue_text(decode_cue(data))


def parse_cue_text(text: str) -> CueSheet:
    """Read a sheet from text, as tags hold it.

    Raises:
        BadCueError: as `parse_cue`.
    """
    parser = _Parser()
    cleaned = text.replace("\0", "").replace("\ufeff", "")
    for number, line in enumerate(_LINE_END.split(cleaned), start=1):
        parser.take(number, line)
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

    def close(self) -> CueTrack:
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
    """Takes line after line; knows the file and the track that are open."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._remarks: list[tuple[str, str]] = []
        self._files: list[CueFile] = []
        self._tracks: list[_OpenTrack] = []
        self._warnings: list[str] = []
        self._warned = 0
        self._line = 0
        self._commands: dict[str, Callable[[str, str], None]] = {
            "FILE": self._file,
            "TRACK": self._track,
            "INDEX": self._index,
            "REM": self._remark,
            "FLAGS": self._flags,
            "PREGAP": self._gap,
            "POSTGAP": self._gap,
            "TITLE": self._text,
            "PERFORMER": self._text,
            "SONGWRITER": self._text,
            "ISRC": self._text,
            "CATALOG": self._text,
            "CDTEXTFILE": self._text,
        }

    def take(self, number: int, line: str) -> None:
        """Read one line."""
        self._line = number
        keyword, _, rest = line.replace("\t", " ").strip().partition(" ")
        if not keyword:
            return
        command = self._commands.get(keyword.upper())
        if command is None:
            self._warn(f"{printable(keyword)[:40]!r} is no keyword of cue sheets; the line is left out.")
            return
        command(keyword.upper(), rest.strip())

    def finish(self) -> CueSheet:
        """The sheet, once all lines are taken."""
        if not self._tracks:
            raise BadCueError("This is no cue sheet: it has no TRACK line.")
        if not any(track.indexes for track in self._tracks):
            raise BadCueError("No track of the cue sheet has an INDEX, so nothing says where it starts.")
        for track in self._tracks:
            self._line = track.line
            if not track.indexes:
                self._warn(f"Track {track.number} has no INDEX; it is left out of the tracklist.")
            elif all(index.number != 1 for index in track.indexes):
                self._warn(f"Track {track.number} has no INDEX 01; its first index counts as the start.")
        if self._warned > MAX_WARNINGS:
            self._warnings.append(f"{self._warned - MAX_WARNINGS} more lines have such faults.")
        return CueSheet(
            title=self._texts.get("TITLE"),
            performer=self._texts.get("PERFORMER"),
            songwriter=self._texts.get("SONGWRITER"),
            catalog=self._texts.get("CATALOG"),
            cdtext_file=self._texts.get("CDTEXTFILE"),
            remarks=tuple(self._remarks),
            files=tuple(self._files),
            tracks=tuple(track.close() for track in self._tracks),
            warnings=tuple(self._warnings),
        )

    def _file(self, _: str, rest: str) -> None:
        name, kind = self._file_parts(rest)
        if not name:
            self._warn("FILE names no file.")
        self._files.append(CueFile(printable(name), kind))

    def _file_parts(self, rest: str) -> tuple[str, str]:
        if rest.startswith('"') and '"' in rest[1:]:
            name, _, kind = rest[1:].rpartition('"')
            return name, kind.strip().upper()
        name, _, kind = rest.rpartition(" ")
        if kind.upper() not in _FILE_TYPES:
            name, kind = rest, ""
        if name.startswith('"'):
            self._warn("The quote around the file name is not closed.")
        return name.strip(' "'), kind.upper()

    def _track(self, _: str, rest: str) -> None:
        number, _, kind = rest.partition(" ")
        if re.fullmatch("[0-9]{1,5}", number) is None:
            raise BadCueError(
                f"TRACK needs a number, as in `TRACK 01 AUDIO`; it has {_shown(rest)}.", line=self._line
            )
        if len(self._tracks) == MAX_TRACKS:
            raise BadCueError(f"A cue sheet has at most {MAX_TRACKS} tracks.", line=self._line)
        if any(track.number == int(number) for track in self._tracks[-1:]):
            self._warn(f"Track {int(number)} is there twice.")
        self._tracks.append(_OpenTrack(int(number), self._line, kind.strip().upper() or "AUDIO"))

    def _index(self, _: str, rest: str) -> None:
        number, _, time = rest.partition(" ")
        if re.fullmatch("[0-9]{1,2}", number) is None:
            raise BadCueError(
                f"INDEX needs a number and a time, as in `INDEX 01 04:22:73`; it has {_shown(rest)}.",
                line=self._line,
            )
        frames = self._frames(time)
        if not self._tracks:
            raise BadCueError("INDEX stands before the first TRACK.", line=self._line)
        if not self._files:
            self._warn(
                "INDEX stands before the first FILE; the sheet is taken to mean the file it belongs to."
            )
            self._files.append(CueFile("", ""))
        track = self._tracks[-1]
        if any(index.number == int(number) for index in track.indexes):
            self._warn(f"INDEX {number} of track {track.number} is there twice; the first one counts.")
            return
        track.indexes.append(CueIndex(int(number), frames, len(self._files) - 1))

    def _frames(self, time: str) -> int:
        match = _TIME.fullmatch(time.strip())
        if match is None:
            raise BadCueError(
                f"A time is minutes:seconds:frames, as in 134:22:73; this is {_shown(time)}.", line=self._line
            )
        minutes, seconds, frames = map(int, match.groups())
        if seconds >= 60:
            raise BadCueError(f"Seconds go from 0 to 59; {_shown(time)} has {seconds}.", line=self._line)
        if frames >= FRAMES_PER_SECOND:
            raise BadCueError(f"Frames go from 0 to 74; {_shown(time)} has {frames}.", line=self._line)
        return (minutes * 60 + seconds) * FRAMES_PER_SECOND + frames

    def _remark(self, _: str, rest: str) -> None:
        word, _, value = rest.partition(" ")
        if word:
            remarks = self._tracks[-1].remarks if self._tracks else self._remarks
            remarks.append((printable(word).upper(), self._unquoted(value)))

    def _flags(self, keyword: str, rest: str) -> None:
        if not self._tracks:
            self._warn(f"{keyword} stands before the first TRACK; the line is left out.")
            return
        self._tracks[-1].flags = tuple(printable(rest).upper().split())

    def _gap(self, keyword: str, rest: str) -> None:
        frames = self._frames(rest)
        if not self._tracks:
            self._warn(f"{keyword} stands before the first TRACK; the line is left out.")
            return
        self._tracks[-1].gaps[keyword] = frames

    def _text(self, keyword: str, rest: str) -> None:
        texts = self._tracks[-1].texts if self._tracks else self._texts
        value = self._unquoted(rest)
        if not value:
            return
        if keyword in texts:
            self._warn(f"{keyword} is there twice; the first one counts.")
            return
        texts[keyword] = value

    def _unquoted(self, value: str) -> str:
        value = value.strip()
        if value.startswith('"'):
            closed = len(value) > 1 and value.endswith('"')
            if not closed:
                self._warn("The quote is not closed.")
            value = value[1:-1] if closed else value[1:]
        return printable(value)[:MAX_TITLE_CHARS].strip()

    def _warn(self, message: str) -> None:
        self._warned += 1
        if self._warned <= MAX_WARNINGS:
            self._warnings.append(f"Line {self._line}: {message}")


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _shown(text: str) -> str:
    return repr(printable(text)[:40]) if text.strip() else "nothing"
