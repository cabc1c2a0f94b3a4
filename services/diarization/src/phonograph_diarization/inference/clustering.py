"""Clustering of speech frames by voice, with an unknown number of voices."""

import numpy as np
from numpy.typing import NDArray

from phonograph_diarization.domain.diarization import SpeakerBounds
from phonograph_diarization.inference.gaussians import (
    Gaussians,
    Labels,
    assign_frames,
    find_most_similar,
)
from phonograph_diarization.inference.mfcc import FRAMES_PER_S
from phonograph_runtime.ports import Progress

Frames = NDArray[np.float32]
"""Shape (frames, features)."""

_WINDOW = 3 * FRAMES_PER_S // 2
_WINDOW_HOP = FRAMES_PER_S // 2
_BLOCK = 600 * FRAMES_PER_S
"""Ten minutes of speech: 1,200 windows, so that their distances take 12 MB."""
_MAX_INITIAL_VOICES = 20
_FRAMES_PER_INITIAL_VOICE = 5 * FRAMES_PER_S // 2
_REALIGNMENTS = 2
_SAME_VOICE = 1.0
"""Difference up to which two voices are one person; see `find_most_similar`."""
_SURELY_SAME_VOICE = 0.6
"""Across blocks, voices up to this difference are merged without realigning the whole recording."""


def cluster(frames: Frames, bounds: SpeakerBounds, progress: Progress) -> Labels:
    """Return the voice of each frame.

    Each block of ten minutes is divided into many groups by agglomerative clustering of window statistics
    (cosine, average linkage). Then the two most similar voices are merged and every frame is assigned to the
    voice that fits it best, until the remaining voices are different people.

    Args:
        frames: MFCC of the speech, shape (frames, features).
        bounds: Limits of the number of voices; a recording that is too short may have fewer.
        progress: Called with the fraction done and the stage.

    Returns:
        Shape (frames,), values 0 … voices - 1.
    """
    if len(frames) == 0:
        return np.empty(0, np.intp)
    blocks = np.array_split(frames, -(-len(frames) // _BLOCK))
    # Of several blocks each may lack some of the speakers: the minimum holds for the whole recording only.
    minimum = bounds.minimum if len(blocks) == 1 else 1
    labels: list[Labels] = []
    for number, block in enumerate(blocks):
        progress(number / len(blocks) * 0.7, "speakers")
        groups = _group_windows(block, bounds.minimum)
        aligned = _realign([block], [groups], minimum)
        labels.extend(_merge_voices([block], aligned, SpeakerBounds(minimum, None)))
    if len(blocks) > 1:
        labels = _link_blocks(blocks, labels, bounds)
    progress(0.8, "speakers")
    return np.concatenate(_merge_voices(blocks, labels, bounds))


def _group_windows(block: Frames, minimum: int) -> Labels:
    """Return the group of each frame, with so many groups that hardly any holds two people."""
    from sklearn.cluster import AgglomerativeClustering

    starts = np.arange(0, max(1, len(block) - _WINDOW + 1), _WINDOW_HOP)
    count = max(
        min(_MAX_INITIAL_VOICES, len(block) // _FRAMES_PER_INITIAL_VOICE), min(2 * minimum, len(starts))
    )
    if count < 2 or len(starts) < 2:
        return np.zeros(len(block), np.intp)
    windows = [block[start : start + _WINDOW] for start in starts]
    statistics = np.array([np.r_[window.mean(axis=0), window.std(axis=0)] for window in windows])
    statistics = (statistics - statistics.mean(axis=0)) / (statistics.std(axis=0) + 1e-6)
    groups = AgglomerativeClustering(
        n_clusters=min(count, len(starts)), metric="cosine", linkage="average"
    ).fit_predict(statistics)
    # Windows overlap: a frame belongs to the window whose middle is nearest.
    window_of_frame = (np.arange(len(block)) - (_WINDOW - _WINDOW_HOP) // 2) // _WINDOW_HOP
    labels: Labels = groups[np.clip(window_of_frame, 0, len(starts) - 1)].astype(np.intp)
    return labels


def _merge_voices(blocks: list[Frames], labels: list[Labels], bounds: SpeakerBounds) -> list[Labels]:
    """Merge the most similar voices until the remaining ones are different people, within the bounds."""
    while True:
        voices = _fit_voices(blocks, labels)
        if len(voices) <= bounds.minimum:
            return labels
        difference, one, other = find_most_similar(voices)
        if difference > _SAME_VOICE and (bounds.maximum is None or len(voices) <= bounds.maximum):
            return labels
        labels = _realign(blocks, _merge_labels(labels, one, other), bounds.minimum)


def _link_blocks(blocks: list[Frames], labels: list[Labels], bounds: SpeakerBounds) -> list[Labels]:
    """Number the voices of all blocks in common, and merge those that are surely the same."""
    offsets = np.cumsum([0, *(int(block.max()) + 1 for block in labels)])
    labels = [block + offset for block, offset in zip(labels, offsets[:-1], strict=True)]
    voices = Gaussians.concatenate(
        [
            Gaussians.from_frames(block, label - offset, int(end - offset))
            for block, label, offset, end in zip(blocks, labels, offsets[:-1], offsets[1:], strict=True)
        ]
    )
    while len(voices) > bounds.minimum:
        difference, one, other = find_most_similar(voices)
        if difference > _SURELY_SAME_VOICE:
            break
        voices = voices.with_merged(one, other)
        labels = _merge_labels(labels, one, other)
    return _realign(blocks, labels, bounds.minimum)


def _realign(blocks: list[Frames], labels: list[Labels], minimum: int) -> list[Labels]:
    """Assign every frame to the voice that fits it, unless fewer voices than `minimum` would remain."""
    for _ in range(_REALIGNMENTS):
        voices = _fit_voices(blocks, labels)
        if len(voices) == 1:
            return labels
        realigned = [assign_frames(block, voices) for block in blocks]
        remaining = np.unique(np.concatenate(realigned))
        if len(remaining) < min(minimum, len(voices)):
            return labels
        labels = [np.searchsorted(remaining, block) for block in realigned]
    return labels


def _merge_labels(labels: list[Labels], one: int, other: int) -> list[Labels]:
    """Return the labels with `other` replaced by `one`, and higher ones moved down to fill its number."""
    merged = [np.where(block == other, one, block) for block in labels]
    return [np.where(block > other, block - 1, block) for block in merged]


def _fit_voices(blocks: list[Frames], labels: list[Labels]) -> Gaussians:
    count = max(int(block.max()) for block in labels) + 1
    fitted = [Gaussians.from_frames(block, label, count) for block, label in zip(blocks, labels, strict=True)]
    total = fitted[0]
    for block in fitted[1:]:
        total = total + block
    return total
