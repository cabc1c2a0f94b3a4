"""A recording's results in the formats that other programs read.

Times: SRT and VTT in milliseconds, RTTM in seconds, CUE in frames of 1/75 s.
"""

import html
import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

Shown = dict[str, Any]


class Format(StrEnum):
    """What `phonograph export` can write."""

    SRT = "srt"
    VTT = "vtt"
    TXT = "txt"
    JSON = "json"
    MD = "md"
    RTTM = "rttm"
    CUE = "cue"


class NothingToExportError(Exception):
    """The recording has no result of that kind; the message says why."""


def export(shown: Shown, form: Format) -> str:
    """Write what `show --json` gives in another format.

    Raises:
        NothingToExportError: there is no transcript, no speaker or no tracklist.
    """
    return _WRITERS[form](shown)


def _subtitles(shown: Shown, form: Format) -> str:
    import pysubs2

    subtitles = pysubs2.SSAFile()
    for segment in _transcript(shown)["segments"]:
        speaker = f"{segment['speaker']}: " if segment["speaker"] else ""
        text = f"{speaker}{segment['text']}"
        event = pysubs2.SSAEvent(start=round(segment["start"] * 1000), end=round(segment["end"] * 1000))
        event.plaintext = html.escape(text, quote=False) if form is Format.VTT else text
        subtitles.append(event)
    return subtitles.to_string(form.value, keep_ssa_tags=True)


def _text(shown: Shown) -> str:
    lines = []
    for segment in _transcript(shown)["segments"]:
        speaker = f"{segment['speaker']}: " if segment["speaker"] else ""
        lines.append(f"{speaker}{segment['text']}\n")
    return "".join(lines)


def _json(shown: Shown) -> str:
    return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"


def _markdown(shown: Shown) -> str:
    media, music, transcript, tracklist, highlights = (
        shown[name] for name in ("media", "music", "transcript", "tracklist", "highlights")
    )
    lines = [f"# {media['file_name']}", ""]
    if media.get("duration_s") is not None:
        lines += [f"Duration {clock(media['duration_s'])}, {media['mime_type']}.", ""]
    if music and music.get("bpm") is not None:
        key = f", {music['key']} {music['scale']}" if music["key"] else ""
        lines += [f"{music['bpm']:.1f} BPM{key}.", ""]
    if tracklist and tracklist["tracks"]:
        lines += ["## Tracklist", ""]
        lines += [
            f"{track['position']}. {clock(track['start_time'])} {track_name(track)}"
            for track in tracklist["tracks"]
        ]
        lines.append("")
    if highlights and highlights["segments"]:
        lines += ["## Topics", ""]
        lines += [
            f"- {clock(segment['start'])} **{segment['title']}**: {', '.join(segment['keywords'])}"
            for segment in highlights["segments"]
        ]
        lines.append("")
    if transcript and transcript["segments"]:
        lines += ["## Transcript", ""]
        for segment in transcript["segments"]:
            speaker = f"**{segment['speaker']}** " if segment["speaker"] else ""
            lines += [f"{speaker}`{clock(segment['start'])}` {segment['text']}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _rttm(shown: Shown) -> str:
    speakers = shown["speakers"]
    if not speakers or not speakers["turns"]:
        raise NothingToExportError(
            f"{shown['media']['file_name']} has no speaker turns{_why(shown, 'diarization')}."
        )
    name = "_".join(Path(shown["media"]["file_name"]).stem.split()) or "recording"
    return "".join(
        f"SPEAKER {name} 1 {turn['start']:.3f} {turn['end'] - turn['start']:.3f} "
        f"<NA> <NA> {turn['speaker']} <NA> <NA>\n"
        for turn in speakers["turns"]
    )


def _cue(shown: Shown) -> str:
    tracklist = shown["tracklist"]
    if not tracklist or not tracklist["tracks"]:
        raise NothingToExportError(
            f"{shown['media']['file_name']} has no tracklist{_why(shown, 'tracklist')}."
        )
    kind = {"audio/mpeg": "MP3", "audio/x-aiff": "AIFF"}.get(shown["media"]["mime_type"], "WAVE")
    lines = [f'FILE "{_quoted(shown["media"]["file_name"])}" {kind}']
    for track in tracklist["tracks"]:
        lines.append(f"  TRACK {track['position']:02d} AUDIO")
        if track["title"]:
            lines.append(f'    TITLE "{_quoted(track["title"])}"')
        if track["artist"]:
            lines.append(f'    PERFORMER "{_quoted(track["artist"])}"')
        frames = round(track["start_time"] * 75)
        lines.append(f"    INDEX 01 {frames // 4500:02d}:{frames // 75 % 60:02d}:{frames % 75:02d}")
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    return " ".join(value.replace('"', "'").split())


def _transcript(shown: Shown) -> Shown:
    transcript: Shown | None = shown["transcript"]
    if not transcript or not transcript["segments"]:
        raise NothingToExportError(
            f"{shown['media']['file_name']} has no transcript{_why(shown, 'transcription')}."
        )
    return transcript


def _why(shown: Shown, service: str) -> str:
    reasons = [job["reason"] for job in shown["jobs"] if job["service"] == service and job["reason"]]
    return f" ({reasons[-1]})" if reasons else ""


def clock(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def track_name(track: Shown) -> str:
    """Artist and title, as far as known."""
    return " – ".join(part for part in (track["artist"], track["title"]) if part) or "ID"


_WRITERS: dict[Format, Callable[[Shown], str]] = {
    Format.SRT: lambda shown: _subtitles(shown, Format.SRT),
    Format.VTT: lambda shown: _subtitles(shown, Format.VTT),
    Format.TXT: _text,
    Format.JSON: _json,
    Format.MD: _markdown,
    Format.RTTM: _rttm,
    Format.CUE: _cue,
}
