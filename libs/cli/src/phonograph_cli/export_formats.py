"""Results of a recording in the formats that other programs read.

Times are in milliseconds in SRT and VTT, in seconds in RTTM, and in frames of 1/75 s in CUE.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from phonograph_cli.choices import ExportFormat
from phonograph_cli.errors import NothingToExportError
from phonograph_events.documents import TranscriptSegment
from phonograph_events.subtitles import SubtitleFormat, build_transcript_cues, render_cues

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
    return _to_subtitles(recording, "srt")


def _to_vtt(recording: Recording) -> str:
    return _to_subtitles(recording, "vtt")


def _to_subtitles(recording: Recording, subtitle_format: SubtitleFormat) -> str:
    segments = [TranscriptSegment.model_validate(segment) for segment in _require_transcript(recording)]
    cues = build_transcript_cues(segments, duration_s=recording["media"].get("duration_s"))
    return render_cues(cues, subtitle_format)


def _to_text(recording: Recording) -> str:
    segments = _require_transcript(recording)
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
    for segment in _spoken(_items(recording, "transcript", "segments")):
        speaker = f"**{segment['speaker']}** " if segment["speaker"] else ""
        lines += [f"{speaker}`{clock(segment['start'])}` {segment['text']}", ""]
    return ["## Transcript", "", *lines] if lines else []


def _to_rttm(recording: Recording) -> str:
    found = [turn for turn in _items(recording, "speakers", "turns") if turn["end"] > turn["start"]]
    found.sort(key=lambda turn: (turn["start"], turn["end"]))
    turns = _required(found, recording, "diarization", "speaker turns")
    # Fields are separated by spaces, so that the name must not have any.
    name = "_".join(Path(recording["media"]["file_name"]).stem.split()) or "recording"
    return "".join(
        f"SPEAKER {name} 1 {turn['start']:.3f} {turn['end'] - turn['start']:.3f} "
        f"<NA> <NA> {turn['speaker']} <NA> <NA>\n"
        for turn in turns
    )


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


def _spoken_line(segment: dict[str, Any]) -> str:
    speaker = f"{segment['speaker']}: " if segment["speaker"] else ""
    return f"{speaker}{segment['text']}"


def _items(recording: Recording, document: str, field: str) -> list[dict[str, Any]]:
    """Return the items of a document of the recording; none if there is no such document."""
    items: list[dict[str, Any]] = (recording[document] or {}).get(field, [])
    return items


def _spoken(segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the segments with text, in the order of time."""
    spoken = [segment for segment in segments if segment["text"].strip()]
    return sorted(spoken, key=lambda segment: (segment["start"], segment["end"]))


def _require_transcript(recording: Recording) -> list[dict[str, Any]]:
    segments = _spoken(_items(recording, "transcript", "segments"))
    return _required(segments, recording, "transcription", "transcript")


def _required(
    items: list[dict[str, Any]], recording: Recording, service: str, name: str
) -> list[dict[str, Any]]:
    """Return the items of a document.

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
    ExportFormat.RTTM: _to_rttm,
    ExportFormat.CUE: _to_cue,
}
