"""Subtitles of a clip: words grouped into cues of two short lines, as SRT or WebVTT.

Line length and duration follow the usual rules of broadcasters (42 characters, two lines, 1 to 7 s).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pysubs2

from phonograph_highlights.domain.regions import Span
from phonograph_highlights.domain.speech import PAUSE_S, Utterance, Word, join_words

LINE_LENGTH = 42
MIN_CUE_S = 1.0
MAX_CUE_S = 7.0

SubtitleFormat = Literal["srt", "vtt"]

# pysubs2 reads braces and backslashes as styling and drops them.
_WITHOUT_STYLING = str.maketrans({"{": "(", "}": ")", "\\": "/"})
_VTT_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


@dataclass(frozen=True, slots=True)
class Cue:
    """Lines shown together; times in milliseconds from the start of the clip."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def build_cues(utterances: Sequence[Utterance], clip: Span) -> list[Cue]:
    """Return cues for the words whose middle is inside the clip; they do not overlap."""
    groups = [
        group
        for utterance in utterances
        for group in _group_words([w for w in utterance.words if clip.start_s <= w.middle_s <= clip.end_s])
    ]
    groups.sort(key=lambda group: group[0].start_s)
    length_ms = _to_ms(clip.duration_s)
    starts = [_to_ms(group[0].start_s - clip.start_s) for group in groups]
    cues: list[Cue] = []
    free_ms = 0
    for group, group_start_ms, next_ms in zip(groups, starts, [*starts[1:], length_ms], strict=True):
        start_ms = max(group_start_ms, free_ms)
        spoken_ms = _to_ms(max(word.end_s for word in group) - clip.start_s)
        end_ms = max(spoken_ms, start_ms + _to_ms(MIN_CUE_S))
        free_ms = min(end_ms, next_ms if next_ms > start_ms else end_ms, length_ms)
        if free_ms > start_ms:
            cues.append(Cue(start_ms, free_ms, _break_lines(group)))
    return cues


def render_cues(cues: Sequence[Cue], subtitle_format: SubtitleFormat) -> str:
    """Return cues as the text of a subtitle file."""
    file = pysubs2.SSAFile()
    for cue in cues:
        event = pysubs2.SSAEvent(start=cue.start_ms, end=cue.end_ms)
        text = "\n".join(cue.lines).translate(_WITHOUT_STYLING)
        event.plaintext = text.translate(_VTT_ENTITIES) if subtitle_format == "vtt" else text
        file.append(event)
    return file.to_string(subtitle_format)


def _group_words(words: Sequence[Word]) -> Iterator[list[Word]]:
    group: list[Word] = []
    for word in (piece for whole in words for piece in _split_word(whole)):
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


def _split_word(word: Word) -> Iterator[Word]:
    """Split a word longer than a line (scripts without spaces) into pieces that share its time."""
    count = -(-len(word.text) // LINE_LENGTH)
    step_s = (word.end_s - word.start_s) / max(count, 1)
    for i in range(count):
        text = word.text[i * LINE_LENGTH : (i + 1) * LINE_LENGTH]
        yield Word(text, word.start_s + i * step_s, word.start_s + (i + 1) * step_s)


def _fits(words: Sequence[Word]) -> bool:
    return len(_to_line(words)) <= LINE_LENGTH or _break_in_two(words) is not None


def _break_lines(words: Sequence[Word]) -> tuple[str, ...]:
    line = _to_line(words)
    return (line,) if len(line) <= LINE_LENGTH else _break_in_two(words) or (line,)


def _break_in_two(words: Sequence[Word]) -> tuple[str, str] | None:
    """Return the most even break into two lines, or None if none makes both short enough."""
    breaks = ((_to_line(words[:at]), _to_line(words[at:])) for at in range(1, len(words)))
    fitting = [pair for pair in breaks if max(map(len, pair)) <= LINE_LENGTH]
    return min(fitting, key=lambda pair: abs(len(pair[0]) - len(pair[1])), default=None)


def _to_line(words: Sequence[Word]) -> str:
    return join_words(word.text for word in words)


def _to_ms(seconds: float) -> int:
    return round(seconds * 1000)
