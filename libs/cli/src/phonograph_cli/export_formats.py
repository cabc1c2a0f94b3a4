"""Results of a recording in the formats that other programs read.

Times are in milliseconds in SRT and VTT, in seconds in RTTM, and in frames of 1/75 s in CUE.
"""

import json
from collections.abc import Callable, Sized
from typing import Any, Final, TypeAlias, TypeVar

from phonograph_cli.choices import ExportFormat
from phonograph_cli.errors import NothingToExportError
from phonograph_events import transcript_files
from phonograph_events.documents import TranscriptDocument, TranscriptSegment, Turn
from phonograph_events.enums import ExportFormat as FileFormat

T = TypeVar("T", bound=Sized)
Recording: TypeAlias = dict[str, Any]
"""A recording as `RecordingReader.show` returns it."""

clock = transcript_files.clock
CUE_FRAMES_PER_S: Final = 75
CUE_FILE_TYPES: Final = {"audio/mpeg": "MP3", "audio/x-aiff": "AIFF"}
CUE_DEFAULT_FILE_TYPE: Final = "WAVE"


def export(recording: Recording, export_format: ExportFormat) -> str:
    """Return a recording in an export format.

    Raises:
        NothingToExportError: There is no transcript, no speaker turn or no tracklist.
    """
    return _WRITERS[export_format](recording)


def track_name(track: dict[str, Any]) -> str:
    """Return artist and title, so far as they are known, or `ID`."""
    return " – ".join(part for part in (track["artist"], track["title"]) if part) or "ID"


def _to_srt(recording: Recording) -> str:
    return _to_subtitles(recording, FileFormat.SRT)


def _to_vtt(recording: Recording) -> str:
    return _to_subtitles(recording, FileFormat.VTT)


def _to_subtitles(recording: Recording, export_format: FileFormat) -> str:
    duration_s = recording["media"].get("duration_s")
    return transcript_files.render_subtitles(_require_transcript(recording), export_format, duration_s)


def _to_text(recording: Recording) -> str:
    return transcript_files.render_text(_require_transcript(recording))


def _to_summary(recording: Recording) -> str:
    _require_transcript(recording)
    media = recording["media"]
    content = transcript_files.SpokenContent(
        media["file_name"],
        media.get("duration_s"),
        TranscriptDocument.model_validate(recording["transcript"]),
        _turns(recording),
    )
    return transcript_files.render(content, FileFormat.SUMMARY)


def _to_json(recording: Recording) -> str:
    return json.dumps(recording, indent=2, ensure_ascii=False) + "\n"


def _to_markdown(recording: Recording) -> str:
    sections = (_heading, _tempo, _tracklist, _topics, _transcript)
    lines = [line for section in sections for line in section(recording)]
    return "\n".join(lines).rstrip() + "\n"


def _heading(recording: Recording) -> list[str]:
    media = recording["media"]
    lines = [f"# {media['file_name']}", ""]
    if media.get("duration_s") is not None:
        lines += [f"Duration {clock(media['duration_s'])}, {media['mime_type']}.", ""]
    return lines


def _tempo(recording: Recording) -> list[str]:
    music = recording["music"]
    if not music or music.get("bpm") is None:
        return []
    key = f", {music['key']} {music['scale']}" if music["key"] else ""
    return [f"{music['bpm']:.1f} BPM{key}.", ""]


def _tracklist(recording: Recording) -> list[str]:
    tracks = _items(recording, "tracklist", "tracks")
    lines = [f"{track['position']}. {clock(track['start_time'])} {track_name(track)}" for track in tracks]
    return ["## Tracklist", "", *lines, ""] if lines else []


def _topics(recording: Recording) -> list[str]:
    segments = _items(recording, "highlights", "segments")
    lines = [
        f"- {clock(segment['start'])} **{segment['title']}**: {', '.join(segment['keywords'])}"
        for segment in segments
    ]
    return ["## Topics", "", *lines, ""] if lines else []


def _transcript(recording: Recording) -> list[str]:
    return transcript_files.render_markdown(_spoken(recording))


def _to_rttm(recording: Recording) -> str:
    written = transcript_files.render_rttm(_turns(recording), recording["media"]["file_name"])
    return _required(written, recording, "diarization", "speaker turns")


def _to_cue(recording: Recording) -> str:
    tracks = _required(_items(recording, "tracklist", "tracks"), recording, "tracklist", "tracklist")
    media = recording["media"]
    file_type = CUE_FILE_TYPES.get(media["mime_type"], CUE_DEFAULT_FILE_TYPE)
    lines = [f'FILE "{_cue_text(media["file_name"])}" {file_type}']
    for track in tracks:
        lines.append(f"  TRACK {track['position']:02d} AUDIO")
        if track["title"]:
            lines.append(f'    TITLE "{_cue_text(track["title"])}"')
        if track["artist"]:
            lines.append(f'    PERFORMER "{_cue_text(track["artist"])}"')
        lines.append(f"    INDEX 01 {_cue_time(track['start_time'])}")
    return "\n".join(lines) + "\n"


def _cue_text(value: str) -> str:
    return " ".join(value.replace('"', "'").split())


def _cue_time(seconds: float) -> str:
    whole, frames = divmod(round(seconds * CUE_FRAMES_PER_S), CUE_FRAMES_PER_S)
    return f"{whole // 60:02d}:{whole % 60:02d}:{frames:02d}"


def _items(recording: Recording, document: str, field: str) -> list[dict[str, Any]]:
    """Return the items of a document of the recording; none if there is no such document."""
    items: list[dict[str, Any]] = (recording[document] or {}).get(field, [])
    return items


def _spoken(recording: Recording) -> list[TranscriptSegment]:
    """Return the segments with text, in the order of time."""
    segments = _items(recording, "transcript", "segments")
    return transcript_files.sort_spoken(map(TranscriptSegment.model_validate, segments))


def _turns(recording: Recording) -> list[Turn]:
    return [Turn.model_validate(turn) for turn in _items(recording, "speakers", "turns")]


def _require_transcript(recording: Recording) -> list[TranscriptSegment]:
    return _required(_spoken(recording), recording, "transcription", "transcript")


def _required(items: T, recording: Recording, service: str, name: str) -> T:
    """Return items, or a text, that must not be empty.

    Args:
        items: The items.
        recording: The recording that they describe.
        service: The service that finds them.
        name: What they are, for the error.

    Raises:
        NothingToExportError: There are none.
    """
    if not items:
        reasons = [job["reason"] for job in recording["jobs"] if job["service"] == service and job["reason"]]
        explanation = f" ({reasons[-1]})" if reasons else ""
        raise NothingToExportError(f"{recording['media']['file_name']} has no {name}{explanation}.")
    return items


_WRITERS: Final[dict[ExportFormat, Callable[[Recording], str]]] = {
    ExportFormat.SRT: _to_srt,
    ExportFormat.VTT: _to_vtt,
    ExportFormat.TXT: _to_text,
    ExportFormat.JSON: _to_json,
    ExportFormat.MD: _to_markdown,
    ExportFormat.SUMMARY: _to_summary,
    ExportFormat.RTTM: _to_rttm,
    ExportFormat.CUE: _to_cue,
}
