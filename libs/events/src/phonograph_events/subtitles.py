"""Subtitles of a transcript: words grouped into cues of two short lines, as SRT or WebVTT.

All subtitles of the system are written here: those of clips and those of exports obey the same rules. Line
length and duration are those of broadcasters (42 characters, two lines, 1 to 7 s).
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Literal

from phonograph_events.documents import TranscriptSegment

LINE_LENGTH: Final = 42
MIN_CUE_S: Final = 1.0
MAX_CUE_S: Final = 7.0
PAUSE_S: Final = 0.7
"""A pause of this length ends a cue."""

SubtitleFormat = Literal["srt", "vtt"]

_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
# Players read braces and backslashes in SRT as styling and hide them.
_WITHOUT_STYLING = str.maketrans({"{": "(", "}": ")", "\\": "/"})
_VTT_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_MIN_CUE_MS: Final = round(MIN_CUE_S * 1000)
_MAX_CUE_MS: Final = round(MAX_CUE_S * 1000)


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A spoken word; times in seconds of the recording."""

    text: str
    start_s: float
    end_s: float
    is_spaced: bool | None = None
    """Whether a space precedes it; None if the scripts of both words decide."""

    @property
    def middle_s(self) -> float:
        """Middle of its time, in seconds."""
        return (self.start_s + self.end_s) / 2


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words of one speaker; a phrase starts a new cue, or a new line if it is too short for its own."""

    words: Sequence[TimedWord]
    label: str = ""
    """Text before the first word, such as `S1:`."""
    voice: str = ""
    """Speaker whom WebVTT names in a tag."""

    @property
    def start_s(self) -> float:
        """Start of the first word, in seconds."""
        return self.words[0].start_s

    @property
    def end_s(self) -> float:
        """Latest end of a word, in seconds."""
        return max(word.end_s for word in self.words)


@dataclass(frozen=True, slots=True)
class Cue:
    """Lines shown together; times in milliseconds from the start of the clip or recording."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    voices: tuple[str, ...] = ()
    """Speaker of each line; empty if none is named in tags."""


def split_into_words(segment: TranscriptSegment) -> list[TimedWord]:
    """Return the words of a segment as its text spells them, with times that never run backwards.

    Words without times share the time between their neighbors in proportion to their length. If the engine
    reports other words than those of the text, all share the time of the segment.
    """
    recognized = [word for word in segment.words if _clean(word.word)]
    words = [(_clean(word.word), word.is_spaced) for word in recognized]
    text = _clean(segment.text)
    spelled = _spell(text, [word for word, _ in words]) if text else words
    known = [(word.start, word.end) for word in recognized]
    if len(known) != len(spelled):
        known = [(None, None)] * len(spelled)
    start_s = max(segment.start, 0.0)
    times = _fill_times([len(text) for text, _ in spelled], known, start_s, max(segment.end, start_s))
    return [TimedWord(text, *time, is_spaced) for (text, is_spaced), time in zip(spelled, times, strict=True)]


def join_words(words: Iterable[TimedWord]) -> str:
    """Join words with spaces, except where their text or their script has none."""
    line = ""
    for word in words:
        is_spaced = word.is_spaced
        if is_spaced is None:
            is_spaced = not (line and _UNSPACED.match(line[-1]) and _UNSPACED.match(word.text[0]))
        line += f" {word.text}" if line and is_spaced else word.text
    return line


def build_cues(phrases: Iterable[Phrase], *, start_s: float = 0.0, end_s: float | None = None) -> list[Cue]:
    """Return the cues of a clip or of a whole recording, in the order of time; they do not overlap.

    Each cue lasts from 1 to 7 s: words too short for that share a cue with those that follow, and where they
    do not fit, cues start up to that much later or earlier. Only if a clip is shorter than that for all its
    cues, they share its time.

    Args:
        phrases: What is said, in any order.
        start_s: Start of the clip, from which the times of cues count, in seconds of the recording.
        end_s: End of the clip; None for an open end. Words whose middle is outside the clip are left out.
    """
    until_s = float("inf") if end_s is None else end_s
    inside = (
        replace(phrase, words=[word for word in phrase.words if start_s <= word.middle_s <= until_s])
        for phrase in phrases
    )
    groups = sorted((group for phrase in inside for group in _group_words(phrase)), key=_start_of)
    shared = _share_cues(groups)
    wanted = [
        (_to_ms(phrases[0].start_s - start_s), _to_ms(max(p.end_s for p in phrases) - start_s))
        for phrases in shared
    ]
    placed = _place(wanted, None if end_s is None else _to_ms(end_s - start_s))
    return [
        Cue(start_ms, end_ms, lines := _break_lines(phrases) or (), _name_voices(phrases, len(lines)))
        for phrases, (start_ms, end_ms) in zip(shared, placed, strict=True)
        if end_ms > start_ms
    ]


def build_transcript_cues(
    segments: Iterable[TranscriptSegment],
    *,
    duration_s: float | None = None,
    has_voice_tags: bool = False,
) -> list[Cue]:
    """Return the cues of a whole transcript.

    Args:
        segments: Segments in any order.
        duration_s: Length of the recording; None if unknown.
        has_voice_tags: Whether every cue names its speaker in tags of WebVTT; otherwise the first cue of each
            segment begins with the speaker.
    """
    phrases = [
        _to_phrase(words, _clean(segment.speaker or ""), has_voice_tags=has_voice_tags)
        for segment in segments
        if (words := split_into_words(segment))
    ]
    if duration_s is not None:
        # The cues of a transcript that is longer than its recording are not squeezed into it.
        duration_s = max([duration_s, *(phrase.end_s for phrase in phrases)])
    return build_cues(phrases, end_s=duration_s)


def render_cues(cues: Sequence[Cue], subtitle_format: SubtitleFormat) -> str:
    """Return cues as the text of a subtitle file."""
    is_vtt = subtitle_format == "vtt"
    blocks = ["WEBVTT\n\n"] if is_vtt else []
    for number, cue in enumerate(cues, 1):
        lines = [line.translate(_VTT_ENTITIES if is_vtt else _WITHOUT_STYLING) for line in cue.lines]
        text = "\n".join(_tag_voices(lines, cue.voices) if is_vtt else lines)
        times = f"{_clock(cue.start_ms)} --> {_clock(cue.end_ms)}"
        blocks.append(f"{number}\n{times if is_vtt else times.replace('.', ',')}\n{text}\n\n")
    return "".join(blocks)


def _to_phrase(words: Sequence[TimedWord], speaker: str, *, has_voice_tags: bool) -> Phrase:
    if has_voice_tags:
        return Phrase(words, voice=speaker)
    return Phrase(words, f"{speaker[: LINE_LENGTH - 1]}:" if speaker else "")


def _name_voices(phrases: Sequence[Phrase], lines: int) -> tuple[str, ...]:
    """Return the speaker of each line of a cue; none if no speaker is to be named in tags."""
    voices = [phrase.voice for phrase in phrases]
    if not any(voices):
        return ()
    return tuple(voices) if len(set(voices)) > 1 else (voices[0],) * lines


def _tag_voices(lines: Sequence[str], voices: Sequence[str]) -> list[str]:
    """Return lines with a tag where the speaker changes."""
    tagged: list[str] = []
    speaker = ""
    for line, voice in zip(lines, voices or [""] * len(lines), strict=True):
        if voice != speaker and speaker:
            tagged[-1] += "</v>"
        name = voice.translate(_VTT_ENTITIES)
        tagged.append(f"<v {name}>{line}" if voice and voice != speaker else line)
        speaker = voice
    if speaker and len(set(voices)) > 1:
        tagged[-1] += "</v>"  # only a tag around the whole cue may stay open
    return tagged


def _clean(text: str) -> str:
    """Return the text on one line, without control characters."""
    kept = (c for c in text if c.isspace() or unicodedata.category(c) not in {"Cc", "Cs"})
    return " ".join("".join(kept).split())


def _spell(text: str, words: list[str]) -> list[tuple[str, bool | None]]:
    """Return the words as the text spells them, each with whether a space precedes it in the text."""
    if "".join(text.split()) != "".join("".join(words).split()):
        return [(token, True if number else None) for number, token in enumerate(text.split())]
    spelled: list[tuple[str, bool | None]] = []
    position = 0
    for word in words:
        is_spaced = text[position] == " "
        begin = position = position + is_spaced
        for _ in "".join(word.split()):
            position += 1 + (text[position] == " ")
        # The text says nothing about what precedes its first word.
        spelled.append((text[begin:position], is_spaced if spelled else None))
    return spelled


def _fill_times(
    lengths: Sequence[int],
    known: Sequence[tuple[float | None, float | None]],
    start_s: float,
    end_s: float,
) -> list[tuple[float, float]]:
    """Return a start and an end for each word, in order.

    Args:
        lengths: Characters of each word.
        known: Start and end of each word so far as they are known.
        start_s: Start of the segment.
        end_s: End of the segment.
    """
    times: list[tuple[float, float]] = []
    position = 0
    while position < len(known):
        start, end = known[position]
        following = next((i for i in range(position, len(known)) if known[i][0] is not None), len(known))
        earliest_s = times[-1][0] if times else 0.0
        if start is not None:
            start = max(start, earliest_s)
            times.append((start, start if end is None else max(end, start)))
            position += 1
            continue
        next_start = known[following][0] if following < len(known) else None
        from_s = max(times[-1][1] if times else start_s, earliest_s)
        to_s = max(end_s if next_start is None else next_start, from_s)
        total, done = sum(lengths[position:following]), 0
        for length in lengths[position:following]:
            share_start_s = from_s + (to_s - from_s) * done / total
            done += length
            times.append((share_start_s, from_s + (to_s - from_s) * done / total))
        position = following
    return times


def _start_of(phrase: Phrase) -> float:
    return phrase.start_s


def _group_words(phrase: Phrase) -> Iterator[Phrase]:
    """Divide a phrase into groups that fit into a cue; only the first has its label."""
    label, voice = phrase.label, phrase.voice
    group: list[TimedWord] = []
    for word in (piece for whole in phrase.words for piece in _split_word(whole)):
        if group and (
            word.start_s - group[-1].end_s >= PAUSE_S
            or word.end_s - group[0].start_s > MAX_CUE_S
            or _break_lines([Phrase([*group, word], label)]) is None
        ):
            yield Phrase(group, label, voice)
            group, label = [], ""
        group.append(word)
    if group:
        yield Phrase(group, label, voice)


def _split_word(word: TimedWord) -> Iterator[TimedWord]:
    """Split a word longer than a line (scripts without spaces) into pieces that share its time."""
    count = -(-len(word.text) // LINE_LENGTH)
    step_s = (word.end_s - word.start_s) / max(count, 1)
    for i in range(count):
        text = word.text[i * LINE_LENGTH : (i + 1) * LINE_LENGTH]
        start_s = word.start_s + i * step_s
        yield TimedWord(text, start_s, start_s + step_s, False if i else word.is_spaced)


def _share_cues(groups: Sequence[Phrase]) -> list[list[Phrase]]:
    """Put groups into one cue where the first alone would be shown for less than the minimum."""
    shared: list[list[Phrase]] = []
    for group in groups:
        if shared:
            together = [*shared[-1], group]
            start_s = together[0].start_s
            is_short = group.start_s - start_s < MIN_CUE_S
            if is_short and group.end_s - start_s <= MAX_CUE_S and _break_lines(together) is not None:
                shared[-1] = together
                continue
        shared.append([group])
    return shared


def _place(wanted: Sequence[tuple[int, int]], limit_ms: int | None) -> list[tuple[int, int]]:
    """Return times for cues, in ms, that do not overlap and are long enough.

    Args:
        wanted: Start and end of what is said in each cue, in the order of starts.
        limit_ms: Time at which the last cue must end; None for an open end.
    """
    placed: list[tuple[int, int]] = []
    free_ms = 0
    for number, (spoken_ms, end_ms) in enumerate(wanted):
        start_ms = max(spoken_ms, free_ms)
        free_ms = max(end_ms, start_ms + _MIN_CUE_MS)
        if number + 1 < len(wanted):
            free_ms = min(free_ms, max(wanted[number + 1][0], start_ms + _MIN_CUE_MS))
        free_ms = min(free_ms, start_ms + _MAX_CUE_MS)
        placed.append((start_ms, free_ms))
    if limit_ms is None:
        return placed
    # The last cues end with the clip: they start earlier, and so do those before them.
    for number in reversed(range(len(placed))):
        start_ms, end_ms = placed[number]
        end_ms = min(end_ms, limit_ms)
        limit_ms = min(start_ms, end_ms - _MIN_CUE_MS)
        placed[number] = (limit_ms, end_ms)
    if placed and placed[0][0] < 0:
        whole_ms, count = placed[-1][1], len(placed)
        borders = [whole_ms * number // count for number in range(count + 1)]
        placed = list(pairwise(borders))
    return placed


def _break_lines(phrases: Sequence[Phrase]) -> tuple[str, ...] | None:
    """Return one or two lines that show the phrases, or None if they do not fit.

    A phrase with a label or of another speaker starts a line.
    """
    if any(phrase.label or phrase.voice != phrases[0].voice for phrase in phrases[1:]):
        lines = tuple(_to_line(phrase.label, phrase.words) for phrase in phrases)
        return lines if len(lines) == 2 and max(map(len, lines)) <= LINE_LENGTH else None
    label, words = phrases[0].label, [word for phrase in phrases for word in phrase.words]
    line = _to_line(label, words)
    if len(line) <= LINE_LENGTH:
        return (line,)
    breaks = ((_to_line(label, words[:at]), join_words(words[at:])) for at in range(1, len(words)))
    fitting = [pair for pair in breaks if max(map(len, pair)) <= LINE_LENGTH]
    # A label and a first word that together are too long for a line stand on two.
    if label and len(words) == 1:
        fitting.append((label, words[0].text))
    return min(fitting, key=lambda pair: abs(len(pair[0]) - len(pair[1])), default=None)


def _to_line(label: str, words: Sequence[TimedWord]) -> str:
    line = join_words(words)
    return f"{label} {line}" if label else line


def _to_ms(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(milliseconds: int) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds:03d}"
