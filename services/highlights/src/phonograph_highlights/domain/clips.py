"""Where a clip begins and ends: in a silence near its topic, never inside a word."""

from collections.abc import Sequence

from phonograph_highlights.domain.regions import Span, without
from phonograph_highlights.domain.speech import Utterance

SNAP_S = 5.0
"""How far a cut may lie from the first or last word of its topic."""
MARGIN_S = 0.2
"""Silence that is kept beside speech: the quiet first sound of a word lies below the threshold."""
MIN_CLIP_S = 0.5


def clip_span(
    spoken: Sequence[Utterance], first: int, last: int, silences: Sequence[Span], duration_s: float
) -> Span | None:
    """Cut for the utterances from `first` to `last`, both included.

    Both ends go to the nearest silence within `SNAP_S` that loses no word of theirs; without one, to a
    point before the first word and one after the last. Null when the recording ends before.
    """
    opening, closing = spoken[first].words[0], spoken[last].words[-1]
    words = [word for utterance in spoken for word in utterance.words]
    before_s = max((word.end_s for word in words if word.middle_s < opening.start_s), default=0.0)
    after_s = min((word.start_s for word in words if word.middle_s > closing.end_s), default=duration_s)
    start_s = _cut(opening.start_s, opening.end_s, before_s, silences)
    # The end is the start of the recording played backwards.
    mirrored = [Span(-silence.end_s, -silence.start_s) for silence in silences]
    end_s = -_cut(-closing.end_s, -closing.start_s, -after_s, mirrored)
    clip = Span(min(max(start_s, 0.0), duration_s), min(max(end_s, 0.0), duration_s))
    return clip if clip.duration_s >= MIN_CLIP_S else None


def thumbnail_s(clip: Span, blanks: Sequence[Span]) -> float | None:
    """The middle of the longest stretch of the clip that shows something, in the recording's time."""
    shown = list(without([clip], blanks))
    if not shown:
        return None
    longest = max(shown, key=lambda stretch: (stretch.duration_s, -stretch.start_s))
    return (longest.start_s + longest.end_s) / 2


def _cut(word_start_s: float, word_end_s: float, before_s: float, silences: Sequence[Span]) -> float:
    """Where to cut before a word; `before_s` is the end of the one before it."""
    cuts = [_cut_in(silence, word_start_s, word_end_s) for silence in silences]
    near = [cut for cut in cuts if abs(cut - word_start_s) <= SNAP_S and cut <= word_end_s]
    if near:
        return min(near, key=lambda cut: (abs(cut - word_start_s), cut))
    return (
        max(word_start_s - MARGIN_S, (before_s + word_start_s) / 2)
        if before_s < word_start_s
        else word_start_s
    )


def _cut_in(silence: Span, word_start_s: float, word_end_s: float) -> float:
    """The latest cut in a silence; before the word where the silence lasts through it."""
    margin_s = min(MARGIN_S, silence.duration_s / 2)
    latest_s = silence.end_s - margin_s
    if latest_s <= word_end_s:
        return latest_s
    return max(silence.start_s + margin_s, min(word_start_s - MARGIN_S, latest_s))
