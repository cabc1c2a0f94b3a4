"""Results of a recording in the formats that other programs read.

Times are in milliseconds in SRT and VTT, in seconds in RTTM, and in frames of 1/75 s in CUE.
"""

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from phonograph_cli.choices import ExportFormat
from phonograph_cli.errors import NothingToExportError

Recording: TypeAlias = dict[str, Any]
"""A recording as `RecordingReader.show` returns it."""

CUE_FRAMES_PER_S: Final = 75
CUE_FILE_TYPES: Final = {"audio/mpeg": "MP3", "audio/x-aiff": "AIFF"}
CUE_DEFAULT_FILE_TYPE: Final = "WAVE"


def export(recording: Recording, export_format: ExportFormat) -> str:
    """Return a recording in an export format.

    Raises:
        NothingToExportError: There is no transcript, no speaker turn or no tracklist.
    """
    return _WRITERS[export_format](recording)


def clock(seconds: float) -> str:
    """Return a duration as 1:02:03, or as 2:03 below an hour."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def track_name(track: dict[str, Any]) -> str:
    """Return artist and title, so far as they are known, or `ID`."""
    return " – ".join(part for part in (track["artist"], track["title"]) if part) or "ID"


def _to_srt(recording: Recording) -> str:
    return _to_subtitles(recording, ExportFormat.SRT)


def _to_vtt(recording: Recording) -> str:
    return _to_subtitles(recording, ExportFormat.VTT)


def _to_subtitles(recording: Recording, export_format: ExportFormat) -> str:
    import pysubs2

    subtitles = pysubs2.SSAFile()
    for segment in _require(recording, "transcript", "segments", "transcription", "transcript"):
        event = pysubs2.SSAEvent(start=round(segment["start"] * 1000), end=round(segment["end"] * 1000))
        text = _spoken_line(segment)
        event.plaintext = html.escape(text, quote=False) if export_format is ExportFormat.VTT else text
        subtitles.append(event)
    return subtitles.to_string(export_format.value, keep_ssa_tags=True)


def _to_text(recording: Recording) -> str:
    segments = _require(recording, "transcript", "segments", "transcription", "transcript")
    return "".join(f"{_spoken_line(segment)}\n" for segment in segments)


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
    lines = []
    for segment in _items(recording, "transcript", "segments"):
        speaker = f"**{segment['speaker']}** " if segment["speaker"] else ""
        lines += [f"{speaker}`{clock(segment['start'])}` {segment['text']}", ""]
    return ["## Transcript", "", *lines] if lines else []


def _to_rttm(recording: Recording) -> str:
    turns = _require(recording, "speakers", "turns", "diarization", "speaker turns")
    # Fields are separated by spaces, so that the name must not have any.
    name = "_".join(Path(recording["media"]["file_name"]).stem.split()) or "recording"
    return "".join(
        f"SPEAKER {name} 1 {turn['start']:.3f} {turn['end'] - turn['start']:.3f} "
        f"<NA> <NA> {turn['speaker']} <NA> <NA>\n"
        for turn in turns
    )


def _to_cue(recording: Recording) -> str:
    tracks = _require(recording, "tracklist", "tracks", "tracklist", "tracklist")
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


def _spoken_line(segment: dict[str, Any]) -> str:
    speaker = f"{segment['speaker']}: " if segment["speaker"] else ""
    return f"{speaker}{segment['text']}"


def _items(recording: Recording, document: str, field: str) -> list[dict[str, Any]]:
    """Return the items of a document of the recording; none if there is no such document."""
    items: list[dict[str, Any]] = (recording[document] or {}).get(field, [])
    return items


def _require(
    recording: Recording, document: str, field: str, service: str, name: str
) -> list[dict[str, Any]]:
    items = _items(recording, document, field)
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
    ExportFormat.RTTM: _to_rttm,
    ExportFormat.CUE: _to_cue,
}
