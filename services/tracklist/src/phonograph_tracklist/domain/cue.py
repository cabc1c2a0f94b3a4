"""Cue sheets: a tolerant parser in which an odd line costs that line, and whose warnings name it.

Source of the format: CDRWIN user's guide 3.0, appendix A. Real sheets go beyond it, and the parser accepts
that: any number of minutes, more than 99 tracks, a FILE between INDEX 00 and INDEX 01 (the "noncompliant"
sheets of EAC), hours instead of frames and a FILE line for each played track (rekordbox), times of two parts.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from phonograph_tracklist.constants import MAX_TITLE_CHARS, MAX_TRACKS, MAX_WARNINGS
from phonograph_tracklist.domain.cue_text import decode_cue
from phonograph_tracklist.domain.printable import comparable, printable
from phonograph_tracklist.exceptions import BadCueError

FRAMES_PER_SECOND: Final = 75

_LINE_END = re.compile(r"\r\n|\r|\n")
_TIME = re.compile(r"([0-9]{1,6}):([0-9]{1,2})(?::([0-9]{1,2}))?(?::([0-9]{1,2}))?(?:[.,]([0-9]{1,6}))?")
_FILE_TYPES = frozenset({"AIFF", "BINARY", "FLAC", "MOTOROLA", "MP3", "WAVE"})
_AUDIO_TYPES = frozenset({"AUDIO", "CDG"})
_DATA_TYPE = re.compile(r"(?:MODE|CDI|CDROM|DATA)", re.IGNORECASE)
_HOUR_PROGRAM = re.compile(r"rekordbox", re.IGNORECASE)
"""Programs that write hours:minutes:seconds."""
_MIN_PLAYED_TRACKS: Final = 3
_MIN_PLAYED_S: Final = 60
_MIN_COVERED: Final = 0.3
"""Part of the recording that the starts cover if the times have hours; with frames it is a sixtieth."""


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
        return _DATA_TYPE.match(self.type) is None


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


def parse_cue(data: bytes, *, duration_s: float | None = None) -> CueSheet:
    """Parse a sheet from bytes in any usual encoding.

    Args:
        data: The content of the file.
        duration_s: Duration of the recording, if known; see `parse_cue_text`.

    Raises:
        BadCueError: If the bytes are not text, or contain no track with a valid INDEX.
    """
    return parse_cue_text(decode_cue(data).text, duration_s=duration_s)


def parse_cue_text(text: str, *, duration_s: float | None = None) -> CueSheet:
    """Parse a sheet from text, as tags contain it. Raises as `parse_cue`.

    Args:
        text: The sheet.
        duration_s: Duration of the recording, if known. It shows whether times of three parts have frames, as
            the format demands, or hours.
    """
    parser = _Parser(duration_s)
    cleaned = text.replace("\0", "").replace("\ufeff", "")
    for number, line in enumerate(_LINE_END.split(cleaned), start=1):
        parser.read_line(number, line)
    return parser.finish()


@dataclass(frozen=True, slots=True)
class _Time:
    """A time as it is written."""

    parts: tuple[int, ...]
    """Two to four numbers."""
    fraction_s: float
    """Decimal fraction of the last part, which is then in seconds."""
    text: str

    @property
    def may_have_hours(self) -> bool:
        """Return whether three parts may be hours, minutes and seconds."""
        return all(part < 60 for part in self.parts[1:])

    def frames(self, *, has_hours: bool) -> int:
        """Return the time in frames.

        Args:
            has_hours: Whether three parts are hours, minutes, seconds and not minutes, seconds, frames.

        Raises:
            BadCueError: If a part is too large.
        """
        parts, frames = self.parts, 0
        if len(parts) == 4 or (len(parts) == 3 and not has_hours and not self.fraction_s):
            parts, frames = parts[:-1], parts[-1]
        if any(part >= 60 for part in parts[1:]):
            too_large = next(part for part in parts[1:] if part >= 60)
            raise BadCueError(f"Seconds go from 0 to 59; {_quote(self.text)} has {too_large}.")
        if frames >= FRAMES_PER_SECOND:
            raise BadCueError(f"Frames go from 0 to 74; {_quote(self.text)} has {frames}.")
        seconds = 0
        for part in parts:
            seconds = seconds * 60 + part
        return seconds * FRAMES_PER_SECOND + frames + round(self.fraction_s * FRAMES_PER_SECOND)


@dataclass(frozen=True, slots=True)
class _OpenIndex:
    number: int
    time: _Time
    file: int
    line: int


@dataclass(slots=True)
class _OpenTrack:
    number: int
    line: int
    type: str
    texts: dict[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    gaps: dict[str, tuple[_Time, int]] = field(default_factory=dict)
    """Times and lines of PREGAP and POSTGAP."""
    remarks: list[tuple[str, str]] = field(default_factory=list)
    indexes: list[_OpenIndex] = field(default_factory=list)
    has_own_file: bool = False
    """Whether a FILE line is below the TRACK line and above the first INDEX."""


class _Parser:
    """Reads line after line; the last file and the last track are the open ones."""

    def __init__(self, duration_s: float | None) -> None:
        self._duration_s = duration_s
        self._texts: dict[str, str] = {}
        self._remarks: list[tuple[str, str]] = []
        self._files: list[CueFile] = []
        self._tracks: list[_OpenTrack] = []
        self._warnings: list[str] = []
        self._warning_count = 0
        self._first_loss: BadCueError | None = None
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
        if "\ufffd" in line and keyword.upper() not in {"TRACK", "INDEX"}:
            self._warn("The line has characters that cannot be read; it is ignored.")
            if keyword.upper() != "FILE":
                return
            rest = ""
        command = self._commands.get(keyword.upper())
        if command is None:
            self._warn(f"{printable(keyword)[:40]!r} is not a keyword of cue sheets; the line is ignored.")
            return
        try:
            command(keyword.upper(), rest.strip())
        except BadCueError as error:
            self._lose_line(error.message)

    def finish(self) -> CueSheet:
        """Return the sheet when all lines are read."""
        if not self._tracks:
            raise self._first_loss or BadCueError("This is not a cue sheet: it has no TRACK line.")
        self._assign_files()
        has_hours = self._has_hours()
        tracks = [self._to_track(track, has_hours=has_hours) for track in self._tracks]
        if not any(track.indexes for track in tracks):
            raise self._first_loss or BadCueError(
                "No track of the cue sheet has an INDEX, so all starts are unknown."
            )
        for track in tracks:
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
            tracks=tuple(tracks),
            warnings=tuple(self._warnings),
        )

    def _assign_files(self) -> None:
        """Assign all tracks to one recording if each FILE names a played track.

        In a sheet of several media files the starts begin again with each file. A sheet in which they go on
        describes one recording, and its FILE lines are where the played tracks came from.
        """
        placed = [(track, track.indexes[-1]) for track in self._tracks if track.indexes]
        times = [index.time for _, index in placed]
        if not placed or any(one.parts >= other.parts for one, other in pairwise(times)):
            return
        files = [index.file for _, index in placed]
        own_files = sum(track.has_own_file for track, _ in placed)
        if own_files and 2 * own_files >= len(placed):
            if len(placed) == 1 and not (files[0] and any(times[0].parts)):
                return
        elif (
            len(placed) < _MIN_PLAYED_TRACKS
            or len(set(files)) < len(files)
            or not (_seconds(times[-1], has_hours=False) >= _MIN_PLAYED_S or self._is_of_hour_program())
        ):
            return
        # The file of the recording, if there is one, is named above the first TRACK.
        has_recording = self._tracks[0].has_own_file and files[0] > 0
        if not has_recording:
            self._files.append(CueFile("", ""))
        recording = 0 if has_recording else len(self._files) - 1
        for track in self._tracks:
            track.indexes = [replace(index, file=recording) for index in track.indexes]
        self._note("The FILE line of each track names the played track; all tracks are in one recording.")

    def _has_hours(self) -> bool:
        """Return whether times of three parts are hours, minutes and seconds."""
        indexes = [track.indexes[-1] for track in self._tracks if track.indexes]
        times = [index.time for index in indexes]
        three_parts = [time for time in times if len(time.parts) == 3]
        if not three_parts or not all(time.may_have_hours for time in three_parts):
            return False
        reason = None
        if self._is_of_hour_program():
            reason = "rekordbox writes them so"
        elif len(three_parts) < len(times) and _order_breaks(times, has_hours=False) > _order_breaks(
            times, has_hours=True
        ):
            reason = "only so they are in order with those of two parts"
        elif (
            self._duration_s is not None
            and len({index.file for index in indexes}) == 1
            and len(times) >= _MIN_PLAYED_TRACKS
        ):
            last_s = max(_seconds(time, has_hours=True) for time in times)
            if _MIN_COVERED * self._duration_s < last_s < self._duration_s:
                reason = "with frames, all tracks would be in a sixtieth of the recording"
        if reason is not None:
            self._note(f"The times are read as hours:minutes:seconds: {reason}.")
        return reason is not None

    def _is_of_hour_program(self) -> bool:
        return any(
            key in {"RECORDED_BY", "COMMENT"} and _HOUR_PROGRAM.search(value) for key, value in self._remarks
        )

    def _to_track(self, track: _OpenTrack, *, has_hours: bool) -> CueTrack:
        indexes, gaps = [], {}
        for index in track.indexes:
            self._line = index.line
            try:
                frames = index.time.frames(has_hours=has_hours)
            except BadCueError as error:
                self._lose_line(error.message)
            else:
                indexes.append(CueIndex(index.number, frames, index.file))
        for keyword, (time, line) in track.gaps.items():
            self._line = line
            try:
                gaps[keyword] = time.frames(has_hours=False)
            except BadCueError as error:
                self._lose_line(error.message)
        title, isrc = track.texts.get("TITLE"), track.texts.get("ISRC")
        return CueTrack(
            number=track.number,
            line=track.line,
            type=track.type,
            title=None if title is not None and title == isrc else title,
            performer=track.texts.get("PERFORMER"),
            songwriter=track.texts.get("SONGWRITER"),
            isrc=isrc,
            flags=track.flags,
            pregap_frames=gaps.get("PREGAP", 0),
            postgap_frames=gaps.get("POSTGAP", 0),
            remarks=tuple(track.remarks),
            indexes=tuple(indexes),
        )

    def _read_file(self, _: str, rest: str) -> None:
        name, kind = self._split_file(rest)
        if not name:
            self._warn("FILE has no file name.")
        self._files.append(CueFile(printable(name), kind))
        if self._tracks and not self._tracks[-1].indexes:
            self._tracks[-1].has_own_file = True

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
        if len(self._tracks) == MAX_TRACKS:
            raise BadCueError(f"A cue sheet has at most {MAX_TRACKS} tracks.")
        number, _, kind = rest.partition(" ")
        if re.fullmatch("[0-9]{1,5}", number) is None:
            # The lines below belong to a new track in any case, so only the number and the type are lost.
            self._lose_line(f"TRACK needs a number, as in `TRACK 01 AUDIO`; it has {_quote(rest)}.")
            previous = self._tracks[-1].number if self._tracks else 0
            number, kind = str(previous + 1), number if _DATA_TYPE.match(number) else "AUDIO"
        elif any(track.number == int(number) for track in self._tracks[-1:]):
            self._warn(f"Track {int(number)} appears twice.")
        kind = printable(kind).upper() or "AUDIO"
        if kind not in _AUDIO_TYPES and _DATA_TYPE.match(kind) is None:
            self._warn(f"{_quote(kind)} is not a type of track; it is taken for AUDIO.")
        self._tracks.append(_OpenTrack(int(number), self._line, kind))

    def _read_index(self, _: str, rest: str) -> None:
        number, _, time = rest.partition(" ")
        if re.fullmatch("[0-9]{1,2}", number) is None:
            raise BadCueError(
                f"INDEX needs a number and a time, as in `INDEX 01 04:22:73`; it has {_quote(rest)}."
            )
        parsed = _parse_time(time)
        if not self._tracks:
            raise BadCueError("INDEX comes before the first TRACK.")
        if not self._files:
            self._warn("INDEX comes before the first FILE; the sheet is assumed to describe the media file.")
            self._files.append(CueFile("", ""))
        track = self._tracks[-1]
        if any(index.number == int(number) for index in track.indexes):
            self._warn(f"INDEX {number} of track {track.number} appears twice; the first one is used.")
            return
        track.indexes.append(_OpenIndex(int(number), parsed, len(self._files) - 1, self._line))

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
        time = _parse_time(rest)
        if not self._tracks:
            self._warn(f"{keyword} comes before the first TRACK; the line is ignored.")
            return
        self._tracks[-1].gaps[keyword] = time, self._line

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

    def _lose_line(self, message: str) -> None:
        """Warn of a line that is lost; if nothing else is left of the sheet, it is the error."""
        if self._first_loss is None:
            self._first_loss = BadCueError(message, line=self._line)
        self._warn(message)

    def _note(self, message: str) -> None:
        """Warn of something that concerns the whole sheet."""
        self._warnings.append(message)

    def _warn(self, message: str) -> None:
        self._warning_count += 1
        if self._warning_count <= MAX_WARNINGS:
            self._warnings.append(f"Line {self._line}: {message}")


def _parse_time(text: str) -> _Time:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise BadCueError(f"A time is minutes:seconds:frames, as in 134:22:73; this is {_quote(text)}.")
    *parts, fraction = match.groups()
    return _Time(
        tuple(int(part) for part in parts if part is not None),
        float(f"0.{fraction}") if fraction else 0.0,
        text,
    )


def _seconds(time: _Time, *, has_hours: bool) -> float:
    """Return a time in seconds, or 0 if it is not valid."""
    try:
        return time.frames(has_hours=has_hours) / FRAMES_PER_SECOND
    except BadCueError:
        return 0.0


def _order_breaks(times: Sequence[_Time], *, has_hours: bool) -> int:
    """Return how many times are before the one above them."""
    seconds = [_seconds(time, has_hours=has_hours) for time in times]
    return sum(one > other for one, other in pairwise(seconds))


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _quote(text: str) -> str:
    return repr(printable(text)[:40]) if text.strip() else "nothing"
