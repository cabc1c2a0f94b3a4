"""Assignment of the speakers of a diarization to the words of a transcript."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise

from phonograph_transcription.domain.segmentation import is_sentence_end
from phonograph_transcription.domain.transcript import (
    Segment,
    Transcript,
    TranscriptWarning,
    WarningCode,
    Word,
    join_words,
    mean_confidence,
)

TOLERANCE_S = 0.5
"""Maximum distance of a word from the turn it belongs to: the engines place boundaries differently."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker talking; times in seconds from the start of the recording."""

    start_s: float
    end_s: float
    speaker: str


class TurnIndex:
    """The turns of a recording, searchable by time; they may overlap."""

    def __init__(self, turns: Iterable[Turn]) -> None:
        self._turns = sorted(turns, key=lambda turn: (turn.start_s, turn.end_s, turn.speaker))
        self._starts = [turn.start_s for turn in self._turns]
        # The latest end so far never decreases, so it can be searched by bisection; ends alone cannot.
        self._latest_ends = list(accumulate((turn.end_s for turn in self._turns), max))

    def __len__(self) -> int:
        return len(self._turns)

    def find_speaker(self, start_s: float, end_s: float, previous: str | None) -> str | None:
        """Return the speaker of an interval, by the rules of `assign_speakers`; None if no turn is near.

        Args:
            start_s: Start of the interval, in seconds.
            end_s: End of the interval, in seconds.
            previous: Speaker of the word before, who is preferred in a tie.
        """
        overlaps: dict[str, float] = defaultdict(float)
        gaps: dict[str, float] = {}
        for turn in self._turns_near(start_s, end_s):
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

    def is_speaking(self, speaker: str, start_s: float, end_s: float) -> bool:
        """Return whether a turn of a speaker overlaps an interval.

        Args:
            speaker: Label of the speaker.
            start_s: Start of the interval, in seconds.
            end_s: End of the interval, in seconds.
        """
        return any(
            turn.speaker == speaker and min(end_s, turn.end_s) > max(start_s, turn.start_s)
            for turn in self._turns_near(start_s, end_s)
        )

    def _turns_near(self, start_s: float, end_s: float) -> Sequence[Turn]:
        first = bisect_left(self._latest_ends, start_s - TOLERANCE_S)
        return self._turns[first : bisect_right(self._starts, end_s + TOLERANCE_S)]


def assign_speakers(transcript: Transcript, turns: TurnIndex) -> Transcript:
    """Assign a speaker to each word, and split segments where the speaker changes.

    A word belongs to the speaker whose turns overlap it most; in a tie to the speaker of the word before,
    else to the one whose turn started first. A word outside all turns belongs to the nearest turn within
    `TOLERANCE_S`, else it has no speaker (None). A word without times has the speaker of the word before it
    in its segment, else that of the word after it. Where two speakers talk at once, the first word of a
    sentence follows the rest of it. Only words split a segment: a turn without words has no
    effect. No word is added, lost or moved.
    """
    segments: list[Segment] = []
    previous: str | None = None
    for segment in transcript.segments:
        segments.extend(_split_by_speaker(segment, turns, previous))
        previous = segments[-1].speaker
    merged = replace(transcript, segments=tuple(segments))
    general = tuple(warning for warning in transcript.warnings if warning.segment is None)
    moved = tuple(_move_warnings(transcript, merged))
    return replace(merged, warnings=(*general, *moved, *_speaker_warnings(merged, turns)))


def _split_by_speaker(segment: Segment, turns: TurnIndex, previous: str | None) -> Iterator[Segment]:
    words = _assign_words(segment, turns, previous)
    if not words:
        yield replace(segment, speaker=turns.find_speaker(segment.start_s, segment.end_s, previous))
        return
    runs = [tuple(run) for _, run in groupby(words, key=lambda word: word.speaker)]
    start = segment.start_s
    for run, following, text in zip(runs, [*runs[1:], ()], _split_text(segment.text, runs), strict=True):
        end = max(_end_of_run(run, following, segment), start)
        yield Segment(
            start_s=start,
            end_s=end,
            text=text,
            words=run,
            confidence=segment.confidence if len(runs) == 1 else mean_confidence(run),
            speaker=run[0].speaker,
            language=segment.language,
        )
        start = max(min(_known_starts(following), default=end), start)


def _assign_words(segment: Segment, turns: TurnIndex, previous: str | None) -> list[Word]:
    words = segment.words
    first_timed = next((number for number, word in enumerate(words) if word.start_s is not None), None)
    if first_timed is None:
        speaker = turns.find_speaker(segment.start_s, segment.end_s, previous)
        return [replace(word, speaker=speaker) for word in words]
    assigned: list[Word] = []
    for word in words[first_timed:]:
        if word.start_s is not None:
            end = word.start_s if word.end_s is None else word.end_s
            previous = turns.find_speaker(word.start_s, end, previous)
        assigned.append(replace(word, speaker=previous))
    assigned = [replace(word, speaker=assigned[0].speaker) for word in words[:first_timed]] + assigned
    return _move_first_words(assigned, turns)


def _move_first_words(words: Sequence[Word], turns: TurnIndex) -> list[Word]:
    """Return the words; the first of a sentence is moved to the speaker of the rest if both talk then.

    The engines place the beginning of a turn later than the word, while the other speaker is still finishing.
    """
    moved = list(words)
    for first, end in _find_sentences(words):
        word, rest = words[first], words[first + 1 : min(first + 3, end)]
        speakers = {following.speaker for following in rest}
        speaker = speakers.pop() if len(speakers) == 1 else None
        if speaker is None or speaker == word.speaker or word.start_s is None or word.end_s is None:
            continue
        if turns.is_speaking(speaker, word.start_s, word.end_s):
            moved[first] = replace(word, speaker=speaker)
    return moved


def _find_sentences(words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Yield the first index of each sentence and the index after its last word."""
    first = 0
    for number, (word, following) in enumerate(pairwise(words)):
        if is_sentence_end(word, following):
            yield first, number + 1
            first = number + 1
    if words:
        yield first, len(words)


def _end_of_run(run: Sequence[Word], following: Sequence[Word], segment: Segment) -> float:
    """Return the end of a run of words: that of the segment for the last run, else of its last timed word."""
    if not following:
        return segment.end_s
    ends = [word.end_s for word in run if word.end_s is not None]
    return max(ends) if ends else min(_known_starts(following), default=segment.start_s)


def _known_starts(words: Sequence[Word]) -> list[float]:
    return [word.start_s for word in words if word.start_s is not None]


def _split_text(text: str, runs: Sequence[Sequence[Word]]) -> list[str]:
    """Return the text of each run as the engine wrote it: not every language separates words by spaces."""
    cuts: list[int] = []
    position = 0
    for run in runs:
        cuts.append(position)
        for number, word in enumerate(run):
            found = text.find(word.text, position)
            if found < 0:
                return [join_words(run) for run in runs]
            if number == 0 and cuts[-1] > 0:
                cuts[-1] = found
            position = found + len(word.text)
    return [text[start:end].strip() for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)]


def _move_warnings(before: Transcript, after: Transcript) -> Iterator[TranscriptWarning]:
    """Yield each warning about a segment for all segments that replace it."""
    for warning in before.warnings:
        if warning.segment is None:
            continue
        start = before.segments[warning.segment].start_s
        end = before.segments[warning.segment].end_s
        for number, segment in enumerate(after.segments):
            if start <= segment.start_s and segment.end_s <= end:
                yield replace(warning, segment=number)


def _speaker_warnings(merged: Transcript, turns: TurnIndex) -> Iterator[TranscriptWarning]:
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
                WarningCode.UNKNOWN_SPEAKER, f"No speaker's turn is within {TOLERANCE_S} s.", number
            )
