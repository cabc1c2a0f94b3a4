"""Who said what: gives the words of a transcript the speakers of a diarization."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby

from phonograph_transcription.domain.transcript import (
    Segment,
    Transcript,
    TranscriptWarning,
    WarningCode,
    Word,
    mean_confidence,
)

TOLERANCE_S = 0.5
"""How far from a turn a word may lie and still be its speaker's: the two engines hear edges differently."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker talking."""

    start_s: float
    end_s: float
    speaker: str


class Turns:
    """The turns of a recording; they may overlap."""

    def __init__(self, turns: Iterable[Turn]) -> None:
        self._turns = sorted(turns, key=lambda turn: (turn.start_s, turn.end_s, turn.speaker))
        self._starts = [turn.start_s for turn in self._turns]
        self._reaches = list(accumulate((turn.end_s for turn in self._turns), max))

    def __len__(self) -> int:
        return len(self._turns)

    def speaker(self, start_s: float, end_s: float, previous: str | None) -> str | None:
        """Who speaks in a stretch; see `with_speakers`. `previous` spoke just before."""
        near = self._near(start_s, end_s)
        overlaps: dict[str, float] = defaultdict(float)
        gaps: dict[str, float] = {}
        for turn in near:
            shared = min(end_s, turn.end_s) - max(start_s, turn.start_s)
            if shared > 0:
                overlaps[turn.speaker] += shared
            elif -shared <= TOLERANCE_S:
                gaps[turn.speaker] = min(-shared, gaps.get(turn.speaker, TOLERANCE_S))
        ranked = {speaker: -overlap for speaker, overlap in overlaps.items()} or gaps
        if not ranked:
            return None
        best = min(ranked.values())
        tied = [speaker for speaker, rank in ranked.items() if rank - best < 1e-6]
        return previous if previous in tied else tied[0]

    def _near(self, start_s: float, end_s: float) -> Sequence[Turn]:
        first = bisect_left(self._reaches, start_s - TOLERANCE_S)
        return self._turns[first : bisect_right(self._starts, end_s + TOLERANCE_S)]


def with_speakers(transcript: Transcript, turns: Turns) -> Transcript:
    """Give each word a speaker and split segments where the speaker changes.

    A word belongs to the speaker whose turns overlap it most; in a tie to the one who spoke the word before,
    else to the one whose turn began first. A word outside all turns belongs to the nearest turn within
    `TOLERANCE_S`, else to nobody (null). A word without times follows the word before it in its segment, else
    the one after it. Only words split a segment: a turn without words leaves no trace. No word is added, lost
    or moved.
    """
    segments: list[Segment] = []
    previous: str | None = None
    for segment in transcript.segments:
        segments.extend(_split(segment, turns, previous))
        previous = segments[-1].speaker
    merged = replace(transcript, segments=tuple(segments))
    kept = tuple(warned for warned in transcript.warnings if warned.segment is None)
    moved = tuple(_moved(transcript, merged))
    return replace(merged, warnings=(*kept, *moved, *_warnings(merged, turns)))


def _split(segment: Segment, turns: Turns, previous: str | None) -> Iterator[Segment]:
    words = _spoken(segment, turns, previous)
    if not words:
        yield replace(segment, speaker=turns.speaker(segment.start_s, segment.end_s, previous))
        return
    runs = [tuple(run) for _, run in groupby(words, key=lambda word: word.speaker)]
    start = segment.start_s
    for run, following, text in zip(runs, [*runs[1:], ()], _cut(segment.text, runs), strict=True):
        end = max(_end(run, following, segment), start)
        yield Segment(
            start_s=start,
            end_s=end,
            text=text,
            words=run,
            confidence=segment.confidence if len(runs) == 1 else mean_confidence(run),
            speaker=run[0].speaker,
        )
        start = max(min(_starts(following), default=end), start)


def _spoken(segment: Segment, turns: Turns, previous: str | None) -> list[Word]:
    words = segment.words
    first = next((number for number, word in enumerate(words) if word.start_s is not None), None)
    if first is None:
        speaker = turns.speaker(segment.start_s, segment.end_s, previous)
        return [replace(word, speaker=speaker) for word in words]
    spoken: list[Word] = []
    for word in words[first:]:
        if word.start_s is not None:
            end = word.start_s if word.end_s is None else word.end_s
            previous = turns.speaker(word.start_s, end, previous)
        spoken.append(replace(word, speaker=previous))
    return [replace(word, speaker=spoken[0].speaker) for word in words[:first]] + spoken


def _end(run: Sequence[Word], following: Sequence[Word], segment: Segment) -> float:
    """Where a piece ends: the last one with its segment, others with their last timed word."""
    if not following:
        return segment.end_s
    ends = [word.end_s for word in run if word.end_s is not None]
    return max(ends) if ends else min(_starts(following), default=segment.start_s)


def _starts(words: Sequence[Word]) -> list[float]:
    return [word.start_s for word in words if word.start_s is not None]


def _cut(text: str, runs: Sequence[Sequence[Word]]) -> list[str]:
    """The text of each run, as the engine wrote it: not every language puts spaces between words."""
    cuts: list[int] = []
    position = 0
    for run in runs:
        cuts.append(position)
        for number, word in enumerate(run):
            found = text.find(word.text, position)
            if found < 0:
                return [" ".join(word.text for word in run) for run in runs]
            if number == 0 and cuts[-1] > 0:
                cuts[-1] = found
            position = found + len(word.text)
    return [text[start:end].strip() for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def _moved(before: Transcript, after: Transcript) -> Iterator[TranscriptWarning]:
    """Warnings on segments, at the pieces that took their place."""
    for warned in before.warnings:
        if warned.segment is None:
            continue
        start = before.segments[warned.segment].start_s
        end = before.segments[warned.segment].end_s
        for number, piece in enumerate(after.segments):
            if start <= piece.start_s and piece.end_s <= end:
                yield replace(warned, segment=number)


def _warnings(merged: Transcript, turns: Turns) -> Iterator[TranscriptWarning]:
    if not merged.segments:
        return
    if not len(turns):
        yield TranscriptWarning(
            WarningCode.NO_SPEAKERS, "The diarization found no speakers; no word has one."
        )
        return
    for number, segment in enumerate(merged.segments):
        if segment.speaker is None:
            yield TranscriptWarning(
                WarningCode.UNKNOWN_SPEAKER, f"No speaker's turn lies within {TOLERANCE_S} s.", number
            )
