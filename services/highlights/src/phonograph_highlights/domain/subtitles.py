"""Subtitles of a clip: words gathered into cues of two short lines, as SRT or WebVTT.

Line length and duration follow the usual rules of broadcasters (42 characters, two lines, 1 to 7 s).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pysubs2

from phonograph_highlights.domain.regions import Span
from phonograph_highlights.domain.speech import PAUSE_S, Utterance, Word, written

LINE_LENGTH = 42
MIN_CUE_S = 1.0
MAX_CUE_S = 7.0

# pysubs2 reads braces and backslashes as styling and drops them.
_SAFE = str.maketrans({"{": "(", "}": ")", "\\": "/"})
_VTT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class Cue:
    """Lines shown together; times in whole milliseconds from the start of the clip."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues(spoken: Sequence[Utterance], clip: Span) -> list[Cue]:
    """Cues for the words said inside the clip; they never overlap."""
    groups = [
        group
        for utterance in spoken
        for group in _groups([w for w in utterance.words if clip.start_s <= w.middle_s <= clip.end_s])
    ]
    groups.sort(key=lambda group: group[0].start_s)
    length_ms = _ms(clip.duration_s)
    starts = [_ms(group[0].start_s - clip.start_s) for group in groups]
    shown: list[Cue] = []
    free_ms = 0
    for group, begins_ms, next_ms in zip(groups, starts, [*starts[1:], length_ms], strict=True):
        start_ms = max(begins_ms, free_ms)
        said_ms = _ms(max(word.end_s for word in group) - clip.start_s)
        end_ms = max(said_ms, start_ms + _ms(MIN_CUE_S))
        free_ms = min(end_ms, next_ms if next_ms > start_ms else end_ms, length_ms)
        if free_ms > start_ms:
            shown.append(Cue(start_ms, free_ms, _lines(group)))
    return shown


def render(shown: Sequence[Cue], form: Literal["srt", "vtt"]) -> str:
    """Cues as a subtitle file."""
    file = pysubs2.SSAFile()
    for cue in shown:
        event = pysubs2.SSAEvent(start=cue.start_ms, end=cue.end_ms)
        text = "\n".join(cue.lines).translate(_SAFE)
        event.plaintext = text.translate(_VTT) if form == "vtt" else text
        file.append(event)
    return file.to_string(form)


def _groups(words: Sequence[Word]) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in (piece for whole in words for piece in _pieces(whole)):
        if group and (
            word.start_s - group[-1].end_s >= PAUSE_S
            or word.end_s - group[0].start_s > MAX_CUE_S
            or not _fits([*group, word])
        ):
            yield group
            group = []
        group.append(word)
    if group:
        yield group


def _pieces(word: Word) -> Iterator[Word]:
    """A word longer than a line (scripts without spaces) in pieces that share its time."""
    count = -(-len(word.text) // LINE_LENGTH)
    step_s = (word.end_s - word.start_s) / max(count, 1)
    for i in range(count):
        text = word.text[i * LINE_LENGTH : (i + 1) * LINE_LENGTH]
        yield Word(text, word.start_s + i * step_s, word.start_s + (i + 1) * step_s)


def _fits(words: Sequence[Word]) -> bool:
    return len(_line(words)) <= LINE_LENGTH or _two_lines(words) is not None


def _lines(words: Sequence[Word]) -> tuple[str, ...]:
    line = _line(words)
    return (line,) if len(line) <= LINE_LENGTH else _two_lines(words) or (line,)


def _two_lines(words: Sequence[Word]) -> tuple[str, str] | None:
    """The most even break into two lines; null where they cannot both be short enough."""
    breaks = ((_line(words[:at]), _line(words[at:])) for at in range(1, len(words)))
    fitting = [pair for pair in breaks if max(map(len, pair)) <= LINE_LENGTH]
    return min(fitting, key=lambda pair: abs(len(pair[0]) - len(pair[1])), default=None)


def _line(words: Sequence[Word]) -> str:
    return written(word.text for word in words)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
