"""How results look on a terminal, and on a pipe."""

import os
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from phonograph_cli.exporting import clock, track_name
from phonograph_cli.following import FileProgress, Mark, State
from phonograph_events import Service

MARKS = {State.WAITING: "·", State.WORKING: "▸", State.DONE: "✓", State.FAILED: "✗"}
COLOURS = {State.WAITING: "dim", State.WORKING: "cyan", State.DONE: "green", State.FAILED: "red"}
ORDER = [
    Service.INGEST,
    Service.ANALYSIS,
    Service.TRANSCRIPTION,
    Service.DIARIZATION,
    Service.TRACKLIST,
    Service.HIGHLIGHTS,
]
MAX_SEGMENTS = 12


def readable(text: str) -> str:
    """A path as typed may hold bytes that are no text."""
    return os.fsencode(text).decode(errors="replace")


def live_table(files: list[FileProgress], seconds: float) -> Table:
    """One line per file, a mark per service."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("file", overflow="ellipsis", no_wrap=True, max_width=32)
    for service in ORDER:
        table.add_column(service.value)
    table.add_column(clock(seconds), justify="right")
    for file in files:
        cells = [_cell(file.marks.get(service)) for service in ORDER]
        table.add_row(readable(file.path).rpartition("/")[2], *cells, _outcome(file))
    return table


def _cell(mark: Mark | None) -> Text:
    if mark is None:
        return Text("–", style="dim")
    text = MARKS[mark.state]
    if mark.state is State.WORKING and mark.progress > 0:
        text += f" {mark.progress:.0%}"
    if mark.ended and mark.reason:
        text += f" {mark.reason}"
    elif mark.ended and mark.seconds is not None:
        text += f" {mark.seconds:.1f} s"
    return Text(text, style=COLOURS[mark.state])


def _outcome(file: FileProgress) -> Text:
    if file.outcome is None:
        return Text("")
    style = "green" if file.ok else "red"
    return Text((file.reason or file.outcome) if file.ended else "", style=style)


def plain_line(file: FileProgress, service: Service) -> str:
    """A change of one service, for logs and pipes."""
    mark = file.marks[service]
    detail = f" ({mark.reason})" if mark.ended and mark.reason else ""
    seconds = f" {mark.seconds:.1f} s" if mark.ended and mark.seconds is not None else ""
    return f"{readable(file.path)}: {service} {mark.state}{detail}{seconds}"


def ending_line(file: FileProgress) -> str:
    """What became of a file, in one sentence."""
    path = readable(file.path)
    if file.outcome == "rejected":
        return f"{path}: rejected ({file.reason}). {file.message}"
    if file.outcome == "duplicate":
        return f"{path}: known already as {file.media_id} ({file.reason}). {file.message}"
    failed = [service.value for service, mark in file.marks.items() if mark.state is State.FAILED]
    if failed:
        return f"{path}: {file.media_id}, but {', '.join(failed)} failed. See: phonograph jobs list"
    return f"{path}: {file.media_id}"


def recording(shown: dict[str, Any]) -> RenderableType:
    """Everything known of one recording."""
    media = shown["media"]
    parts: list[RenderableType] = [_facts(shown)]
    tracklist, highlights, transcript = shown["tracklist"], shown["highlights"], shown["transcript"]
    if tracklist and tracklist["tracks"]:
        rows = [(str(t["position"]), clock(t["start_time"]), track_name(t)) for t in tracklist["tracks"]]
        parts.append(_table(f"Tracklist ({tracklist['source_type']})", rows))
    if shown["rename"]:
        parts.append(Text(f"Better name: {shown['rename']['proposed_filename']}", style="yellow"))
    if highlights and highlights["segments"]:
        segments = [
            (clock(s["start"]), s["title"], ", ".join(s["keywords"][:5])) for s in highlights["segments"]
        ]
        parts.append(_table("Topics", segments))
    if highlights and highlights["clips"]:
        clips = [(clock(c["start"]), c["title"], c["uri"]) for c in highlights["clips"]]
        parts.append(_table("Clips", clips))
    if transcript and transcript["segments"]:
        said = transcript["segments"]
        lines = [(clock(s["start"]), s["speaker"] or "", s["text"]) for s in said[:MAX_SEGMENTS]]
        if len(said) > MAX_SEGMENTS:
            lines.append(("…", "", f"{len(said) - MAX_SEGMENTS} more: phonograph export ID --format txt"))
        title = f"Transcript {transcript['pipeline_version']} ({transcript['engine']}, {transcript['model']})"
        parts.append(_table(title, lines))
    notes = [f"{job['service']}: {job['status']}, {job['reason']}" for job in shown["jobs"] if job["reason"]]
    parts += [Text(note, style="dim") for note in dict.fromkeys(notes)]
    return Panel(Group(*parts), title=f"{media['file_name']}", subtitle=media["media_id"], title_align="left")


def _facts(shown: dict[str, Any]) -> Text:
    media, music, speakers = shown["media"], shown["music"], shown["speakers"]
    facts = [media["mime_type"]] if media["mime_type"] else []
    if media["duration_s"] is not None:
        facts.append(clock(media["duration_s"]))
    if media["status"] != "ready":
        facts.append(media["status"])
    if music and music["bpm"] is not None:
        facts.append(f"{music['bpm']:.1f} BPM")
    if music and music["key"]:
        facts.append(f"{music['key']} {music['scale']}")
    if music and music["loudness_lufs"] is not None:
        facts.append(f"{music['loudness_lufs']:.1f} LUFS")
    if speakers and speakers["count"]:
        facts.append(f"{speakers['count']} speaker{'s' if speakers['count'] > 1 else ''}")
    return Text(" · ".join(facts), style="bold")


def _table(title: str, rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(title=title, box=None, show_header=False, title_justify="left", pad_edge=False)
    for _ in rows[0]:
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def listing(columns: list[str], rows: list[list[str]]) -> Table:
    """A plain table of anything."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    return table
