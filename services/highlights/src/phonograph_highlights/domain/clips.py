"""Choice of the start and end of a clip: in silence near its topic, never inside a word."""

from collections.abc import Sequence

from phonograph_highlights.domain.regions import Span, subtract_spans
from phonograph_highlights.domain.speech import Utterance

SNAP_S = 5.0
"""Maximum distance of a cut from the first or last word of its topic."""
MARGIN_S = 0.2
"""Silence that is kept next to speech: the quiet first sound of a word is below the noise threshold."""
MIN_CLIP_S = 0.5


def choose_clip_span(
    utterances: Sequence[Utterance], first: int, last: int, silences: Sequence[Span], duration_s: float
) -> Span | None:
    """Return the span of the clip for consecutive utterances.

    Both ends are in the nearest silence within `SNAP_S` that cuts off no word of the clip; without one,
    before the first word and after the last.

    Args:
        utterances: All utterances of the talk, in the order of time.
        first: Index of the first utterance of the clip.
        last: Index of its last utterance.
        silences: Spans without sound, in seconds.
        duration_s: Length of the recording.

    Returns:
        The span, or None if less than `MIN_CLIP_S` of it is within the recording.
    """
    opening, closing = utterances[first].words[0], utterances[last].words[-1]
    words = [word for utterance in utterances for word in utterance.words]
    before_s = max((word.end_s for word in words if word.middle_s < opening.start_s), default=0.0)
    after_s = min((word.start_s for word in words if word.middle_s > closing.end_s), default=duration_s)
    start_s = _choose_cut(opening.start_s, opening.end_s, before_s, silences)
    # The end is the start of the recording played backwards.
    mirrored = [Span(-silence.end_s, -silence.start_s) for silence in silences]
    end_s = -_choose_cut(-closing.end_s, -closing.start_s, -after_s, mirrored)
    clip = Span(min(max(start_s, 0.0), duration_s), min(max(end_s, 0.0), duration_s))
    return clip if clip.duration_s >= MIN_CLIP_S else None


def choose_thumbnail_s(clip: Span, blanks: Sequence[Span]) -> float | None:
    """Return the middle of the clip's longest span with a picture, in seconds of the recording.

    None if the picture is blank throughout the clip.
    """
    visible = list(subtract_spans([clip], blanks))
    if not visible:
        return None
    longest = max(visible, key=lambda span: (span.duration_s, -span.start_s))
    return (longest.start_s + longest.end_s) / 2


def _choose_cut(word_start_s: float, word_end_s: float, before_s: float, silences: Sequence[Span]) -> float:
    """Return the time of the cut before a word; `before_s` is the end of the previous word."""
    cuts = [_latest_cut(silence, word_start_s, word_end_s) for silence in silences]
    near = [cut for cut in cuts if abs(cut - word_start_s) <= SNAP_S and cut <= word_end_s]
    if near:
        return min(near, key=lambda cut: (abs(cut - word_start_s), cut))
    if before_s >= word_start_s:
        return word_start_s
    return max(word_start_s - MARGIN_S, (before_s + word_start_s) / 2)


def _latest_cut(silence: Span, word_start_s: float, word_end_s: float) -> float:
    """Return the latest cut in a silence, or one before the word if the silence continues through it."""
    margin_s = min(MARGIN_S, silence.duration_s / 2)
    latest_s = silence.end_s - margin_s
    if latest_s <= word_end_s:
        return latest_s
    return max(silence.start_s + margin_s, min(word_start_s - MARGIN_S, latest_s))
