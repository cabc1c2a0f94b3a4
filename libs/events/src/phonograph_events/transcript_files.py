"""Transcripts as files for other programs: text, subtitles, Markdown, RTTM and a summary.

The command line and the transcription service write the same files.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from phonograph_events.documents import Document, TranscriptDocument, TranscriptSegment, Turn
from phonograph_events.enums import ExportFormat
from phonograph_events.subtitles import build_transcript_cues, render_cues

SUFFIXES: Final = {each: each.value for each in ExportFormat} | {ExportFormat.SUMMARY: "summary.json"}
"""Ends of the names of the files."""
_QUESTION: Final = re.compile(r"[^.!?。！？؟…]*[^.!?。！？؟…\s][^.!?。！？؟…]*[?？؟]+")


@dataclass(frozen=True, slots=True)
class SpokenContent:
    """A transcript with what its files state of the recording."""

    file_name: str
    duration_s: float | None
    document: TranscriptDocument
    turns: Sequence[Turn] = ()
    """Turns of the diarization; without them, segments show who speaks."""


class SpeakerShare(Document):
    """The part of one speaker in a transcript; `speaker` is `null` for words of an unknown speaker."""

    speaker: str | None
    seconds: float
    share: float
    """Of the time of all speakers, from 0 to 1."""
    turns: int
    words: int


class Question(Document):
    """A sentence that ends with a question mark."""

    start: float
    """Start of the segment in which it is."""
    speaker: str | None
    text: str


class TranscriptSummary(Document):
    """Figures of a transcript: who speaks how long, and what is asked."""

    file_name: str
    duration_s: float | None
    language: str | None
    pipeline_version: str
    engine: str
    model: str
    words: int
    speech_s: float
    """Time of all turns or segments, each moment once."""
    speakers: list[SpeakerShare]
    questions: list[Question]
    warnings: list[str]


def render(content: SpokenContent, export_format: ExportFormat) -> str:
    """Return a transcript as the text of a file; it is empty if the format has nothing to show."""
    return _WRITERS[export_format](content)


def sort_spoken(segments: Iterable[TranscriptSegment]) -> list[TranscriptSegment]:
    """Return the segments with text, in the order of time."""
    spoken = [segment for segment in segments if segment.text.strip()]
    return sorted(spoken, key=lambda segment: (segment.start, segment.end))


def render_subtitles(
    segments: Sequence[TranscriptSegment], export_format: ExportFormat, duration_s: float | None
) -> str:
    """Return subtitles: WebVTT names speakers in voice tags, SRT in front of their words.

    Args:
        segments: Segments with text.
        export_format: `SRT` or `VTT`.
        duration_s: Length of the recording; None if unknown.
    """
    if not segments:
        return ""
    is_vtt = export_format is ExportFormat.VTT
    cues = build_transcript_cues(segments, duration_s=duration_s, has_voice_tags=is_vtt)
    return render_cues(cues, "vtt" if is_vtt else "srt")


def render_text(segments: Iterable[TranscriptSegment]) -> str:
    """Return a line for each segment, beginning with its speaker."""
    return "".join(
        f"{segment.speaker}: {segment.text}\n" if segment.speaker else f"{segment.text}\n"
        for segment in segments
    )


def render_markdown(segments: Iterable[TranscriptSegment]) -> list[str]:
    """Return the lines of a section with a paragraph for each segment; none without segments."""
    lines: list[str] = []
    for segment in segments:
        speaker = f"**{segment.speaker}** " if segment.speaker else ""
        lines += [f"{speaker}`{clock(segment.start)}` {segment.text}", ""]
    return ["## Transcript", "", *lines] if lines else []


def render_rttm(turns: Iterable[Turn], file_name: str) -> str:
    """Return the turns in RTTM, in the order of time."""
    # Fields are separated by spaces, so that the name must not have any.
    name = "_".join(PurePosixPath(file_name).stem.split()) or "recording"
    lasting = sorted((turn.start, turn.end, turn.speaker) for turn in turns if turn.end > turn.start)
    return "".join(
        f"SPEAKER {name} 1 {start:.3f} {end - start:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
        for start, end, speaker in lasting
    )


def summarize(content: SpokenContent) -> TranscriptSummary:
    """Return the figures of a transcript."""
    document = content.document
    spans: list[tuple[str | None, float, float]] = [
        (each.speaker, each.start, each.end) for each in content.turns or sort_spoken(document.segments)
    ]
    words: dict[str | None, int] = {}
    for segment in document.segments:
        # Text that was changed after the recognition has no words with times.
        for speaker in [w.speaker for w in segment.words] or [segment.speaker] * len(segment.text.split()):
            words[speaker] = words.get(speaker, 0) + 1
    speakers = sorted({*words, *(speaker for speaker, _, _ in spans)}, key=lambda name: name or "")
    seconds = {speaker: _covered_s((a, b) for who, a, b in spans if who == speaker) for speaker in speakers}
    total_s = sum(seconds.values())
    return TranscriptSummary(
        file_name=content.file_name,
        duration_s=content.duration_s,
        language=document.language,
        pipeline_version=document.pipeline_version,
        engine=document.engine,
        model=document.model,
        words=sum(words.values()),
        speech_s=round(_covered_s((a, b) for _, a, b in spans), 3),
        speakers=[
            SpeakerShare(
                speaker=speaker,
                seconds=round(seconds[speaker], 3),
                share=round(seconds[speaker] / total_s, 4) if total_s else 0.0,
                turns=sum(who == speaker for who, _, _ in spans),
                words=words.get(speaker, 0),
            )
            for speaker in sorted(speakers, key=lambda name: -seconds[name])
        ],
        questions=[
            Question(start=segment.start, speaker=segment.speaker, text=found.strip())
            for segment in sort_spoken(document.segments)
            for found in _QUESTION.findall(segment.text)
        ],
        warnings=list(dict.fromkeys(warning.code for warning in document.warnings)),
    )


def clock(seconds: float) -> str:
    """Return a duration as 1:02:03, or as 2:03 below an hour."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def _covered_s(spans: Iterable[tuple[float, float]]) -> float:
    """Return the seconds that are in at least one span."""
    covered = until = 0.0
    for start, end in sorted(spans):
        covered += max(end - max(start, until), 0.0)
        until = max(until, end)
    return covered


def _write_markdown(content: SpokenContent) -> str:
    lines = render_markdown(sort_spoken(content.document.segments))
    return "\n".join([f"# {content.file_name}", "", *lines]).rstrip() + "\n" if lines else ""


def _write_subtitles(content: SpokenContent, export_format: ExportFormat) -> str:
    return render_subtitles(sort_spoken(content.document.segments), export_format, content.duration_s)


_WRITERS: Final[dict[ExportFormat, Callable[[SpokenContent], str]]] = {
    ExportFormat.JSON: lambda content: content.document.model_dump_json(indent=2) + "\n",
    ExportFormat.TXT: lambda content: render_text(sort_spoken(content.document.segments)),
    ExportFormat.SRT: lambda content: _write_subtitles(content, ExportFormat.SRT),
    ExportFormat.VTT: lambda content: _write_subtitles(content, ExportFormat.VTT),
    ExportFormat.MD: _write_markdown,
    ExportFormat.SUMMARY: lambda content: summarize(content).model_dump_json(indent=2) + "\n",
    ExportFormat.RTTM: lambda content: render_rttm(content.turns, content.file_name),
}
