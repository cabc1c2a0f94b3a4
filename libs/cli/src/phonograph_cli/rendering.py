"""Progress and results as tables and lines for people."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from phonograph_cli.export_formats import Recording, clock, track_name
from phonograph_cli.locations import printable
from phonograph_cli.progress import FileProgress, ServiceProgress, State
from phonograph_events import IdentityState, Service

Rows: TypeAlias = list[tuple[str, ...]]

SYMBOLS = {State.WAITING: "·", State.WORKING: "▸", State.DONE: "✓", State.FAILED: "✗"}
STYLES = {State.WAITING: "dim", State.WORKING: "cyan", State.DONE: "green", State.FAILED: "red"}
SERVICES = [
    Service.INGEST,
    Service.ANALYSIS,
    Service.TRANSCRIPTION,
    Service.DIARIZATION,
    Service.TRACKLIST,
    Service.HIGHLIGHTS,
]
"""Services in the order of their columns."""
MAX_SEGMENTS = 12
MAX_KEYWORDS = 5


def progress_table(files: list[FileProgress], elapsed_s: float) -> Table:
    """Return a table with one row per file and one column per service.

    Args:
        files: Files to show.
        elapsed_s: Time since the files were requested, for the header.
    """
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("file", overflow="ellipsis", no_wrap=True, max_width=32)
    for service in SERVICES:
        table.add_column(service.value)
    table.add_column(clock(elapsed_s), justify="right")
    for file in files:
        cells = [_service_cell(file.services.get(service)) for service in SERVICES]
        table.add_row(printable(file.path).rpartition("/")[2], *cells, _outcome_cell(file))
    return table


def change_line(file: FileProgress, service: Service) -> str:
    """Return the progress of one service with a file as a line for logs and pipes."""
    progress = file.services[service]
    reason = f" ({progress.reason})" if progress.is_ended and progress.reason else ""
    seconds = f" {progress.seconds:.1f} s" if progress.is_ended and progress.seconds is not None else ""
    return f"{printable(file.path)}: {service} {progress.state}{reason}{seconds}"


def outcome_line(file: FileProgress) -> str:
    """Return what became of a file, in one sentence."""
    path = printable(file.path)
    if file.outcome == "rejected":
        return f"{path}: rejected ({file.reason}). {file.message}"
    if file.outcome == "duplicate":
        return f"{path}: already known as {file.media_id} ({file.reason}). {file.message}"
    if file.failed_services:
        failed = ", ".join(service.value for service in file.failed_services)
        return f"{path}: {file.media_id}, but {failed} failed. See: phonograph jobs list"
    return f"{path}: {file.media_id}"


def rerun_lines(file: FileProgress) -> list[str]:
    """Return what became of a request to process a recording again: a line for each failure, or one."""
    failures = [
        f"{printable(file.path)}: {service} failed ({each.reason}). {each.message}"
        for service, each in file.services.items()
        if each.state is State.FAILED
    ]
    return failures or [f"{printable(file.path)}: done. See: phonograph history {file.media_id}"]


def recording_panel(recording: Recording) -> RenderableType:
    """Return everything known about one recording."""
    media = recording["media"]
    sections = (
        _rejection, _warnings, _tracklist, _rename, _suggestions, _topics, _clips, _transcript, _job_notes,
    )  # fmt: skip
    parts = [_facts(recording), *(part for section in sections for part in section(recording))]
    return Panel(
        Group(*parts),
        title=Text(printable(media["file_name"] or "")),
        subtitle=media["media_id"],
        title_align="left",
    )


def listing(columns: list[str], rows: list[list[str]]) -> Table:
    """Return a plain table with a header."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*row)
    return table


def _service_cell(progress: ServiceProgress | None) -> Text:
    if progress is None:
        return Text("–", style="dim")
    text = SYMBOLS[progress.state]
    if progress.state is State.WORKING and progress.progress > 0:
        text += f" {progress.progress:.0%}"
    if progress.is_ended and progress.reason:
        text += f" {progress.reason}"
    elif progress.is_ended and progress.seconds is not None:
        text += f" {progress.seconds:.1f} s"
    return Text(text, style=STYLES[progress.state])


def _outcome_cell(file: FileProgress) -> Text:
    if not file.is_ended:
        return Text("")
    return Text(file.reason or file.outcome or "", style="green" if file.has_succeeded else "red")


def _facts(recording: Recording) -> Text:
    media, music, speakers = recording["media"], recording["music"] or {}, recording["speakers"] or {}
    count = speakers.get("count")
    facts = [
        media["mime_type"],
        _formatted(media["duration_s"], clock),
        media["status"] if media["status"] != "ready" else None,
        _formatted(music.get("bpm"), _tempo_format(music).format),
        _key(music),
        _formatted(music.get("loudness_lufs"), "{:.1f} LUFS".format),
        f"{count} speaker{'s' if count > 1 else ''}" if count else None,
    ]
    return Text(" · ".join(fact for fact in facts if fact), style="bold")


def _tempo_format(music: Mapping[str, Any]) -> str:
    changes = len(music.get("tempo_sections") or ()) > 1
    mark = " (to be checked)" if music.get("tempo_needs_review") else " (changes)" if changes else ""
    return f"{{:.1f}} BPM{mark}"


def _key(music: Mapping[str, Any]) -> str | None:
    if not music.get("key"):
        return None
    camelot = f" ({music['camelot']})" if music.get("camelot") else ""
    return f"{music['key']} {music['scale']}{camelot}"


def _formatted(value: float | None, text: Callable[[float], str]) -> str | None:
    return None if value is None else text(value)


def _rejection(recording: Recording) -> Iterator[RenderableType]:
    if recording["media"].get("message"):
        yield Text(printable(recording["media"]["message"]), style="red")


def _warnings(recording: Recording) -> Iterator[RenderableType]:
    """Yield the warnings about the file, its tracklist, its transcript and its speakers, each once."""
    speakers = recording["speakers"] or {}
    transcript, tracklist = recording["transcript"] or {}, recording["tracklist"] or {}
    sentences = [
        *recording["media"].get("warnings", []),
        *tracklist.get("warnings", []),
        *(warning["message"] for warning in transcript.get("warnings", [])),
        *(warning["message"] for warning in speakers.get("warnings", [])),
    ]
    for sentence in dict.fromkeys(sentences):
        yield Text(f"Warning: {sentence}", style="yellow")


def _tracklist(recording: Recording) -> Iterator[RenderableType]:
    tracklist = recording["tracklist"]
    if tracklist and tracklist["tracks"]:
        rows: Rows = [
            (str(track["position"]), clock(track["start_time"]), track_name(track))
            for track in tracklist["tracks"]
        ]
        yield _titled_table(f"Tracklist ({tracklist['source_type']})", rows)


def _rename(recording: Recording) -> Iterator[RenderableType]:
    if recording["rename"]:
        yield Text(f"Better name: {recording['rename']['proposed_filename']}", style="yellow")


def _suggestions(recording: Recording) -> Iterator[RenderableType]:
    people = (recording["speakers"] or {}).get("people", [])
    for each in people:
        if each["state"] == IdentityState.SUGGESTED and each["name"]:
            question = f"{each['label']} may be {each['name']} ({each['score']:.2f})"
            yield Text(f"{question}: phonograph speakers confirm|refuse ID {each['label']}", style="yellow")


def _topics(recording: Recording) -> Iterator[RenderableType]:
    highlights = recording["highlights"]
    if highlights and highlights["segments"]:
        rows: Rows = [
            (
                clock(segment["start"]),
                segment["title"],
                ", ".join(segment["keywords"][:MAX_KEYWORDS]),
                ", ".join(segment.get("speakers", [])),
            )
            for segment in highlights["segments"]
        ]
        yield _titled_table("Topics", rows)


def _clips(recording: Recording) -> Iterator[RenderableType]:
    highlights = recording["highlights"]
    if highlights and highlights["clips"]:
        rows: Rows = [(clock(clip["start"]), clip["title"], clip["uri"]) for clip in highlights["clips"]]
        yield _titled_table("Clips", rows)


def _transcript(recording: Recording) -> Iterator[RenderableType]:
    transcript = recording["transcript"]
    if transcript and transcript["segments"]:
        segments = transcript["segments"]
        rows: Rows = [
            (clock(segment["start"]), segment["speaker"] or "", segment["text"])
            for segment in segments[:MAX_SEGMENTS]
        ]
        if len(segments) > MAX_SEGMENTS:
            rows.append(("…", "", f"{len(segments) - MAX_SEGMENTS} more: phonograph export ID --format txt"))
        made = ", ".join([transcript["engine"], transcript["model"], *transcript.get("languages", [])])
        yield _titled_table(f"Transcript {transcript['pipeline_version']} ({made})", rows)
        yield from _accuracy(recording.get("accuracy") or {})


def _accuracy(accuracy: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield the accuracy of a transcript, or the estimate of its engine if no text was compared with it."""
    if accuracy.get("accuracy") is not None:
        source = printable(accuracy["accuracy_source"])
        yield Text(f"{accuracy['accuracy']:.1%} of the words are right, compared with {source}", style="dim")
    elif accuracy.get("accuracy_estimate") is not None:
        yield Text(f"About {accuracy['accuracy_estimate']:.0%} right by the engine's estimate", style="dim")


def _job_notes(recording: Recording) -> Iterator[RenderableType]:
    notes = (
        f"{job['service']}: {job['status']}, {job['reason']}" for job in recording["jobs"] if job["reason"]
    )
    for note in dict.fromkeys(notes):  # several jobs of a service may end alike
        yield Text(note, style="dim")


def _titled_table(title: str, rows: Rows) -> Table:
    table = Table(title=title, box=None, show_header=False, title_justify="left", pad_edge=False)
    for _ in rows[0]:
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
